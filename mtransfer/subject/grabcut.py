"""GrabCut (Rother, Kolmogorov and Blake, SIGGRAPH 2004) on a picture at working size, and the seeds it starts from.

Pictures are uint8[h,w,3] RGB. A seed is uint8[h,w] of OpenCV's labels: GC_BGD, GC_FGD and their probable kinds.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from mtransfer.errors import InputError

WORK_SIDE_PX = 384  # GrabCut's cost grows with the area; edges are refined by resampling
ITERATIONS = 5
ROUGH_SHARE = 0.05  # of the long side: how far a rough mask may be off
BORDER_SHARE = 0.06  # the frame whose colours count as background
PALETTE = 8
SENSITIVITY = 0.75  # of Otsu's level
NEARLY_AS_GOOD = 0.2
SURE_CONTRAST = 26.0
FLAT_LEVELS = 1.0  # standard deviation of a picture with nothing to cut out, on which GrabCut takes long
CLEAR_CONTRAST = 12.0  # Lab units by which a subject must differ from the frame's colours


def cut_out(small: NDArray[np.uint8], seed: NDArray[np.uint8], keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask bool[h,w] that GrabCut finds from a seed, the parts that touch `keep` kept; empty where it fails."""
    nothing = np.zeros(seed.shape, bool)
    if small.std(axis=(0, 1)).max() < FLAT_LEVELS:
        return nothing
    cv2.setRNGSeed(0)  # GrabCut's mixtures start from a random clustering
    labels, models = seed.copy(), (np.zeros((1, 65)), np.zeros((1, 65)))
    try:
        cv2.grabCut(small, labels, None, *models, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # no pixel of subject, or none of background, to learn from
        return nothing
    return _clean((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), keep)


def automatic_seed(small: NDArray[np.uint8], flag: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """What differs in colour from the picture's frame and lies towards the middle, and what it encloses."""
    contrast = _contrast(small)
    level, _ = cv2.threshold(contrast, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    likely = (contrast > max(SENSITIVITY * level, CLEAR_CONTRAST)).astype(np.uint8)
    core = _central_parts(cv2.morphologyEx(likely, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    if not core.any():
        raise InputError(f"{flag} auto: no clear subject found; point at it with {flag} x,y or a box")
    hull = cv2.convexHull(cv2.findNonZero(core.astype(np.uint8)))
    reach = max(3, round(0.04 * max(small.shape)))
    around = cv2.fillConvexPoly(np.zeros_like(likely), hull, 1)
    around = cv2.dilate(around, np.ones((2 * reach + 1,) * 2)) > 0
    # Between and beside its clear parts a subject may differ less from the background.
    core |= (contrast > CLEAR_CONTRAST) & around
    seed = np.where(around, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
    seed[core] = cv2.GC_PR_FGD
    seed[core & (contrast > SURE_CONTRAST)] = cv2.GC_FGD
    return seed, core


def point_seed(small: NDArray[np.uint8], point: list[float]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Around the point what is alike in colour is likely subject; the picture's frame is background."""
    height, width = small.shape[:2]
    x, y = min(int(point[0]), width - 1), min(int(point[1]), height - 1)
    lab = cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), 1.0), cv2.COLOR_RGB2Lab).astype(np.float32)
    near = np.zeros((height, width), np.uint8)
    cv2.circle(near, (x, y), max(2, round(0.03 * max(height, width))), 1, -1)
    colour = lab[near > 0]
    distance = np.linalg.norm(lab[:, :, None] - colour[:: max(1, len(colour) // 24)][None, None], axis=-1).min(-1)
    grid_y, grid_x = np.mgrid[:height, :width]
    far = np.hypot(grid_x - x, grid_y - y) / (0.3 * max(height, width))
    seed = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    seed[distance + 25 * far < 30] = cv2.GC_PR_FGD
    seed[far > 1.5] = cv2.GC_BGD
    depth = max(1, round(0.01 * max(height, width)))
    seed[:depth] = seed[-depth:] = seed[:, :depth] = seed[:, -depth:] = cv2.GC_BGD
    seed[near > 0] = cv2.GC_FGD
    return seed, near > 0


def box_seed(small: NDArray[np.uint8], box: list[float]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Within the box x0,y0,x1,y1 all is likely subject, outside all is background."""
    x0, y0, x1, y1 = (round(n) for n in box)
    seed = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    seed[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = cv2.GC_PR_FGD
    return seed, seed == cv2.GC_PR_FGD


def mask_seed(rough: NDArray[np.bool_], sure: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """A rough mask is likely subject, `sure` of it (default: nothing) certainly, what is far from it background."""
    reach = max(3, round(ROUGH_SHARE * max(rough.shape)))
    seed = np.full(rough.shape, cv2.GC_BGD, np.uint8)
    seed[cv2.dilate(rough.astype(np.uint8), np.ones((2 * reach + 1,) * 2)) > 0] = cv2.GC_PR_BGD
    seed[rough] = cv2.GC_PR_FGD
    if sure is not None:
        seed[rough & sure] = cv2.GC_FGD
    return seed


def _clean(found: NDArray[np.bool_], keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Only the parts that touch `keep`, specks removed and pinholes closed."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    opened = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    count, labels = cv2.connectedComponents(opened)
    wanted = [label for label in range(1, count) if (keep & (labels == label)).any()]
    solid = np.isin(labels, wanted).astype(np.uint8)
    _, holes = cv2.connectedComponents(1 - solid)
    border = np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))
    areas = np.bincount(holes.ravel())
    small = [label for label in range(1, len(areas)) if label not in border and areas[label] < 0.02 * solid.sum()]
    return (solid > 0) | np.isin(holes, small)


def _central_parts(likely: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The best of the connected parts by area and nearness to the middle, and those nearly as good."""
    count, labels, stats, centres = cv2.connectedComponentsWithStats(likely)
    half = np.array(likely.shape[::-1]) / 2
    offset = np.linalg.norm((centres - half) / half, axis=1)
    score = stats[:, cv2.CC_STAT_AREA] * np.exp(-2 * offset**2)
    score[0] = 0
    kept = [label for label in range(1, count) if score[label] > NEARLY_AS_GOOD * score.max()]
    return np.isin(labels, kept)


def _contrast(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Distance in Lab to the nearest of the frame's main colours, weighed down towards the frame."""
    lab = cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), 1.5), cv2.COLOR_RGB2Lab).astype(np.float32)
    height, width = small.shape[:2]
    depth = max(2, round(BORDER_SHARE * min(height, width)))
    frame = np.ones((height, width), bool)
    frame[depth:-depth, depth:-depth] = False
    cv2.setRNGSeed(0)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 1.0)
    _, _, palette = cv2.kmeans(lab[frame], PALETTE, None, criteria, 2, cv2.KMEANS_PP_CENTERS)
    distance = np.linalg.norm(lab[:, :, None] - palette[None, None], axis=-1).min(-1)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.clip(distance * np.exp(-0.7 * (x**2 + y**2)), 0, 255).astype(np.uint8)
