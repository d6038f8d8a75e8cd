"""The editor's objects as masks, a flow and a live preview: plain functions that know no page.

Sizes are (H, W), points (x, y); motions are in pixels of the photo, whatever size they are shown at.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField
from mtransfer.flow.visualize import with_flow
from mtransfer.media.crop import Window, swept
from mtransfer.media.photo.sizes import shrunk
from mtransfer.motion.edit_motion import EditMotion, elementary_field
from mtransfer.sampling.composite import FEATHER_PX, halo_px, make_composite, remove_subject
from mtransfer.subject.subject import Subject, subject_from_mask

PREVIEW_SIDE_PX = 256  # at which a drag is answered in some 25 ms of one core
SETTLED_SIDE_PX = 768  # when nothing is dragged: in some tenths of a second
PREVIEW_INVERTED_PX = 64  # the motion itself is smooth: see warp.forward_warp
THREADS = torch.get_num_threads()  # of one operation; a thread that is new takes what another has set last
LEVELS = 255  # masks are kept as 8-bit pictures, and what is shown is what is kept
MOST_PINS, MOST_POSES, FURTHEST_PX = 32, 24, 20000.0

Place = Annotated[float, Field(ge=-FURTHEST_PX, le=FURTHEST_PX)]
Factor = Annotated[float, Field(ge=0.05, le=20)]
Pin = tuple[Place, Place, Place, Place]  # x, y, dx, dy
Turn = Annotated[float, Field(ge=-3600, le=3600)]
Pose = tuple[Place, Place, Turn, Factor]  # dx, dy, rotate, scale
Shown = Literal["picture", "flow"]


class Motion(BaseModel):
    """What one object does, as in EditMotion: scaled, stretched, rotated, translated, then bent by pins."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dx: Place = 0.0  # pixels to the right
    dy: Place = 0.0  # and down
    rotate: Turn = 0.0  # degrees, counter-clockwise on screen
    scale: Factor = 1.0
    sx: Factor = 1.0
    sy: Factor = 1.0
    pins: Annotated[tuple[Pin, ...], Field(max_length=MOST_PINS)] = ()
    path: Annotated[tuple[Pose, ...], Field(max_length=MOST_POSES)] = ()  # poses of a film on its way, from rest

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        return self.model_copy(update={"pins": (), "path": ()}) == Motion() and not any(
            pin[2] or pin[3] for pin in self.pins
        )


def edit_motion(motion: Motion, share: float = 1.0) -> EditMotion:
    """What `mtransfer edit` would be asked for the same, for a picture `share` times as large as the photo."""

    def shown(value: float) -> float:  # the centre of a pixel stays one
        return (value + 0.5) * share - 0.5

    pins = [f"{shown(x)!r},{shown(y)!r}:{dx * share!r},{dy * share!r}" for x, y, dx, dy in motion.pins]
    return EditMotion(
        translate=f"{motion.dx * share!r},{motion.dy * share!r}",
        rotate=motion.rotate,
        scale=motion.scale,
        stretch=f"{motion.sx!r},{motion.sy!r}",
        pin=tuple(pins),
    )


def field_of(subjects: Sequence[Subject], motions: Sequence[Motion], share: float = 1.0) -> FlowField:
    """The flow (T = 1) of all objects together, zero outside them; where they overlap the first counts.

    `share` is the size of the subjects' pictures over the photo's.
    """
    total = torch.zeros_like(subjects[0].mask).expand(3, -1, -1)
    for subject, motion in reversed(list(zip(subjects, motions, strict=True))):
        own = elementary_field(edit_motion(motion, share), subject)
        total = torch.where(subject.mask > 0, torch.cat([own.flow, own.confidence], dim=1)[0], total)
    return FlowField(total[None, :2].contiguous(), total[None, 2:].contiguous())


def quantised(mask: Float[Tensor, "1 H W"]) -> Float[Tensor, "1 H W"]:
    """A mask in the levels that its file will have."""
    return (mask * LEVELS).round() / LEVELS


@dataclass(frozen=True, eq=False)
class Stage:
    """What does not change while an object is dragged, at preview size: photo [1,3,h,w], objects, the photo without."""

    photo: Tensor
    subjects: tuple[Subject, ...]
    mask: Tensor
    background: Tensor
    share: float


def set_stage(image: Float[Tensor, "3 H W"], masks: Sequence[Float[Tensor, "1 H W"]], side_px: int) -> Stage:
    """Bring photo and masks to a long side of `side_px` and take the objects out, which takes a moment."""
    size = shrunk(image.shape[-2:], side_px)
    share = max(size) / max(image.shape[-2:])
    photo, *small = (F.interpolate(each[None], size, mode="area") for each in (image, *masks))
    subjects = tuple(subject_from_mask(photo[0], mask[0]) for mask in small)
    mask = torch.stack(small).amax(dim=0)
    return Stage(photo, subjects, mask, remove_subject(photo, mask), share)


@dataclass(frozen=True, eq=False)
class Preview:
    """The part of a picture that has changed, float32[3,h,w] in [0,1], its window, and the whole picture's (H, W)."""

    image: Tensor
    window: Window
    size: tuple[int, int]


def preview(stage: Stage, motions: Sequence[Motion], shown: Shown = "picture") -> tuple[FlowField, Preview]:
    """The draft of the objects' motions, or their flow as colour and arrows, and the flow itself."""
    with one_thread():
        return _preview(stage, motions, shown)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch in this thread alone: for small pictures, on which several wait for each other more than they work."""
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(THREADS)


def _preview(stage: Stage, motions: Sequence[Motion], shown: Shown) -> tuple[FlowField, Preview]:
    field = field_of(stage.subjects, motions, stage.share)
    size = (stage.photo.shape[-2], stage.photo.shape[-1])
    if shown == "flow":
        return field, Preview(with_flow(stage.photo[0], field.flow[0]), (slice(0, size[0]), slice(0, size[1])), size)
    draft = make_composite(stage.photo, field.flow, stage.mask, stage.background, PREVIEW_INVERTED_PX)
    where = swept(field.flow, stage.mask, 2 * halo_px(stage.photo) + 3 * FEATHER_PX)
    return field, Preview(draft.image[0][:, where[0], where[1]], where, size)


def brushed(
    mask: Float[Tensor, "1 H W"], points: Sequence[tuple[float, float]], radius_px: float, *, add: bool
) -> Float[Tensor, "1 H W"]:
    """The mask with a brush's stroke through `points` added or erased. Raises InputError for a stroke of no points."""
    if not points:
        raise InputError("the brush touched nothing; draw over the photo")
    stroke = np.zeros(mask.shape[-2:], np.uint8)
    path = np.array(points, np.float64).round().astype(np.int32)
    radius = max(1, round(radius_px))
    cv2.polylines(stroke, [path.reshape(-1, 1, 2)], False, LEVELS, 2 * radius, cv2.LINE_AA)
    for x, y in path.tolist():
        cv2.circle(stroke, (x, y), radius, LEVELS, -1, cv2.LINE_AA)
    drawn = torch.from_numpy(stroke)[None] / LEVELS
    return torch.maximum(mask, drawn) if add else torch.minimum(mask, 1 - drawn)
