"""What a mask picture means: which pixels are the subject, and by how much, however it was drawn.

White on black is a subject on a background. Masks come as 0 and 1 too, as labels with a palette (VOC, DAVIS), in any
colour, dark on light, in alpha, soft, and with the noise of JPEG. A label or colour can be named: `mask.png#2`,
`mask.png#ff0000`; `mask.png#grey` is brightness as it stands.
"""

import os.path
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from mtransfer.errors import InputError
from mtransfer.log import warn
from mtransfer.media.photo.image_file import ImageFile, read_image_file

GREY = "grey"
NAMED = re.compile(rf"(.+\.\w+)#(\d{{1,5}}|[0-9a-fA-F]{{6}}|{GREY})")
VOID = 255  # of label pictures: of no class
MOST_CLASSES, RIM_PX = 20, 12  # of VOC; where labels go further, VOID is no wider than a rim
MOST_LABELS, MOST_NAMED = 64, 6
FLAT_SHARE = 0.97  # of a label picture lies in flat regions
COLOURED = 16 / 255  # difference of channels beyond which a pixel is no grey
OFF_THE_LINE = 0.2  # of the way between two colours: what is farther off is a third
BLACK = 40 / 255
NOISE = 10 / 255  # of JPEG, on flat ground
NOISY_LEVELS = 5
NEARLY_ALL = 0.9
STRAY_SHARE, BLED_PX = 0.02, 6  # of a mask of two colours: how much, and how thick, noise and blurred edges are
BORDER_SHARE, BORDER_LIGHT = 0.02, 0.98
SMALLEST_SHARE, LARGEST_SHARE = 0.004, 0.5  # of a dark subject on light

Mask = Float32[NDArray[np.float32], "H W"]


@dataclass(frozen=True, eq=False)
class Meaning:
    """The mask float32[H,W] in [0,1], and what had to be made out; "" for plain white on black."""

    mask: Mask
    said: str = ""


def split_label(spec: str) -> tuple[str, str | None]:
    """A mask file's name and the label or colour that is named behind it."""
    found = None if os.path.exists(spec) else NAMED.fullmatch(spec)
    return (spec, None) if found is None else (found[1], found[2].lower())


def subject_mask(path: Path) -> Mask:
    """The subject that a mask file shows; says so where it is not plain white on black.

    Raises InputError for a file that is no picture, shows several labels, or is no mask.
    """
    name, label = split_label(str(path))
    file = _file(name)
    if label == GREY:
        return brightness(file)
    meaning = meaning_of(file, name) if label is None else _named(file, label, name)
    if meaning.said:
        warn(f"{name}: {meaning.said}")
    return meaning.mask


def grey_picture(path: Path) -> Mask:
    """A picture as one number a pixel, in [0,1]: its alpha where it has one, else its brightness."""
    return brightness(_file(split_label(str(path))[0]))


def _file(name: str) -> ImageFile:
    if not os.path.exists(name):
        raise InputError(f"{name} does not exist; name a mask picture of the photo's size")
    return read_image_file(Path(name))


def brightness(file: ImageFile) -> Mask:
    """Alpha where a picture is not opaque, else the mean of its channels."""
    alpha = _alpha(file)
    return _colours(file).mean(axis=-1, dtype=np.float32) if alpha is None else alpha


def meaning_of(file: ImageFile, name: str) -> Meaning:
    """What a mask shows. Raises InputError, naming the file, where that cannot be told."""
    alpha, colours = _alpha(file), _colours(file)
    if alpha is not None:
        return _turned(Meaning(alpha, "its alpha is taken as the mask"))
    coloured = float((np.ptp(colours, axis=-1) > COLOURED).mean())
    if file.indices is not None and coloured > 0:
        return _of_labels(file.indices.astype(np.int64), name, palette=True)
    return _of_levels(file, name) if coloured < STRAY_SHARE / 10 else _of_colours(colours, name)


def _alpha(file: ImageFile) -> Mask | None:
    pixels = file.pixels
    if pixels.shape[2] % 2 or pixels[..., -1].min() == np.iinfo(pixels.dtype).max:
        return None
    return np.asarray(pixels[..., -1] / np.iinfo(pixels.dtype).max, np.float32)


def _colours(file: ImageFile) -> NDArray[np.float32]:
    """[H,W,1 or 3] in [0,1]."""
    channels = file.pixels[..., : 1 if file.pixels.shape[2] <= 2 else 3]
    return np.asarray(channels / np.iinfo(channels.dtype).max, np.float32)


def _of_levels(file: ImageFile, name: str) -> Meaning:
    """Of grey: two levels, labels, or a soft mask."""
    levels = file.pixels[..., : 1 if file.pixels.shape[2] <= 2 else 3].astype(np.int64)
    grey, most = levels.sum(axis=-1) // levels.shape[-1], int(np.iinfo(file.pixels.dtype).max)
    present = np.unique(grey).tolist()
    if len(present) == 1:
        said = "" if present[0] in (0, most) else f"is {present[0]} everywhere; all of it is taken as the subject"
        return Meaning(np.full(grey.shape, float(present[0] > 0), np.float32), said)
    flat = [level for level in present if _is_flat(grey == level)] if len(present) <= MOST_LABELS else []
    if len(present) > 2 and len(flat) > 2 and np.isin(grey, flat).mean() > FLAT_SHARE:
        return _of_labels(grey, name, palette=False)
    low, high = present if len(present) == 2 else flat if len(flat) == 2 else _two_levels(grey, most)
    said = "" if (low, high) == (0, most) else f"levels {low} and {high}; {high} is taken as the subject"
    mask = np.clip((grey - low) / (high - low), 0, 1).astype(np.float32)
    return _turned(Meaning(_without_noise(mask), said))


def _two_levels(grey: NDArray[np.int64], most: int) -> tuple[int, int]:
    """The two levels about which nearly all pixels lie, as JPEG leaves them; black and white where there are no two."""
    middle = int(np.quantile(grey, (0.002, 0.998)).mean())
    halves = [half for half in (grey[grey <= middle], grey[grey > middle]) if half.size]
    found = [int(np.median(half)) for half in halves]
    near = np.min([np.abs(grey - level) for level in found], axis=0) < NOISE * most
    if len(found) < 2 or near.mean() < NEARLY_ALL:
        return 0, most
    low, high = found
    return 0 if low < NOISE * most else low, most if high > (1 - NOISE) * most else high


def _is_flat(region: NDArray[np.bool_], thicker_than_px: int = 2) -> bool:
    """Whether a region is more than a line: an edge between two levels passes through others."""
    kernel = np.ones((thicker_than_px + 1,) * 2, np.uint8)
    return bool(cv2.erode(region.astype(np.uint8), kernel, borderValue=0).any())


def _without_noise(mask: Mask) -> Mask:
    """Black and white made one level each, where JPEG has spread them over several."""
    dark, light = (np.unique(mask[(mask > 0) & (mask < NOISE)]), np.unique(mask[(mask < 1) & (mask > 1 - NOISE)]))
    if min(len(dark), len(light)) < NOISY_LEVELS:
        return mask
    return np.clip((mask - NOISE) / (1 - 2 * NOISE), 0, 1).astype(np.float32)


def _of_labels(labels: NDArray[np.int64], name: str, *, palette: bool) -> Meaning:
    """Of labels: the one that is neither background nor void."""
    counts = dict(zip(*(each.tolist() for each in np.unique(labels, return_counts=True)), strict=True))
    background = 0 if 0 in counts else int(np.bincount(_border(labels)).argmax())
    classes = max((label for label in counts if label != VOID), default=0)
    if palette or classes <= MOST_CLASSES or not _is_flat(labels == VOID, RIM_PX):
        counts = {label: count for label, count in counts.items() if label != VOID or len(counts) == 2}
    found = {label: count for label, count in counts.items() if label != background}
    if len(found) > 1:
        flat = {label: count for label, count in found.items() if _is_flat(labels == label)}
        found = flat or found
    if len(found) > 1:
        raise _which({str(label): count / labels.size for label, count in found.items()}, "labels", name)
    label = next(iter(found), background)
    return Meaning((labels == label).astype(np.float32), f"label {label} is taken as the subject")


def _which(shares: dict[str, float], kind: str, name: str) -> InputError:
    largest = sorted(shares, key=lambda label: -shares[label])
    named = ", ".join(f"{label} ({100 * shares[label]:.1f} %)" for label in largest[:MOST_NAMED])
    more = f" and {len(largest) - MOST_NAMED} more" if len(largest) > MOST_NAMED else ""
    return InputError(f"{name}: holds several {kind}, {named}{more}; name one of them, as {name}#{largest[0]}")


def _of_colours(colours: NDArray[np.float32], name: str) -> Meaning:
    """Of two colours, edges and noise between them: the one that is not black, else not the border's."""
    around = np.median(_border(colours), axis=0)
    apart = np.linalg.norm(colours - around, axis=-1)
    other = np.median(colours[apart > 0.75 * np.quantile(apart, 0.999)], axis=0)
    way = other - around
    along = ((colours - around) @ way) / max(float(way @ way), 1e-6)
    aside = np.linalg.norm(colours - around - along[..., None] * way, axis=-1)
    stray, between = aside > OFF_THE_LINE * np.linalg.norm(way), (along > 0.25) & (along < 0.75)
    if any(region.mean() > STRAY_SHARE or _is_flat(region, BLED_PX) for region in (stray, between)):
        raise _several_colours(colours, name)
    mask = np.clip(along, 0, 1).astype(np.float32)
    black = [bool(colour.max() < BLACK) for colour in (around, other)]
    if black[1]:
        mask = 1 - mask
    subject, ground = (around, other) if black[1] else (other, around)
    said = f"#{_hex(subject)} is taken as the subject, #{_hex(ground)} as what is around it"
    meaning = Meaning(_without_noise(mask), said)
    return _turned(meaning) if any(black) else meaning


def _several_colours(colours: NDArray[np.float32], name: str) -> InputError:
    codes = _codes(colours)
    values, counts = np.unique(codes, return_counts=True)
    if len(values) > MOST_LABELS:
        return InputError(f"{name}: has {len(values)} colours, so it is no mask; give one colour on another")
    black = int(np.bincount(np.searchsorted(values, _border(codes))).argmax()) if 0 not in values else 0
    flat = {place: count for place, count in enumerate(counts) if place != black and _is_flat(codes == values[place])}
    return _which({f"{values[place]:06x}": float(count) / codes.size for place, count in flat.items()}, "colours", name)


def _codes(colours: NDArray[np.float32]) -> NDArray[np.int64]:
    levels = np.rint(255 * colours).astype(np.int64) * np.ones(3, np.int64)
    return np.asarray(levels @ np.array([65536, 256, 1]))


def _hex(colour: NDArray[np.floating[Any]]) -> str:
    return f"{int(_codes(np.asarray(colour, np.float32)[None])[0]):06x}"


def _named(file: ImageFile, label: str, name: str) -> Meaning:
    """What is named: an index of the palette, a level of grey, or a colour."""
    if file.indices is not None and label.isdecimal() and int(label) <= VOID:
        labels, wanted = file.indices.astype(np.int64), int(label)
    elif file.pixels.shape[2] <= 2 and label.isdecimal():
        labels, wanted = file.pixels[..., 0].astype(np.int64), int(label)
    elif len(label) == 6:
        labels, wanted = _codes(_colours(file)), int(label, 16)
    else:
        labels, wanted = file.pixels[..., :3].astype(np.int64).min(axis=-1), int(label)
    if not (labels == wanted).any():
        raise InputError(f"{name}#{label}: nothing in {name} has that label or colour; look at it with an image viewer")
    return Meaning((labels == wanted).astype(np.float32))


def _turned(meaning: Meaning) -> Meaning:
    """A dark subject on light: light along the whole border and over most of the picture, but not over all of it."""
    dark = float((meaning.mask < 0.5).mean())
    light_border = float((_border(meaning.mask) > 0.5).mean())
    if light_border < BORDER_LIGHT or not SMALLEST_SHARE <= dark <= LARGEST_SHARE:
        return meaning
    said = "light along the whole border, so the dark one in it is taken as the subject; NAME#grey takes it as it is"
    return Meaning(1 - meaning.mask, f"{meaning.said}; {said}" if meaning.said else said)


def _border(picture: NDArray[Any]) -> NDArray[Any]:
    """The pixels of the picture's frame, [N,...]."""
    depth = max(1, round(BORDER_SHARE * min(picture.shape[:2])))
    sides = (picture[:depth], picture[-depth:], picture[depth:-depth, :depth], picture[depth:-depth, -depth:])
    return np.concatenate([side.reshape(-1, *picture.shape[2:]) for side in sides])
