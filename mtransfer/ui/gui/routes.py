"""The editor's own addresses under /mtransfer: too quick for a queue, and each for one session alone."""

import zipfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from mtransfer.errors import InputError, MTransferError
from mtransfer.files import atomic_write
from mtransfer.media.photo.photo import read_photo
from mtransfer.ui.gui.editor import PREVIEW_SIDE_PX, SETTLED_SIDE_PX, Shown, preview, set_stage
from mtransfer.ui.gui.finding import finding
from mtransfer.ui.gui.forms import scene_of, subjects_of
from mtransfer.ui.gui.jobs import INPUTS, RESULT, jpeg
from mtransfer.ui.gui.requests import SHOWN_PX, answered, received, session_of
from mtransfer.ui.gui.sessions import Session, Thing, look_at
from mtransfer.ui.gui.working import working

CANVAS = Path(__file__).parent / "canvas"
SAMPLES = Path(__file__).parents[3] / "samples"
router = APIRouter()


def add_routes(app: FastAPI) -> None:
    """Put them into an app; a mistake becomes one line of JSON."""

    def told(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": request.state.session.told(error)}, 400)

    app.add_exception_handler(MTransferError, told)
    for each in (router, finding, working):
        app.include_router(each, prefix="/mtransfer")


@router.get("/canvas/{name}")
def canvas(name: str) -> Response:
    """The page's own scripts and styles."""
    found = {path.name: path for path in CANVAS.iterdir()}.get(name)
    return Response(status_code=404) if found is None else FileResponse(found, headers={"cache-control": "no-cache"})


@router.post("/upload")
async def upload(request: Request, kind: str, name: str) -> dict[str, Any]:
    """A photo or a clip, as it is in the body; what it turned out to be."""
    session = session_of(request)
    if kind not in ("photo", "clip"):
        raise InputError(f"{kind}: photo or clip")
    handle, path = await received(request, kind, name)
    return (await run_in_threadpool(_looked_at, session, handle, path, kind)).facts


def _looked_at(session: Session, name: str, path: Path, kind: str) -> Thing:
    try:
        return look_at(session, name, path, kind)
    except MTransferError as error:
        path.unlink(missing_ok=True)
        raise InputError(str(error).replace(f"{path.parent}/", "")) from None


@router.get("/samples")
def samples() -> dict[str, list[str]]:
    """Names of what is at hand to try."""
    kinds = {"photo": (".jpg", ".png"), "clip": (".mp4",)}
    names = sorted(path.name for path in SAMPLES.iterdir()) if SAMPLES.is_dir() else []
    return {kind: [name for name in names if name.endswith(ends)] for kind, ends in kinds.items()}


@router.post("/sample")
async def sample(request: Request) -> dict[str, Any]:
    """One of them, as if it had been uploaded."""

    def make(session: Session, values: dict[str, Any]) -> dict[str, Any]:
        kind, name = values.get("kind"), values.get("name")
        if name not in samples().get(str(kind), []):
            raise InputError(f"no sample {kind} of that name")
        content = (SAMPLES / str(name)).read_bytes()
        session.require_room(len(content))
        handle, path = session.place(str(name))
        path.write_bytes(content)
        return _looked_at(session, handle, path, str(kind)).facts

    return dict(await answered(request, make))


@router.get("/photo/{name}")
def photo(request: Request, name: str) -> Response:
    """A photo as the page shows it: upright, no longer than a screen."""
    image = read_photo(session_of(request).find(name, "photo").path).image
    return Response(jpeg(image, SHOWN_PX, 92), media_type="image/jpeg")


@router.get("/clip/{name}/{frame}")
def clip_frame(request: Request, name: str, frame: int) -> Response:
    """A frame of a clip."""
    from mtransfer.media.video import ClipReader

    reader = ClipReader(session_of(request).find(name, "clip").path)
    found = reader.clip
    index = min(max(frame, 0), found.frame_count - 1)
    return Response(jpeg(reader.read([index], long_side=min(640, max(found.size)))[0]), media_type="image/jpeg")


@router.post("/preview")
async def live(request: Request) -> Response:
    """The draft of the editor's scene: a JPEG of what has changed, and where it belongs in the headers.

    With {"settled": true} in finer pixels, which is too slow for a drag.
    """

    def make(session: Session, values: dict[str, Any]) -> Response:
        shown: Shown = "flow" if values.pop("shown", "picture") == "flow" else "picture"
        side_px = SETTLED_SIDE_PX if values.pop("settled", False) else PREVIEW_SIDE_PX
        scene = scene_of(values)
        key = (str(side_px), scene.photo, *(each.mask for each in scene.objects))
        stage = session.stage(key, lambda: _stage(session, scene, side_px))
        _, made = preview(stage, scene.motions, shown)
        rows, columns = made.window
        box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        size = f"{made.size[1]},{made.size[0]}"
        return Response(
            jpeg(made.image, quality=88),
            media_type="image/jpeg",
            headers={"x-box": ",".join(map(str, box)), "x-size": size, "cache-control": "no-store"},
        )

    answer: Response = await answered(request, make)
    return answer


def _stage(session: Session, scene: Any, side_px: int) -> Any:
    image, subjects = subjects_of(session, scene)
    return set_stage(image, [subject.mask for subject in subjects], side_px)


@router.get("/things/{name}")
def thing(request: Request, name: str) -> dict[str, Any]:
    """What a photo, clip or mask of this session is."""
    found = session_of(request).things.get(name)
    if found is None or found.kind not in ("photo", "clip", "mask"):
        raise InputError("it is here no longer; choose it again")
    return found.facts


@router.get("/runs")
def runs(request: Request) -> list[dict[str, Any]]:
    """What this session has made, the newest first."""
    things = list(session_of(request).things.values())
    return [thing.facts for thing in reversed(things) if thing.kind == "run"]


@router.get("/run/{name}/recipe.zip")
def recipe_folder(request: Request, name: str) -> Response:
    """The recipe and its inputs: what `mtransfer run` takes."""
    run = session_of(request).find(name, "run")
    path = zipped(run)
    return FileResponse(path, media_type="application/zip", filename=f"{Path(run.facts['of']).stem}-recipe.zip")


@router.get("/run/{name}/{file}")
def result(request: Request, name: str, file: str) -> Response:
    """A file of a result."""
    run = session_of(request).find(name, "run")
    if file not in run.facts["files"]:
        return Response(status_code=404)
    return FileResponse(run.path / RESULT / file)


def zipped(run: Thing) -> Path:
    """A run's recipe folder as a file beside it."""
    path = run.path / "recipe.zip"
    if not path.exists():
        with atomic_write(path) as part, zipfile.ZipFile(part, "w") as archive:
            for source in sorted((run.path / INPUTS).iterdir()):
                archive.write(source, f"recipe/{source.name}")
    return path
