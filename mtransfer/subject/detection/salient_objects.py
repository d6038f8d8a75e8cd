"""The salient objects of a photograph, the main one first: what stands out, taken apart into things.

Saliency (U2-Netp) says where to look, and MobileSAM, asked at points spread over it, what the things there are.
"""

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from mtransfer.subject.detection.mobile_sam import Candidate, Embedding
from mtransfer.subject.detection.picture import Picture
from mtransfer.subject.detection.saliency import Map
from mtransfer.subject.regions import (
    Region,
    compactness,
    connected_parts,
    deepest_point,
    dilate,
    disc,
    fill_holes,
    opened,
    overlap,
)

FULL = 0.95  # of the picture: all there is, and no object
LEAST_PART = 0.1  # of all that stands out: what is smaller is no object of its own
GAP = 0.01  # of the long side
POINTS = 8
LEAST_QUALITY = 0.55
PRECISE = 0.85  # a mask with a smaller fraction in what stands out is of something else
SAME = 0.8  # overlap of one object seen twice
WHOLE = 0.75  # overlap with all that stands out, of a mask that is the whole of it
# Of two things side by side: the smaller one's part of both, the quality of their masks and overlap with what is left
# beside the other, their compactness, and how much farther they lie apart across than down.
LEAST_OF_TWO, QUALITY_OF_TWO, REST, COMPACT, ASIDE = 0.35, 0.7, 0.7, 0.26, 2.0
BETTER, MOST_OF_IT = 0.2, 0.4  # in quality, of a part that is meant instead of the whole; its fraction of that
SURELY_ONE, LARGEST = 0.85, 0.85  # quality of a mask far larger than what stands out; its area, of the picture
SURE = 0.9  # saliency of what belongs to an object although MobileSAM leaves it out
THIN = 0.01  # of the long side: what stands out beside an object and is thicker belongs to it
BESIDE, DULL = 0.015, 0.03  # of the long side: beyond what stands out; mean saliency there, of what is no part of it
LARGEST_HOLE = 0.1  # of an object, that is filled where it stands out
APART = 0.2  # of a mask, that may lie in another object


def find_objects(picture: Picture) -> list[Region]:
    """The salient objects on the picture's small grid, the main one first; none in a landscape or on plain ground."""
    found = picture.salient
    objects = [each for thing in _things(found.region) for each in separated(picture, thing)]
    objects = [each for each in objects if each.region.mean() < FULL]
    return [each.region for each in sorted(objects, key=lambda each: -_prominence(each, found.values))]


def _things(region: Region) -> list[Region]:
    """The large connected parts of a region, over gaps as narrow as a thread."""
    closed = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_CLOSE, disc(round(GAP * max(region.shape)))) > 0
    return [part & region for part in connected_parts(closed, max(1.0, LEAST_PART * region.sum()))]


def _prominence(candidate: Candidate, values: Map) -> float:
    """Larger for what is large, clearly salient, clearly one thing, and near the middle."""
    region = candidate.region
    half = np.array(region.shape[::-1]) / 2
    rows, columns = np.nonzero(region)
    offset = (np.array([columns.mean(), rows.mean()]) - half) / half
    clear = float(values[region].mean()) ** 3 * candidate.quality**2
    return float(clear * region.sum() * np.exp(-(offset**2).sum()))


def separated(picture: Picture, region: Region) -> list[Candidate]:
    """The objects that a region of the small grid is made of; itself when it is one.

    It is one where a point in it means all of it, unless masks of other points part it in two side by side.
    """
    seen = _seen(picture.embedding, region)
    candidates = _inside(seen, region)
    whole = max(candidates, key=lambda each: overlap(each.region, region), default=None)
    if whole is None or overlap(whole.region, region) < WHOLE:
        return _around(seen, region) or _disjoint(candidates, region) or [Candidate(region, LEAST_QUALITY, 1.0)]
    parts = [each for each in candidates if each is not whole]
    for part in parts:
        rest = whole.region & ~part.region
        other = max(parts, key=lambda each: overlap(each.region, rest))
        if _are_beside(part, other, whole.region):
            return [part, replace(other, region=other.region & ~part.region)]
    clearest = max(parts, key=lambda each: each.quality, default=whole)
    if clearest.quality > whole.quality + BETTER and clearest.region.sum() > MOST_OF_IT * whole.region.sum():
        return [clearest]  # without the chair it sits on
    values = picture.salient.values
    kept = whole.region & ~_strayed(whole.region, region, values)
    return [replace(whole, region=kept | _missed(kept, region & (values > SURE)))]


def _seen(embedding: Embedding, region: Region) -> list[Candidate]:
    return [each for x, y in _spread_points(region) for each in embedding.at_point(x, y)]


def _strayed(whole: Region, region: Region, values: Map) -> Region:
    """What a mask holds beside what stands out, that does not stand out at all: dark ground by a dark sleeve."""
    beside = whole & ~dilate(region, max(2, round(BESIDE * max(region.shape))))
    strayed = [each for each in connected_parts(beside) if values[each].mean() < DULL]
    return np.any(strayed, axis=0) if strayed else np.zeros_like(whole)


def _missed(whole: Region, region: Region) -> Region:
    """What surely stands out beside the mask of a whole, but for thin things, and within small holes of it."""
    beside = opened(region & ~whole, max(2, round(THIN * max(region.shape))))
    return beside | (fill_holes(whole, LARGEST_HOLE) & region)


def _are_beside(part: Candidate, other: Candidate, whole: Region) -> bool:
    """Whether a part of a whole and what is left are two things side by side, and not a head and its body."""
    rest = whole & ~part.region
    smaller = min(rest.sum(), (part.region & whole).sum()) / whole.sum()
    if smaller < LEAST_OF_TWO or overlap(other.region, rest) < REST:
        return False
    if min(compactness(part.region), compactness(rest)) < COMPACT:
        return False  # a wing
    (y0, x0), (y1, x1) = (np.mean(np.nonzero(each), axis=1) for each in (part.region, rest))
    return min(part.quality, other.quality) > QUALITY_OF_TWO and bool(abs(x0 - x1) > ASIDE * abs(y0 - y1))


def _disjoint(candidates: list[Candidate], region: Region) -> list[Candidate]:
    """The best candidates that lie apart."""
    chosen: list[Candidate] = []
    for each in candidates:
        taken = np.any([other.region & each.region for other in chosen], axis=0) & region
        if each.region.sum() > LEAST_PART * region.sum() and taken.sum() < APART * each.region.sum():
            chosen.append(replace(each, region=each.region & ~taken))
    return chosen


def _inside(seen: list[Candidate], region: Region) -> list[Candidate]:
    """The masks within a region, without near repeats, the large and good ones first."""
    near = dilate(region, max(1, round(GAP * max(region.shape))))
    inside = [
        each
        for each in seen
        if each.quality > LEAST_QUALITY and (each.region & near).sum() > PRECISE * each.region.sum() > 0
    ]
    kept: list[Candidate] = []
    for each in sorted(inside, key=lambda each: -(each.quality**2) * float(np.sqrt(each.region.sum()))):
        if all(overlap(each.region, other.region) < SAME for other in kept):
            kept.append(each)
    return kept


def _around(seen: list[Candidate], region: Region) -> list[Candidate]:
    """The object of which a region is but a part: the cat whose ear stands out; empty where there is none."""
    larger = [
        each
        for each in seen
        if each.quality > SURELY_ONE
        and each.region.mean() < LARGEST
        and (each.region & region).sum() > PRECISE * region.sum()
    ]
    return sorted(larger, key=lambda each: -each.quality)[:1]


def _spread_points(region: Region) -> Iterator[tuple[float, float]]:
    """The deepest point of a region, then of what is left of it without discs about the points before."""
    rest = region.copy()
    radius_px = max(2, round(np.sqrt(region.sum() / (np.pi * POINTS)) * 0.9))
    for _ in range(POINTS):
        if not rest.any():
            return
        x, y = deepest_point(rest)
        yield x, y
        rest &= cv2.circle(np.zeros(region.shape, np.uint8), (round(x), round(y)), radius_px, 1, -1) == 0
