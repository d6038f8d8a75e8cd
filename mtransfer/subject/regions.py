"""Binary regions bool[H,W] of a picture: connected parts, holes, bounding boxes, overlap, and what a crop cuts off."""

import cv2
import numpy as np
from jaxtyping import Bool, Float32
from numpy import ndarray

Region = Bool[ndarray, "H W"]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels, without column x1 and row y1


def connected_parts(region: Region, least_px: float = 1) -> list[Region]:
    """The connected parts of at least `least_px` pixels, the largest first."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA]
    kept = [label for label in range(1, count) if areas[label] >= least_px]
    return [labels == label for label in sorted(kept, key=lambda label: -int(areas[label]))]


def hysteresis_threshold(values: Float32[ndarray, "H W"], low: float, high: float) -> Region:
    """The connected parts above `low` that rise above `high` somewhere (Canny, 1986)."""
    _, labels = cv2.connectedComponents((values > low).astype(np.uint8))
    reached = np.unique(labels[values > high])
    return np.isin(labels, reached[reached > 0])


def fill_holes(region: Region, largest: float) -> Region:
    """The region without its holes of less than `largest` of its area."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~region).astype(np.uint8))
    height, width = region.shape
    filled = region.copy()
    for label in range(1, count):
        x, y, w, h, area = stats[label]
        inside = x > 0 and y > 0 and x + w < width and y + h < height
        if inside and area < largest * region.sum():
            filled |= labels == label
    return filled


def dilate(region: Region, radius_px: int) -> Region:
    """The region grown by a disc."""
    return cv2.dilate(region.astype(np.uint8), disc(radius_px)) > 0


def erode(region: Region, radius_px: int) -> Region:
    """The region shrunk by a disc; the picture's border is no edge of it."""
    return cv2.erode(region.astype(np.uint8), disc(radius_px)) > 0


def opened(region: Region, radius_px: int) -> Region:
    """The region without what is thinner than a disc (morphological opening)."""
    return cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_OPEN, disc(radius_px)) > 0


def disc(radius_px: int) -> ndarray:
    """A round structuring element."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1,) * 2)


def bounding_box(region: Region) -> Box:
    """The smallest box that holds the region."""
    x, y, width, height = cv2.boundingRect(region.astype(np.uint8))
    return x, y, x + width, y + height


def with_margin(box: Box, fraction: float, size: tuple[int, int]) -> Box:
    """The box with `fraction` of its own sides added on each, inside a picture of `size` = (H, W)."""
    x0, y0, x1, y1 = box
    across, down = (max(4, round(fraction * side)) for side in (x1 - x0, y1 - y0))
    return max(0, x0 - across), max(0, y0 - down), min(size[1], x1 + across), min(size[0], y1 + down)


def cut_fraction(region: Region, box: Box) -> float:
    """The fraction of the region's outline that lies on edges of a crop `box` which are not the picture's own."""
    x0, y0, x1, y1 = box
    height, width = region.shape
    sides = (
        (x0 > 0, region[y0:y1, x0]),
        (x1 < width, region[y0:y1, x1 - 1]),
        (y0 > 0, region[y0, x0:x1]),
        (y1 < height, region[y1 - 1, x0:x1]),
    )
    outlines, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    length = sum(len(outline) for outline in outlines)
    return float(sum(int(side.sum()) for inner, side in sides if inner) / max(length, 1))


def overlap(one: Region, other: Region) -> float:
    """Intersection over union in [0,1]."""
    return float((one & other).sum() / max((one | other).sum(), 1))


def common_px(one: Region, other: Region) -> int:
    """The number of pixels that are of both."""
    return int((one & other).sum())


def convex_hull(region: Region) -> Region:
    """The convex hull of a region that is not empty, filled."""
    corners = cv2.convexHull(cv2.findNonZero(region.astype(np.uint8)))
    return cv2.fillConvexPoly(np.zeros(region.shape, np.uint8), corners, 1) > 0


def solidity(region: Region) -> float:
    """The area of a region that is not empty over that of its convex hull."""
    return float(region.sum() / convex_hull(region).sum())


def compactness(region: Region) -> float:
    """The area of the largest disc within a region that is not empty over the region's own: 1 for a disc."""
    depth_px = cv2.distanceTransform(np.pad(region.astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max()
    return float(np.pi * depth_px**2 / region.sum())


def deepest_point(region: Region) -> tuple[float, float]:
    """The point (x, y) of the region that is farthest from its outline and the picture's border."""
    inside = np.pad(region.astype(np.uint8), 1)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(column), float(row)
