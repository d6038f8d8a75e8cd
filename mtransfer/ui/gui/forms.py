"""What the page's forms ask for, as recipes with their inputs in a folder of the session."""

import contextlib
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
from mtransfer.subject.mask_file import read_mask
from mtransfer.subject.prompt import parse_prompts
from mtransfer.subject.shape import centroid
from mtransfer.subject.subject import Subject, subject_from_mask
from mtransfer.ui.gui.editor import Motion, field_of, quantised
from mtransfer.ui.gui.jobs import INPUTS, Job, copied
from mtransfer.ui.gui.sessions import Session, Thing

MOST_OBJECTS = 16
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


def keep_mask(session: Session, mask: Float[Tensor, "1 H W"], photo: str) -> Thing:
    """A mask, made known. Raises InputError when nothing is in it."""
    subject = subject_from_mask(mask.expand(3, -1, -1), mask)
    name, path = session.place("mask.png")
    save_png(quantised(mask).expand(3, -1, -1), path)
    facts = {"id": name, "photo": photo, "box": subject.box_xyxy, "centre": centroid(quantised(mask)).tolist()}
    return session.keep(Thing(name, "mask", path, facts))


def edit_job(session: Session, state: dict[str, Any], options: dict[str, Any], film: str = PICTURE) -> Job:
    """The editor's scene as a job on files: photo, mask.png, flow.npz; of a picture or a film. Raises InputError."""
    scene = scene_of(state)
    if all(motion.still for motion in scene.motions):
        raise InputError(NO_MOTION)
    subjects = subjects_of(session, scene)[1]
    name, home = session.place("edit")
    photo = copied(session.find(scene.photo, "photo").path, home / INPUTS)
    union = torch.stack([subject.mask for subject in subjects]).amax(dim=0)
    _write_flow(home / INPUTS, union, field_of(subjects, scene.motions))
    files = {"photo": photo, "subject": f"{home / INPUTS / 'mask.png'}#{GREY}", "flow": home / INPUTS / "flow.npz"}
    # What was drawn by hand is what was meant.
    sampler = {**options.get("sampler", {}), "snap_mask": False}
    # Nothing follows that did not in the preview.
    values = {**options, **files, "sampler": sampler, "falloff": 0.0, "shadow": "keep"}
    if film == PICTURE:
        recipe = EditRecipe.build(values, [])
    else:
        recipe = AnimateEditRecipe.build(values | {"loop": FILMS[film]}, [])
    facts = {"kind": "edit", "of": photo.name, "photo": scene.photo, "scene": scene.model_dump(mode="json")}
    return Job(session, recipe, home, name, facts)


def _write_flow(folder: Path, mask: Tensor, field: FlowField) -> None:
    save_png(mask.expand(3, -1, -1), folder / "mask.png")
    save_field(field, folder / "flow.npz")


def recipe_job(command: str, session: Session, inputs: dict[str, Thing], options: dict[str, Any]) -> Job:
    """Any recipe of a photo, or a clip and a photo, as a job on copies of them. Raises InputError."""
    require_words(options)
    name, home = session.place(command)
    files = {kind: copied(thing.path, home / INPUTS) for kind, thing in inputs.items()}
    if len({path.name for path in files.values()}) < len(files):
        raise InputError("clip and photo have one name; rename one of them")
    recipe = COMMANDS[command].build({**options, **files}, [])
    facts = {"kind": command, "of": " and ".join(path.name for path in files.values()), "photo": inputs["photo"].name}
    return Job(session, recipe, home, name, facts)


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
