"""The object at a point or in a box: what stands out in crops about it, from small to large."""

from dataclasses import dataclass

import cv2
import numpy as np

from mtransfer.subject.picture import Picture
from mtransfer.subject.regions import (
    Box,
    Region,
    bounding_box,
    connected_parts,
    cut_fraction,
    dilate,
    hysteresis_threshold,
    overlap,
    with_margin,
)
from mtransfer.subject.saliency import ambiguity
from mtransfer.subject.salient_objects import (
    NARROW,
    UNLIKE,
    colour_likeness,
    divided,
    merely_touch,
    relative_contact,
    separated,
)

CROP_FRACTIONS = (0.22, 0.32, 0.46, 0.66, 1.0)  # of the long side, about a point
CROP_SIDE_PX, CHECK_SIDE_PX = 224, 320
NEAR_FRACTION = 0.012  # of the long side: how far beside a thing a click may be
LOW, HIGH = 0.45, 0.6
MOST_CUT, MOST_AMBIGUOUS = 0.08, 0.35
FULL = 0.85  # of a crop: what covers more has no background to stand out against
MOST_OF_A_PART = 2.2  # growth of the area from one scale to the next, above which another thing has joined
OF_ONE_COLOUR = 0.6  # intersection of colour histograms, above which it is one thing all the same
GROWTH = 1.25  # of what was cut off, above which another thing may have joined
INSIDE = 0.85
GROW_MARGIN, CHECK_MARGIN = 0.22, 0.18
GROW_TRIES = 2
SAME, WORSE = 0.8, 0.1  # a fine view counts where it shows the same, and no more doubtfully
BOX_MARGIN = 0.12


@dataclass(frozen=True, eq=False)
class _Sighting:
    region: Region
    cut: float
    ambiguity: float
    fill: float

    @property
    def whole(self) -> bool:
        return self.cut < MOST_CUT and self.ambiguity < MOST_AMBIGUOUS and self.fill < FULL

    @property
    def badness(self) -> float:
        return 2 * self.cut + self.ambiguity


def object_at(picture: Picture, x: float, y: float) -> Region | None:
    """The object that holds the point (x, y) of the picture's small grid; None on plain ground."""
    point, cut_off = (x, y), list[_Sighting]()
    whole: _Sighting | None = None
    for fraction in CROP_FRACTIONS:
        sighting = _sight(picture, _about(picture, x, y, fraction), point, CROP_SIDE_PX)
        if sighting is None or (whole is not None and not sighting.whole):
            continue
        if not sighting.whole:
            cut_off.append(sighting)
        elif whole is None and fraction == CROP_FRACTIONS[-1] and cut_off and _may_be_several(cut_off[-1], sighting):
            return _one_of_several(picture, cut_off[-1], sighting, point)
        elif whole is None or _was_part(picture, whole, sighting):
            whole = sighting
        else:
            break  # another thing has joined
    if whole is None and not cut_off:
        return None
    best = whole or _grown(picture, min(cut_off, key=lambda each: each.badness), point)
    return _checked(picture, best, point).region


def _may_be_several(before: _Sighting, now: _Sighting) -> bool:
    """Whether what a crop cut off has grown by what may be another thing."""
    return before.cut > MOST_CUT and bool(now.region.sum() > GROWTH * before.region.sum())


def _was_part(picture: Picture, before: _Sighting, now: _Sighting) -> bool:
    """Whether what was whole at a scale is a part of what is whole at a larger one, and no thing of its own."""
    if (before.region & now.region).sum() < INSIDE * before.region.sum():
        return False
    part = divided(before.region, now.region)
    rest = now.region & ~part
    if merely_touch(picture, part, rest):
        return False
    if now.region.sum() < MOST_OF_A_PART * before.region.sum():
        return True
    alike = colour_likeness(picture.small, part, rest)
    is_limb = relative_contact(part, rest) < NARROW and alike < UNLIKE
    return is_limb or alike > OF_ONE_COLOUR


def _one_of_several(picture: Picture, before: _Sighting, now: _Sighting, point: tuple[float, float]) -> Region:
    """The thing at the point where only the whole picture holds it uncut, perhaps with others."""
    grown = _grown(picture, before, point) if before.ambiguity < MOST_AMBIGUOUS else now
    best = grown if grown.whole else now
    for part in separated(picture, best.region):
        if part.sum() < best.region.sum() and _part_at(part, point) is not None:
            return part
    return _checked(picture, best, point).region


def object_in(picture: Picture, box: Box) -> Region | None:
    """What stands out in a box of the picture's small grid, seen with a margin about it; None where nothing does."""
    x0, y0, x1, y1 = box
    values = picture.saliency_in(with_margin(box, BOX_MARGIN, picture.size), CHECK_SIDE_PX)
    inside = np.zeros(picture.size, bool)
    inside[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
    region = hysteresis_threshold(values * inside, LOW, HIGH)
    kept = connected_parts(region, 0.1 * region.sum()) if region.any() else []
    return np.any(kept, axis=0) if kept else None


def nearest_object_point(picture: Picture, x: float, y: float) -> tuple[float, float] | None:
    """The point of a salient region that is nearest to (x, y), on the small grid; None where nothing stands out."""
    region = hysteresis_threshold(
        picture.saliency_in((0, 0, picture.size[1], picture.size[0]), CROP_SIDE_PX), LOW, HIGH
    )
    rows, columns = np.nonzero(region)
    if not len(rows):
        return None
    nearest = int(np.hypot(columns - x, rows - y).argmin())
    return float(columns[nearest]), float(rows[nearest])


def _about(picture: Picture, x: float, y: float, fraction: float) -> Box:
    height, width = picture.size
    if fraction >= 1:
        return 0, 0, width, height
    half = fraction * max(height, width) / 2
    x0, y0 = max(0, int(x - half)), max(0, int(y - half))
    return x0, y0, min(width, int(x + half) + 1), min(height, int(y + half) + 1)


def _sight(picture: Picture, box: Box, point: tuple[float, float], side_px: int) -> _Sighting | None:
    """What stands out at a point in a crop; None where nothing does."""
    values = picture.saliency_in(box, side_px)
    region = _part_at(hysteresis_threshold(values, LOW, HIGH), point)
    if region is None:
        return None
    clear = ambiguity(np.where(dilate(region, 2), values, 0))
    fill = region.sum() / ((box[2] - box[0]) * (box[3] - box[1]))
    return _Sighting(region, cut_fraction(region, box), clear, float(fill))


def _part_at(region: Region, point: tuple[float, float]) -> Region | None:
    reach = max(1, round(NEAR_FRACTION * max(region.shape)))
    x, y = round(point[0]), round(point[1])
    near = np.s_[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
    _, labels = cv2.connectedComponents(region.astype(np.uint8))
    there = labels[near][labels[near] > 0]
    return labels == np.bincount(there).argmax() if len(there) else None


def _grown(picture: Picture, sighting: _Sighting, point: tuple[float, float]) -> _Sighting:
    """Crops that grow with what is seen in them, until it is whole."""
    for _ in range(GROW_TRIES):
        box = with_margin(bounding_box(sighting.region), GROW_MARGIN, picture.size)
        larger = _sight(picture, box, point, CROP_SIDE_PX)
        if larger is None:
            return sighting
        sighting = larger
        if sighting.whole:
            return sighting
    return sighting


def _checked(picture: Picture, sighting: _Sighting, point: tuple[float, float]) -> _Sighting:
    """The object drawn from a fine view of a crop about it, where that shows the same object."""
    box = with_margin(bounding_box(sighting.region), CHECK_MARGIN, picture.size)
    fine = _sight(picture, box, point, CHECK_SIDE_PX)
    if fine is None or fine.badness > sighting.badness + WORSE or overlap(fine.region, sighting.region) < SAME:
        return sighting
    return fine
