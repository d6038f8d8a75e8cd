"""What the page's forms ask for, as recipes with their inputs in a folder of the session."""

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField
from mtransfer.flow.io import save_field
from mtransfer.jobs.recipe import COMMANDS, AnimateEditRecipe, EditRecipe
from mtransfer.media.photo.mask_image import GREY
from mtransfer.media.photo.photo import read_photo, save_png
from mtransfer.media.video import ClipReader
from mtransfer.subject.mask_file import read_mask
from mtransfer.subject.prompt import parse_prompts
from mtransfer.subject.shape import centroid
from mtransfer.subject.subject import Subject, subject_from_mask
from mtransfer.ui.gui.editor import Motion, edit_motion, field_of, quantised
from mtransfer.ui.gui.jobs import INPUTS, Job, copied
from mtransfer.ui.gui.sessions import Session, Thing

MOST_OBJECTS = 16
MARKS = {"photo_mark": ("subject", "photo-mask.png"), "clip_mark": ("clip_subject", "clip-mask.png")}
NO_MOTION = "nothing moves yet; drag the object, or type a motion"
PICTURE = "picture"
FILMS = {"film": "none", "film, there and back": "pingpong"}  # and how they play


class Moved(BaseModel):
    """An object of the editor: the name of its mask, and its motion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mask: str
    motion: Motion = Motion()


class Scene(BaseModel):
    """What stands in the editor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    photo: str
    objects: tuple[Moved, ...] = Field(min_length=1, max_length=MOST_OBJECTS)

    @property
    def motions(self) -> list[Motion]:
        """Of each object."""
        return [each.motion for each in self.objects]


def scene_of(values: Any) -> Scene:
    """The editor's state as the page tells it. Raises InputError."""
    try:
        return Scene.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("objects",):
            raise InputError("select what is to move first: click on it in the photo") from None
        raise InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None


def subjects_of(session: Session, scene: Scene) -> tuple[Float[Tensor, "3 H W"], list[Subject]]:
    """The photo and its objects, at the photo's size."""
    image = read_photo(session.find(scene.photo, "photo").path).image
    return image, [subject_from_mask(image, mask_of(session, each.mask, image)) for each in scene.objects]


def mask_of(session: Session, name: str, image: Float[Tensor, "3 H W"]) -> Float[Tensor, "1 H W"]:
    """A mask of the session by its name."""
    return quantised(read_mask(session.find(name, "mask").path, image, grey=True))


@dataclass(frozen=True, eq=False)
class Seen:
    """What is looked at: how the page names it, {"photo"} or {"clip", "frame"}, its pixels in [0,1] and its alpha."""

    name: dict[str, Any]
    image: Float[Tensor, "3 H W"]
    alpha: Float[Tensor, "1 H W"] | None = None


def seen_picture(session: Session, values: dict[str, Any]) -> Seen:
    """The photo or the clip's frame that the page names. Raises InputError."""
    if not values.get("clip"):
        name = str(values.get("photo"))
        photo = read_photo(session.find(name, "photo").path)
        return Seen({"photo": name}, photo.image, photo.alpha)
    reader = ClipReader(session.find(values["clip"], "clip").path)
    frame = values.get("frame")
    if not isinstance(frame, int) or not 0 <= frame < reader.clip.frame_count:
        raise InputError(f"the clip has frames 0 to {reader.clip.frame_count - 1}")
    return Seen({"clip": values["clip"], "frame": frame}, reader.read([frame])[0])


def keep_mask(session: Session, mask: Float[Tensor, "1 H W"], of: dict[str, Any]) -> Thing:
    """A mask of a picture that `seen_picture` has named, made known. Raises InputError when nothing is in it."""
    subject = subject_from_mask(mask.expand(3, -1, -1), mask)
    name, path = session.place("mask.png")
    save_png(quantised(mask), path)
    facts = {"id": name, **of, "box": list(subject.box_xyxy), "centre": centroid(quantised(mask)).tolist()}
    return session.keep(Thing(name, "mask", path, facts))


def edit_job(session: Session, state: dict[str, Any], options: dict[str, Any], film: str = PICTURE) -> Job:
    """The editor's scene as a job on files: photo, mask.png, flow.npz; of a picture or a film. Raises InputError."""
    scene = scene_of(state)
    if all(motion.still for motion in scene.motions):
        raise InputError(NO_MOTION)
    if film not in (PICTURE, *FILMS):
        raise InputError(f"{film}: no such thing can be made; choose a picture or a film")
    for each in scene.objects:
        session.find(each.mask, "mask")
    name, home = session.place("edit")
    photo = copied(session.find(scene.photo, "photo").path, home / INPUTS)
    # What was drawn by hand is what was meant, and nothing follows that did not in the preview.
    sampler = {**options.get("sampler", {}), "snap_mask": False}
    values = {**options, "photo": photo, "sampler": sampler, "falloff": 0.0, "shadow": "keep"}
    kind: type[EditRecipe] = EditRecipe
    if film != PICTURE:
        kind, values = AnimateEditRecipe, values | {"loop": FILMS[film]}
    kind.build(values, [])  # what cannot be is refused at once

    along = _path_of(scene) if film != PICTURE else None

    def prepare() -> EditRecipe:
        subjects = subjects_of(session, scene)[1]
        if along is not None:
            return _along_path(home / INPUTS, subjects[along].mask, scene.motions[along], values)
        union = torch.stack([subject.mask for subject in subjects]).amax(dim=0)
        _write_flow(home / INPUTS, union, field_of(subjects, scene.motions))
        files = {"subject": f"{home / INPUTS / 'mask.png'}#{GREY}", "flow": home / INPUTS / "flow.npz"}
        return kind.build(values | files, [])

    plan = "edit" if film == PICTURE else "film"
    facts = {"kind": "edit", "of": photo.name, "photo": scene.photo, "scene": scene.model_dump(mode="json")}
    return Job(session, name, home, facts | {"plan": plan}, prepare)


def _path_of(scene: Scene) -> int | None:
    """Which object has a path for a film. Raises InputError where others move, too."""
    moving = [index for index, motion in enumerate(scene.motions) if not motion.still]
    if not any(motion.path for motion in scene.motions):
        return None
    if len(moving) > 1:
        raise InputError("a path moves one object alone; reset the others, or draw no path")
    return moving[0]


def _along_path(folder: Path, mask: Tensor, motion: Motion, values: dict[str, Any]) -> EditRecipe:
    """A film of one object along its path to where it stands."""
    save_png(mask, folder / "mask.png")
    asked = asdict(edit_motion(motion))
    named = {name: asked[name] for name in ("translate", "rotate", "scale", "stretch", "pin")}
    via = tuple(",".join(map(repr, pose)) for pose in motion.path)
    return AnimateEditRecipe.build(values | named | {"subject": f"{folder / 'mask.png'}#{GREY}", "via": via}, [])


def _write_flow(folder: Path, mask: Tensor, field: FlowField) -> None:
    save_png(mask, folder / "mask.png")
    save_field(field, folder / "flow.npz")


def clip_job(command: str, session: Session, state: dict[str, Any], options: dict[str, Any]) -> Job:
    """What stands in Transfer or Animate as a job; a mark is the name of a mask, the clip's is of one of its frames.

    Raises InputError.
    """
    inputs = {kind: session.find(state.get(kind), kind) for kind in ("clip", "photo")}
    own = ["pair"] if command == "transfer" else ["frames", "reference", "loop"]
    names = ["strength", "align", "turn", "mirror", "camera", *own]
    given = {name: state[name] for name in names if state.get(name) not in (None, "")}
    marks = {mark: session.find(state[mark], "mask") for mark in MARKS if state.get(mark)}
    return recipe_job(command, session, inputs, {**options, **given}, marks)


def recipe_job(
    command: str,
    session: Session,
    inputs: dict[str, Thing],
    options: dict[str, Any],
    marks: dict[str, Thing] | None = None,
) -> Job:
    """Any recipe of a photo, or a clip and a photo, as a job on copies of them; `marks` by the names in MARKS.

    Raises InputError.
    """
    require_words(options)
    name, home = session.place(command)
    files = {kind: copied(thing.path, home / INPUTS) for kind, thing in inputs.items()}
    if len({path.name for path in files.values()}) < len(files):
        raise InputError("clip and photo have one name; rename one of them")
    recipe = COMMANDS[command].build({**options, **files, **_marked(home / INPUTS, marks or {}, options)}, [])
    facts = {"kind": command, "of": " and ".join(path.name for path in files.values()), "photo": inputs["photo"].name}
    return Job(session, name, home, facts | {"plan": command}, lambda: recipe)


def _marked(folder: Path, marks: dict[str, Thing], options: dict[str, Any]) -> dict[str, Any]:
    """A recipe's fields for what was marked: masks beside the other inputs, taken as they were drawn."""
    given: dict[str, Any] = {}
    for mark, thing in marks.items():
        field_name, file = MARKS[mark]
        given[field_name] = f"{copied(thing.path, folder, file)}#{GREY}"
    if "clip_mark" in marks:
        given["clip_subject_at"] = str(marks["clip_mark"].facts["frame"])
    if "photo_mark" in marks:
        given |= {"falloff": 0.0, "sampler": {**options.get("sampler", {}), "snap_mask": False}}
    return given


def require_words(options: dict[str, Any]) -> None:
    """A page may name subjects by words, points and boxes, no files of the server. Raises InputError."""
    for key in ("subject", "clip_subject"):
        if any(prompt.kind == "file" for prompt in parse_prompts(str(options.get(key, "auto")))):
            raise InputError(f"{key} {options[key]}: give a word, a point x,y or a box x0,y0,x1,y1")


def chosen(values: dict[str, Any], model: str) -> dict[str, Any]:
    """The options that a page may choose of every job, and the server's own model."""
    options = {key: values[key] for key in ("preset", "seed", "prompt") if values.get(key) not in (None, "")}
    with contextlib.suppress(KeyError, TypeError, ValueError):
        options["seed"] = int(options["seed"])
    return options | {"model": model}
