"""The finder's addresses, of a photo or a clip's frame: what is at a click or in a box, brushes, masks."""

import io
import shutil
from typing import Any

import torch
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from mtransfer.errors import InputError
from mtransfer.subject.mask_file import read_mask
from mtransfer.subject.prompt import SubjectPrompt
from mtransfer.subject.segment import segment
from mtransfer.ui.gui.editor import brushed
from mtransfer.ui.gui.forms import keep_mask, mask_of, seen_picture
from mtransfer.ui.gui.requests import SHOWN_PX, answered, received, session_of
from mtransfer.ui.gui.sessions import Session
from mtransfer.ui.gui.words import page_words

TINT = (255, 0, 170, 110)
FARTHEST_PX, WIDEST_PX = 1e6, 1000
finding = APIRouter()


@finding.post("/select")
async def select(request: Request) -> dict[str, Any]:
    """The object at a point or in a box of a picture, or the one that stands out: {"at": "x,y" | "auto"}.

    The picture is named as `seen_picture` takes it. With {"mask", "how": "add" | "remove"}: that mask with the object,
    or without it.
    """

    def make(session: Session, values: dict[str, Any]) -> dict[str, Any]:
        at, seen = str(values.get("at", "auto")), seen_picture(session, values)
        if at != "auto" and SubjectPrompt.parse(at).kind not in ("point", "box"):
            raise InputError(f"{at}: a point x,y or a box x0,y0,x1,y1")
        try:
            mask = segment(seen.image, at, seen.alpha, flag="selected").mask
        except InputError as error:
            raise InputError(page_words(str(error))) from None
        how = values.get("how", "new")
        if how != "new":
            begun = mask_of(session, str(values.get("mask")), seen.image)
            mask = torch.maximum(begun, mask) if how == "add" else torch.minimum(begun, 1 - mask)
        return keep_mask(session, mask, seen.name).facts

    return dict(await answered(request, make))


@finding.post("/brush")
async def brush(request: Request) -> dict[str, Any]:
    """A stroke over a picture: {"mask" or null, "points": [[x, y]], "radius", "add"}; the new mask."""

    def make(session: Session, values: dict[str, Any]) -> dict[str, Any]:
        seen = seen_picture(session, values)
        image = seen.image
        begun = torch.zeros_like(image[:1]) if not values.get("mask") else mask_of(session, values["mask"], image)
        try:
            points = [(float(x), float(y)) for x, y in values["points"]][:10000]
            radius = float(values["radius"])
        except (KeyError, TypeError, ValueError):
            raise InputError("a stroke needs points and a radius") from None
        if not all(abs(number) <= FARTHEST_PX for point in points for number in point) or not 0 <= radius <= WIDEST_PX:
            raise InputError(f"a stroke needs points in the photo and a radius of at most {WIDEST_PX} px")
        return keep_mask(session, brushed(begun, points, radius, add=bool(values.get("add"))), seen.name).facts

    return dict(await answered(request, make))


@finding.post("/mask")
async def given_mask(request: Request, name: str, photo: str = "", clip: str = "", frame: int = 0) -> dict[str, Any]:
    """A mask picture, as it is in the body, of a picture named as `seen_picture` takes it; however it is drawn."""
    session = session_of(request)
    handle, path = await received(request, "mask", name)

    def look() -> dict[str, Any]:
        try:
            seen = seen_picture(session, {"photo": photo, "clip": clip, "frame": frame})
            return keep_mask(session, read_mask(path, seen.image), seen.name).facts
        except InputError as error:
            raise InputError(page_words(str(error).replace(f"{path.parent}/", ""))) from None
        finally:
            shutil.rmtree(session.folder / handle)

    return await run_in_threadpool(look)


@finding.get("/mask/{name}")
def mask(request: Request, name: str) -> Response:
    """A mask as a tint to lay over the photo."""
    from PIL import Image

    with Image.open(session_of(request).find(name, "mask").path) as picture:
        level = picture.convert("L")
    level.thumbnail((SHOWN_PX, SHOWN_PX))
    tint = Image.new("RGBA", level.size, TINT[:3])
    tint.putalpha(level.point([round(value * TINT[3] / 255) for value in range(256)]))
    content = io.BytesIO()
    tint.save(content, "png", compress_level=1)
    return Response(content.getvalue(), media_type="image/png")
