"""The flow an edit asks for: a file as it is, or scale, stretch, rotate, translate and pins on the photo's subject."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField, affine_flow, compose, mask_field, pins_flow
from mtransfer.flow.interpolate import fill_motion
from mtransfer.flow.io import load_field
from mtransfer.flow.warp import dilate, magnitude, moved_region, sample
from mtransfer.log import tell
from mtransfer.media.photo.photo import Photo
from mtransfer.motion.stretch import limit_stretch
from mtransfer.subject.coarse_region import drawn_to_objects
from mtransfer.subject.regions import connected_parts
from mtransfer.subject.shape import centroid
from mtransfer.subject.subject import Subject, subject_from_mask

UNKNOWN = 0.01  # a confidence below this vouches for nothing
STILL_PX, STILL, FASTEST = 0.5, 0.08, 0.99  # motion of ground that stands still; of the fastest, but for outliers
GROUND, SPECK = 0.3, 0.02  # of the picture, that must be such ground; of what moves, that is no part of it alone
TORN, RIM_PX = 1.0, 2  # pixels of motion a pixel, more than rounding makes; how far around it flow is not believed
COARSE = "flow: its region misses the photo's edges, so it is drawn to them; --set sampler.snap_mask=false keeps it"


@dataclass(frozen=True)
class EditMotion:
    """What an edit asks for; the fields are those of the recipe's options of these names. `strength` multiplies it."""

    flow: Path | None = None
    translate: str = ""
    rotate: float = 0.0
    scale: float = 1.0
    stretch: str = ""
    pin: tuple[str, ...] = ()
    strength: float = 1.0

    @property
    def is_elementary(self) -> bool:
        """Whether there is any motion but a file's."""
        return bool(self.translate or self.stretch or self.pin or self.rotate or self.scale != 1)


def edit_field(
    asked: EditMotion, photo: Photo, subject: Subject, *, is_told_by_flow: bool = False, snaps: bool = False
) -> tuple[Subject, FlowField]:
    """The subject and its flow (T = 1) at the photo's size.

    `is_told_by_flow`: the subject is where a file's flow is not zero; with `snaps`, of a coarse region or a video
    frame's whole field the objects there. Raises InputError when no motion, or both a file and elementary motions, are
    given.
    """
    if (asked.flow is None) == (not asked.is_elementary):
        both = ", not both" if asked.is_elementary else ""
        raise InputError(f"give --flow FILE, or one or more of --translate --rotate --scale --stretch --pin{both}")
    if asked.flow is None:
        return subject, mask_field(elementary_field(asked, subject), (subject.mask > 0).float())
    field = load_field(asked.flow, size=photo.size)
    if field.flow.shape[0] != 1:
        raise InputError(f"{asked.flow}: holds {field.flow.shape[0]} flows; an edit takes one")
    if not bool(field.flow.any()):
        raise InputError(f"{asked.flow}: the flow is zero everywhere, so nothing would move")
    if is_told_by_flow:
        mask, field = _told_by(field, photo.image, snaps=snaps)
        subject = subject_from_mask(photo.image, mask)
    return subject, FlowField(_trusted(field, subject.mask) * asked.strength, field.confidence)


def _told_by(field: FlowField, photo: Float[Tensor, "3 H W"], *, snaps: bool) -> tuple[Tensor, FlowField]:
    """What a flow moves [1,H,W], and the flow of that."""
    if not snaps:
        return moved_region(field.flow)[0], field
    moving = without_still_ground(field.flow)
    is_frame = moving is not field.flow
    region = moved_region(moving)[0]
    mask = drawn_to_objects(photo, region, is_coarse=is_frame)
    if mask is None:
        return region, field
    tell(COARSE)
    told = field.confidence * (1 - ((mask > 0) & ~(region > 0)).to(moving)[None])
    if is_frame:
        known = (mask > 0.5).to(moving)[None] * (told > UNKNOWN) * ~torn(moving)
        if bool(known.any()):
            moving, told = limit_stretch(fill_motion(moving, known), mask), torch.ones_like(told)
    return mask, FlowField(moving, told)


def without_still_ground(flow: Float[Tensor, "1 2 H W"]) -> Float[Tensor, "1 2 H W"]:
    """The flow of a video's frame with exact zeros where the ground stands still but for an estimator's noise.

    Specks that move on that ground are such noise, too. A flow without much such ground is returned as it is.
    """
    speed_px = magnitude(flow)[0, 0].cpu().numpy()
    moving = speed_px > max(STILL_PX, STILL * float(np.quantile(speed_px, FASTEST)))
    if ((speed_px > 0) & ~moving).mean() < GROUND:
        return flow
    parts = connected_parts(moving, SPECK * float(moving.sum()))
    return flow * torch.from_numpy(np.any([np.zeros_like(moving), *parts], axis=0)).to(flow)


def torn(flow: Float[Tensor, "1 2 H W"]) -> Bool[Tensor, "1 1 H W"]:
    """Near where neighbouring pixels move apart, or over one another, by more than things stretch.

    At the rim of what moves an estimator's flow runs from one motion to the other.
    """
    down, across = torch.gradient(flow, dim=(2, 3))
    steep = torch.maximum(magnitude(down), magnitude(across)) > TORN
    return dilate(steep.to(flow), RIM_PX) > 0


def _trusted(field: FlowField, mask: Tensor) -> Tensor:
    """The field's flow, carried on inside the mask where its file does not vouch for it; zero outside the mask."""
    inside = (mask[None] > 0).to(field.flow)
    known = inside * (field.confidence > UNKNOWN)
    return inside * fill_motion(field.flow, known) if bool(known.any()) else field.flow


def elementary_field(asked: EditMotion, subject: Subject) -> FlowField:
    """The flow (T = 1) of elementary motions about the subject's centroid, over the whole picture."""
    size = (subject.image.shape[-2], subject.image.shape[-1])
    centre = centroid(subject.mask)
    field = affine_flow(
        size,
        (float(centre[0]), float(centre[1])),
        scale=1 + asked.strength * (asked.scale - 1),
        stretch_xy=_strengthened(parse_xy(asked.stretch, "--stretch") if asked.stretch else (1.0, 1.0), asked.strength),
        rotate_deg=asked.strength * asked.rotate,
        translate_px=_times(
            parse_xy(asked.translate, "--translate") if asked.translate else (0.0, 0.0), asked.strength
        ),
    )
    return _with_pins(field, asked) if asked.pin else field


def _with_pins(field: FlowField, asked: EditMotion) -> FlowField:
    """Pins are set where the points of the photo have come to after the other motions."""
    pins = []
    for pin in asked.pin:
        at, colon, by = pin.partition(":")
        if not colon:
            raise InputError(f"--pin {pin}: write it as x,y:dx,dy")
        point = torch.tensor(parse_xy(at, "--pin")).view(1, 2, 1, 1)
        moved = (point + sample(field.flow, point)).flatten().tolist()
        pins.append(((moved[0], moved[1]), _times(parse_xy(by, "--pin"), asked.strength)))
    return compose(field, pins_flow(field.size, pins))


def parse_xy(text: str, flag: str) -> tuple[float, float]:
    """Two finite numbers `x,y`. Raises InputError that names the flag."""
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{flag} {text}: two numbers with a comma between them are needed") from None
    if not all(abs(value) < float("inf") for value in (x, y)):
        raise InputError(f"{flag} {text}: the numbers must be finite")
    return x, y


def _times(pair: tuple[float, float], factor: float) -> tuple[float, float]:
    return pair[0] * factor, pair[1] * factor


def _strengthened(pair: tuple[float, float], strength: float) -> tuple[float, float]:
    return 1 + strength * (pair[0] - 1), 1 + strength * (pair[1] - 1)
