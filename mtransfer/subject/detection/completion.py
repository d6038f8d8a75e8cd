"""Objects of which a part or a rough place is known: completed to what stands out, or found again."""

import numpy as np

from mtransfer.subject.detection.picture import Picture
from mtransfer.subject.detection.salient_objects import SURELY_ONE, find_objects, separated
from mtransfer.subject.regions import (
    Region,
    bounding_box,
    common_px,
    connected_parts,
    cut_fraction,
    dilate,
    erode,
    fill_holes,
    hysteresis_threshold,
    overlap,
    with_margin,
)

SIDE_PX = 224
LOW, HIGH = 0.45, 0.6
MARGIN = 0.25
MOST_CUT = 0.06
GROW_TRIES = 4
COVERED = 0.5  # of the part that is known, which the whole object must hold
TOUCHED = 0.1  # of a salient part, that must be known, to be of the object
SALIENT_HOLDS = 0.4  # of a part, by the salient object that it belongs to
HELD = 0.3  # of a part or an object, whichever is smaller, that must be of both
ITSELF = 0.65  # overlap of a part with what MobileSAM sees in its box, if it is a thing of its own
LIVELY = 0.15  # of an object that is meant instead of a part that is no thing, must move
HOLE_FRACTION = 0.02
LARGEST = 0.85  # of the picture
FOUND_AGAIN, CLOSE = 0.5, 0.93  # overlap with the prediction, below which it is another thing; above, as good
REACH, SLACK = 0.03, 0.012  # of the long side: how far beyond that place it may be; how far its outline may be off


def complete_object(picture: Picture, part: Region, moving: Region | None = None) -> Region | None:
    """The whole object bool[H,W] on the small grid of which `part` is known to belong to it; None if none stands out.

    It is the salient object that holds most of the part. Where none holds enough, a crop about the part grows until
    the object in it is whole: a head that turns belongs to a person. A part that is no thing of its own (a curtain,
    ground that flow carries along) gives way to the salient object of which most is `moving`, if one is.
    """
    objects = find_objects(picture)
    salient = max(objects, key=lambda each: common_px(each, part), default=np.zeros_like(part))
    if common_px(salient, part) > SALIENT_HOLDS * part.sum():
        return salient
    if moving is not None:
        liveliest = max(objects, key=lambda each: common_px(each, moving), default=np.zeros_like(part))
        if common_px(liveliest, moving) > LIVELY * liveliest.sum() and not _is_a_thing(picture, part):
            return liveliest
    found = _by_growing_crops(picture, part)
    if found is None:
        found = _touching(picture.salient.region, part)
    if common_px(found, part) < COVERED * part.sum() or found.mean() > LARGEST:
        return None
    return _without_neighbours(picture, found, part)


def _is_a_thing(picture: Picture, region: Region) -> bool:
    """Whether MobileSAM, asked for what is in its box, surely sees about the same; ground spans the whole picture."""
    x0, y0, x1, y1 = box = bounding_box(region)
    height, width = picture.size
    if x1 - x0 == width or y1 - y0 == height:
        return False
    seen = picture.embedding.in_box(box)
    return any(overlap(each.region, region) > ITSELF and each.quality > SURELY_ONE for each in seen)


def _without_neighbours(picture: Picture, found: Region, part: Region) -> Region:
    """Of the objects that a region is made of, those of which the part is known."""
    objects = [each.region for each in separated(picture, found)]
    held = [each for each in objects if (each & part).sum() > HELD * min(each.sum(), part.sum())]
    union = np.any(held, axis=0) if held else found
    return union if (union & part).sum() > COVERED * part.sum() else found


def _by_growing_crops(picture: Picture, part: Region) -> Region | None:
    box = with_margin(bounding_box(part), MARGIN, picture.size)
    for _ in range(GROW_TRIES):
        salient = hysteresis_threshold(picture.saliency_in(box, SIDE_PX), LOW, HIGH)
        region = _touching(salient, part)
        if (region & part).sum() < COVERED * part.sum():
            return None
        if cut_fraction(region, box) < MOST_CUT:
            return fill_holes(region, HOLE_FRACTION)
        box = with_margin(bounding_box(region | part), MARGIN, picture.size)
    return None


def find_again(picture: Picture, predicted: Region) -> Region:
    """The object that is about where `predicted` says, on the small grid; `predicted` itself where none is seen there.

    MobileSAM is asked for what is in the prediction's box. The prediction keeps its outline but for what has leaked far
    out of the object, or is missing deep inside it; nothing far outside the prediction is taken, so that an object
    cannot grow into its neighbour.
    """
    if not predicted.any():
        return predicted
    candidates = picture.embedding.in_box(bounding_box(predicted))
    seen = max((each.region for each in candidates), key=lambda each: overlap(each, predicted))
    reach, slack = (max(2, round(fraction * max(picture.size))) for fraction in (REACH, SLACK))
    region = fill_holes(seen & dilate(predicted, reach), HOLE_FRACTION)
    if not FOUND_AGAIN < overlap(region, predicted) < CLOSE:
        return predicted
    return predicted & dilate(region, slack) | erode(region, slack)


def _touching(salient: Region, part: Region) -> Region:
    """The salient parts of which enough is known, or that hold enough of what is."""
    kept = [
        each
        for each in connected_parts(salient)
        if (each & part).sum() > min(TOUCHED * each.sum(), COVERED * part.sum())
    ]
    return np.any(kept, axis=0) if kept else np.zeros_like(part)
