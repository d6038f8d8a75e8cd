"""The flow an edit asks for: a file as it is, or scale, stretch, rotate, translate and pins on the photo's subject."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField, affine_flow, compose, mask_field, pins_flow
from mtransfer.flow.interpolate import fill_motion
from mtransfer.flow.io import load_field
from mtransfer.flow.warp import moved_region, sample
from mtransfer.media.photo.photo import Photo
from mtransfer.subject.shape import centroid
from mtransfer.subject.subject import Subject, subject_from_mask

UNKNOWN = 0.01  # a confidence below this vouches for nothing


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
    asked: EditMotion, photo: Photo, subject: Subject, *, is_told_by_flow: bool = False
) -> tuple[Subject, FlowField]:
    """The subject and its flow (T = 1) at the photo's size.

    `is_told_by_flow`: the subject is where a file's flow is not zero.
    Raises InputError when no motion, or both a file and elementary motions, are given.
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
        subject = subject_from_mask(photo.image, moved_region(field.flow)[0])
    return subject, FlowField(_trusted(field, subject.mask) * asked.strength, field.confidence)


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
