"""Objects of which a part or a rough place is known: completed, or found again, by saliency of crops about it."""

import numpy as np

from mtransfer.subject.picture import Picture
from mtransfer.subject.regions import (
    Region,
    bounding_box,
    connected_parts,
    cut_fraction,
    dilate,
    erode,
    fill_holes,
    hysteresis_threshold,
    overlap,
    with_margin,
)
from mtransfer.subject.salient_region import find_salient_region

SIDE_PX = 224
LOW, HIGH = 0.45, 0.6
MARGIN = 0.25
MOST_CUT = 0.06
GROW_TRIES = 4
COVERED = 0.5  # of the part that is known, which the whole object must hold
TOUCHED = 0.1  # of a salient part, that must be known, to be of the object
HOLE_FRACTION = 0.02
LARGEST = 0.85  # of the picture
FOUND_AGAIN, CLOSE = 0.35, 0.93  # overlap with the prediction, below which it is another thing; above, as good
REACH, SLACK = 0.03, 0.012  # of the long side: how far beyond that place it may be; how far its outline may be off


def complete_object(picture: Picture, part: Region) -> Region | None:
    """The whole object bool[H,W] on the small grid of which `part` is known to belong to it; None if none stands out.

    The crop about the part grows until the object in it is whole: a head that turns belongs to a person. Where the part
    does not stand out by itself, it may belong to what stands out in the whole picture.
    """
    found = _by_growing_crops(picture, part)
    if found is None:
        found = _touching(find_salient_region(picture.small).region, part)
    return found if (found & part).sum() > COVERED * part.sum() and found.mean() < LARGEST else None


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

    The prediction keeps its outline but for what has leaked far out of the object, or is missing deep inside it;
    nothing far outside the prediction is taken, so that an object cannot grow into its neighbour.
    """
    box = with_margin(bounding_box(predicted), MARGIN, picture.size)
    salient = hysteresis_threshold(picture.saliency_in(box, SIDE_PX), LOW, HIGH)
    reach, slack = (max(2, round(fraction * max(picture.size))) for fraction in (REACH, SLACK))
    region = fill_holes(_touching(salient & dilate(predicted, reach), predicted), HOLE_FRACTION)
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
