"""The flow an edit asks for: a file as it is, or scale, stretch, rotate, translate and pins on the photo's subject."""

import torch
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.field import FlowField, affine_flow, compose, mask_field, pins_flow
from mtransfer.fieldio import load_field
from mtransfer.fill import fill_motion
from mtransfer.media.image import Photo
from mtransfer.recipe import EditRecipe
from mtransfer.subject.subject import Subject, subject_from_mask
from mtransfer.warp import pixel_grid, sample

UNKNOWN = 0.01  # a confidence below this vouches for nothing


def edit_field(recipe: EditRecipe, photo: Photo, subject: Subject) -> tuple[Subject, FlowField]:
    """The subject and its flow (T = 1) at the photo's size; of a file, `auto` and `moving` are where it is not zero.

    Raises InputError when no motion, or both a file and elementary motions, are given.
    """
    elementary = _elementary_given(recipe)
    if (recipe.flow is None) == (not elementary):
        both = ", not both" if elementary else ""
        raise InputError(f"give --flow FILE, or one or more of --translate --rotate --scale --stretch --pin{both}")
    if recipe.flow is None:
        return subject, mask_field(elementary_field(recipe, subject), (subject.mask > 0).float())
    field = load_field(recipe.flow, size=photo.size)
    if field.flow.shape[0] != 1:
        raise InputError(f"{recipe.flow}: holds {field.flow.shape[0]} flows; an edit takes one")
    moving = field.flow[0].ne(0).any(dim=0, keepdim=True).float()
    if not bool(moving.any()):
        raise InputError(f"{recipe.flow}: the flow is zero everywhere, so nothing would move")
    if recipe.subject in ("auto", "moving"):
        subject = subject_from_mask(photo.image, moving)
    return subject, FlowField(_trusted(field, subject.mask) * recipe.strength, field.confidence)


def _trusted(field: FlowField, mask: Tensor) -> Tensor:
    """The field's flow, carried on inside the mask where its file does not vouch for it; zero outside the mask."""
    inside = (mask[None] > 0).to(field.flow)
    known = inside * (field.confidence > UNKNOWN)
    return inside * fill_motion(field.flow, known) if bool(known.any()) else field.flow


def _elementary_given(recipe: EditRecipe) -> bool:
    return bool(recipe.translate or recipe.stretch or recipe.pin or recipe.rotate or recipe.scale != 1)


def elementary_field(recipe: EditRecipe, subject: Subject) -> FlowField:
    """The flow (T = 1) of a recipe's elementary motions about the subject's centroid, over the whole picture."""
    size = (subject.image.shape[-2], subject.image.shape[-1])
    grid = pixel_grid(subject.mask[None])[0]
    centre = (grid * subject.mask).sum(dim=(1, 2)) / subject.mask.sum()
    field = affine_flow(
        size,
        (float(centre[0]), float(centre[1])),
        scale=1 + recipe.strength * (recipe.scale - 1),
        stretch_xy=_strengthened(
            parse_xy(recipe.stretch, "--stretch") if recipe.stretch else (1.0, 1.0), recipe.strength
        ),
        rotate_deg=recipe.strength * recipe.rotate,
        translate_px=_times(
            parse_xy(recipe.translate, "--translate") if recipe.translate else (0.0, 0.0), recipe.strength
        ),
    )
    return _with_pins(field, recipe) if recipe.pin else field


def _with_pins(field: FlowField, recipe: EditRecipe) -> FlowField:
    """Pins are set where the points of the photo have come to after the other motions."""
    pins = []
    for pin in recipe.pin:
        at, colon, by = pin.partition(":")
        if not colon:
            raise InputError(f"--pin {pin}: write it as x,y:dx,dy")
        point = torch.tensor(parse_xy(at, "--pin")).view(1, 2, 1, 1)
        moved = (point + sample(field.flow, point)).flatten().tolist()
        pins.append(((moved[0], moved[1]), _times(parse_xy(by, "--pin"), recipe.strength)))
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
