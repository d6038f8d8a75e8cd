"""The object at a point or in a box: the salient object that it means, else what MobileSAM sees there."""

from dataclasses import replace

import numpy as np

from mtransfer.subject.detection.mobile_sam import Candidate, embed
from mtransfer.subject.detection.picture import Picture
from mtransfer.subject.detection.salient_objects import find_objects
from mtransfer.subject.regions import Box, Region, bounding_box, cut_fraction, overlap, with_margin

NEAR_FRACTION = 0.012  # of the long side: how far beside a thing a click may be
MEANT, SAME = 0.6, 0.85  # overlap with a salient object of what may mean it, and of what is no better
CLEAR = 0.85  # quality of a mask that is meant although it is part of a salient object
NEARLY_AS_GOOD = 0.65  # of the best mask's quality: what is larger and as good is the whole of a thing
LARGEST = 0.85  # of the picture
CLOSER = 0.62  # of the long side: a crop about the point
MOST_CUT = 0.06  # of its outline, by the crop
STANDS_OUT = 0.3  # mean saliency, in a crop about it, of what is no plain ground
GROUND_SIDE_PX, GROUND_MARGIN = 224, 0.3
MARGIN, HOLDS = 0.25, 0.8  # of the crop in which an object is completed; of what was seen, that must be of it
FILLS = 0.1  # of a box, by what is meant by it


def object_at(picture: Picture, x: float, y: float) -> Region | None:
    """The object that holds the point (x, y) of the picture's small grid; None on plain ground."""
    candidates = picture.embedding.at_point(x, y)
    salient = next((each for each in find_objects(picture) if _is_near(each, x, y)), None)
    if salient is not None and any(overlap(each.region, salient) > SAME for each in candidates):
        return salient
    candidates += _seen_closer(picture, x, y)
    if salient is not None:
        meant = [each for each in candidates if overlap(each.region, salient) > MEANT]
        best = max(meant, key=lambda each: each.quality * overlap(each.region, salient), default=None)
        return _part_or(candidates, salient) if best is None else best.region
    found = _whole(candidates)
    if found is None or not _stands_out(picture, found.region):
        return None
    return _completed(picture, found, x, y).region


def _completed(picture: Picture, found: Candidate, x: float, y: float) -> Candidate:
    """What the point means in a crop about what it meant before, where that holds most of it: with the stool's legs."""
    box = with_margin(bounding_box(found.region), MARGIN, picture.size)
    seen = _whole(_seen_in(picture, box, x, y))
    if seen is None or (seen.region & found.region).sum() < HOLDS * found.region.sum():
        return found
    return seen


def _part_or(candidates: list[Candidate], salient: Region) -> Region:
    """What clearly is a thing before or on a salient object, else that object."""
    found = _whole(candidates)
    return found.region if found is not None and found.quality > CLEAR else salient


def object_in(picture: Picture, box: Box) -> Region | None:
    """The object in a box of the picture's small grid; None where there is none."""
    x0, y0, x1, y1 = box
    area = max(1, (x1 - x0) * (y1 - y0))
    found = max(picture.embedding.in_box(box), key=lambda each: each.quality)
    inside = np.zeros(picture.size, bool)
    inside[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
    region = found.region & inside
    return region if region.sum() > FILLS * area and _stands_out(picture, region) else None


def nearest_object_point(picture: Picture, x: float, y: float) -> tuple[float, float] | None:
    """The point of a salient object that is nearest to (x, y), on the small grid; None where nothing stands out."""
    rows, columns = np.nonzero(np.any([np.zeros(picture.size, bool), *find_objects(picture)], axis=0))
    if not len(rows):
        return None
    nearest = int(np.hypot(columns - x, rows - y).argmin())
    return float(columns[nearest]), float(rows[nearest])


def _is_near(region: Region, x: float, y: float) -> bool:
    reach = max(1, round(NEAR_FRACTION * max(region.shape)))
    column, row = round(x), round(y)
    return bool(region[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1].any())


def _whole(candidates: list[Candidate]) -> Candidate | None:
    """The largest of the masks that are about as good as the best; None where all of them are of the whole picture."""
    possible = [each for each in candidates if 0 < each.region.mean() < LARGEST]
    best = max((each.quality for each in possible), default=0)
    likely = [each for each in possible if each.quality >= NEARLY_AS_GOOD * best]
    return max(likely, key=lambda each: int(each.region.sum()), default=None)


def _seen_closer(picture: Picture, x: float, y: float) -> list[Candidate]:
    """What the point may mean in a crop about it, where the crop does not cut it off."""
    half, (height, width) = CLOSER * max(picture.size) / 2, picture.size
    box = max(0, int(x - half)), max(0, int(y - half)), min(width, int(x + half) + 1), min(height, int(y + half) + 1)
    return _seen_in(picture, box, x, y)


def _seen_in(picture: Picture, box: Box, x: float, y: float) -> list[Candidate]:
    """What the point may mean in a crop, where the crop does not cut it off."""
    (height, width), (x0, y0, x1, y1) = picture.size, box
    seen = embed(picture.crop(box)).scaled((y1 - y0, x1 - x0)).at_point(x - x0, y - y0)
    around = (y0, height - y1), (x0, width - x1)
    placed = [replace(each, region=np.pad(each.region, around)) for each in seen]
    return [each for each in placed if each.region.any() and cut_fraction(each.region, box) < MOST_CUT]


def _stands_out(picture: Picture, region: Region) -> bool:
    """Whether a region is salient in the picture or in a crop about it: sky, a wall or a meadow is not."""
    if (region & picture.salient.region).sum() > 0.5 * region.sum():
        return True
    box = with_margin(bounding_box(region), GROUND_MARGIN, picture.size)
    return float(picture.saliency_in(box, GROUND_SIDE_PX)[region].mean()) > STANDS_OUT
