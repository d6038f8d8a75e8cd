"""The salient objects of a photograph, the main one first: what stands out, taken apart into things."""

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
    disc,
    hysteresis_threshold,
    overlap,
    solidity,
    with_margin,
)
from mtransfer.subject.saliency import Map, Pixels, ambiguity
from mtransfer.subject.salient_region import find_salient_region

LEAST_PART = 0.1  # of all that stands out: what is smaller is no object of its own
GAP = 0.01  # of the long side
CLUSTERS = (2, 3)  # numbers of clusters of colour and position, about each of which a crop is looked at
WINDOW_SIDE_PX, CHECK_SIDE_PX = 192, 224
WINDOW_MARGIN, CHECK_MARGIN = 0.2, 0.16
LIGHTNESS_WEIGHT, POSITION_WEIGHT = 0.6, 180.0  # against Lab's a and b; of the region's diagonal
SAMPLES = 6000
LEAST_OBJECT, MOST_OBJECT = 0.15, 0.85  # of the region it is part of
MOST_CUT, MOST_CUT_BESIDE, MOST_AMBIGUOUS = 0.1, 0.06, 0.3  # the second where only colours tell things apart
SAME, APART = 0.7, 0.2  # overlap of one object seen twice; of two objects
INSIDE = 0.8
LEAST_SIDE, LEAST_BESIDE_NECK = 0.185, 0.24  # of the region: the smaller of two things, and of two that merely touch
NARROW = 0.62  # a contact over the root of the smaller area: two things touch
UNLIKE = 0.43  # intersection of colour histograms
OPENING, NECK = 0.0125, 0.02  # of the long side: what is thinner between two things is part of neither; is a bridge
SOLID = 0.93  # a part of its convex hull: one thing
CORNER = 0.62  # of a region's box: the crops about its corners
REST_COUNTS = 0.35  # for the main object, of what no crop has shown whole


def find_objects(picture: Picture) -> list[Region]:
    """The salient objects on the picture's small grid, the main one first; none in a landscape or on plain ground."""
    found = find_salient_region(picture.small)
    things = _things(found.region)
    if not things:
        return []
    main, *others = sorted(things, key=lambda each: -_prominence(each, found.values))
    ranked = _separated(picture, main) + [(part, 1.0) for other in others for part in _necks(other) or [other]]
    ranked.sort(key=lambda each: -each[1] * _prominence(each[0], found.values))
    return [part for part, _ in ranked]


def _things(region: Region) -> list[Region]:
    """The large connected parts of a region, over gaps as narrow as a thread."""
    closed = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_CLOSE, disc(round(GAP * max(region.shape)))) > 0
    return [part & region for part in connected_parts(closed, max(1.0, LEAST_PART * region.sum()))]


def _prominence(region: Region, values: Map) -> float:
    """Larger for what is large, clearly salient and near the middle."""
    half = np.array(region.shape[::-1]) / 2
    rows, columns = np.nonzero(region)
    offset = (np.array([columns.mean(), rows.mean()]) - half) / half
    return float(values[region].mean() ** 3 * region.sum() * np.exp(-(offset**2).sum()))


def separated(picture: Picture, region: Region) -> list[Region]:
    """The objects that a region of the small grid is made of; itself when it is one."""
    return [part for part, _ in _separated(picture, region)]


def _separated(picture: Picture, region: Region) -> list[tuple[Region, float]]:
    """The objects that a region is made of, with their weights; itself when it is one."""
    chosen = _necks(region)
    for windows in (_colour_windows, _corner_windows) if not chosen else ():
        if chosen or solidity(region) > SOLID:
            break
        chosen = _chosen(picture, region, windows(picture, region))
    if not chosen:
        return [(region, 1.0)]
    rest = _opened(region & ~np.any(chosen, axis=0))
    remains = [(part, REST_COUNTS) for part in connected_parts(rest, LEAST_OBJECT * region.sum())]
    return [(part, 1.0) for part in chosen] + remains


def _chosen(picture: Picture, region: Region, windows: list[Box]) -> list[Region]:
    """Parts that are whole in two of the windows, or in one and in a crop of their own, and are things apart."""
    seen = [each for window in windows for each in _whole_parts(picture, region, window, WINDOW_SIDE_PX)]
    agreed = [sum(overlap(part, other) > SAME for other, _ in seen) for part, _ in seen]
    chosen: list[Region] = []
    for times, (rough, cut) in sorted(zip(agreed, seen, strict=True), key=lambda each: -each[0]):
        part = divided(rough, region)
        apart = all((part & other).sum() < APART * min(part.sum(), other.sum()) for other in chosen)
        if apart and _is_own_thing(picture, part, region, cut) and (times > 1 or _seen_again(picture, part, region)):
            chosen.append(part)
    return chosen


def _necks(region: Region) -> list[Region]:
    """Things that touch by a thin bridge alone."""
    cores = connected_parts(_opened(region, NECK), LEAST_BESIDE_NECK * region.sum())
    if len(cores) < 2:
        return []
    away = np.stack([cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) for core in cores])
    return [region & (away.argmin(axis=0) == index) for index in range(len(cores))]


def _whole_parts(picture: Picture, region: Region, window: Box, side_px: int) -> list[tuple[Region, float]]:
    """Parts of the region that stand out in a crop by themselves, clearly, and how far the crop cuts them off."""
    values = picture.saliency_in(window, side_px)
    kept = []
    for part in connected_parts(hysteresis_threshold(values, 0.5, 0.7), LEAST_OBJECT * region.sum()):
        cut = cut_fraction(part, window)
        whole = cut < MOST_CUT and (part & region).sum() > INSIDE * part.sum()
        clear = ambiguity(np.where(dilate(part, 2), values, 0)) < MOST_AMBIGUOUS
        if whole and clear and part.sum() < MOST_OBJECT * region.sum():
            kept.append((part & region, cut))
    return kept


def _seen_again(picture: Picture, part: Region, region: Region) -> bool:
    """Whether a crop about the part shows the same part."""
    window = with_margin(bounding_box(part), CHECK_MARGIN, picture.size)
    return any(overlap(part, other) > SAME for other, _ in _whole_parts(picture, region, window, CHECK_SIDE_PX))


def _is_own_thing(picture: Picture, part: Region, region: Region, cut: float) -> bool:
    """Whether a part is a thing beside the rest of its region, not a head or a wing.

    Either both are large, alike and merely touch, or the part lies before the rest and has other colours.
    """
    rest = region & ~part
    if not rest.any():
        return False
    smaller = min(_largest_px(part), _largest_px(rest)) / region.sum()
    clear = smaller > LEAST_SIDE and cut < MOST_CUT_BESIDE
    if clear and relative_contact(part, rest) > NARROW:
        return colour_likeness(picture.small, part, rest) < UNLIKE
    return merely_touch(picture, part, rest)


def merely_touch(picture: Picture, one: Region, other: Region) -> bool:
    """Whether two regions side by side are two things of a kind: both large, of like colours, with a narrow contact."""
    if not one.any() or not other.any() or relative_contact(one, other) > NARROW:
        return False
    smaller = min(_largest_px(one), _largest_px(other)) / (one | other).sum()
    return bool(smaller > LEAST_BESIDE_NECK and colour_likeness(picture.small, one, other) > UNLIKE)


def relative_contact(one: Region, other: Region) -> float:
    """The length of the line along which two regions meet over the root of the smaller area."""
    return float((one & dilate(other, 1)).sum() / np.sqrt(max(min(one.sum(), other.sum()), 1)))


def _largest_px(region: Region) -> float:
    return float(connected_parts(region)[0].sum())


def colour_likeness(pixels: Pixels, one: Region, other: Region) -> float:
    """Intersection in [0,1] of the Lab histograms of two regions (Swain and Ballard, 1991)."""
    lab = cv2.cvtColor(cv2.GaussianBlur(pixels, (0, 0), 2), cv2.COLOR_RGB2Lab)
    bins, ranges = [6, 12, 12], [0, 256, 64, 192, 64, 192]
    shares = []
    for region in (one, other):
        counts = cv2.calcHist([lab], [0, 1, 2], region.astype(np.uint8), bins, ranges)
        shares.append(counts / max(counts.sum(), 1))
    return float(np.minimum(*shares).sum())


def divided(part: Region, region: Region) -> Region:
    """The part with what lies nearer to it than to the rest of the region, once thin rims are taken off the rest."""
    rest = _opened(region & ~part)
    if not rest.any():
        return region
    to_part, to_rest = (
        cv2.distanceTransform((~each).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) for each in (part, rest)
    )
    return region & (to_part <= to_rest)


def _opened(region: Region, radius: float = OPENING) -> Region:
    radius_px = max(3, round(radius * max(region.shape)))
    return cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_OPEN, disc(radius_px)) > 0


def _colour_windows(picture: Picture, region: Region) -> list[Box]:
    """Crops about clusters of the region's colours and positions, found by k-means."""
    rows, columns = (each[:: max(1, int(region.sum()) // SAMPLES)] for each in np.nonzero(region))
    lab = cv2.cvtColor(cv2.GaussianBlur(picture.small, (0, 0), 3), cv2.COLOR_RGB2Lab)[rows, columns]
    x0, y0, x1, y1 = bounding_box(region)
    places = np.stack([columns, rows], axis=1)
    scaled = places * (POSITION_WEIGHT / np.hypot(x1 - x0, y1 - y0))
    features = np.concatenate([lab * (LIGHTNESS_WEIGHT, 1, 1), scaled], axis=1).astype(np.float32)
    boxes = []
    for clusters in CLUSTERS:
        cv2.setRNGSeed(0)
        stop = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 20, 0.5)
        _, labels, _ = cv2.kmeans(features, clusters, None, stop, 2, cv2.KMEANS_PP_CENTERS)
        boxes += [_around(places[labels[:, 0] == label], region) for label in range(clusters)]
    return boxes


def _around(places: np.ndarray, region: Region) -> Box:
    """A box about most of some places (x, y), with a margin."""
    (left, top), (right, bottom) = np.percentile(places, (3, 97), axis=0)
    margin = WINDOW_MARGIN * max(right - left, bottom - top) + 6
    height, width = region.shape
    x0, y0 = max(0, int(left - margin)), max(0, int(top - margin))
    return x0, y0, min(width, int(right + margin)), min(height, int(bottom + margin))


def _corner_windows(picture: Picture, region: Region) -> list[Box]:
    """Crops about the four corners of the region's box."""
    x0, y0, x1, y1 = with_margin(bounding_box(region), 0.06, picture.size)
    across, down = round(CORNER * (x1 - x0)), round(CORNER * (y1 - y0))
    return [(x, y, x + across, y + down) for x in (x0, x1 - across) for y in (y0, y1 - down)]
