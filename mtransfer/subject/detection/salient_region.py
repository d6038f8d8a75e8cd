"""The part of a photograph that stands out, by the agreement of views of it at several sizes."""

from dataclasses import dataclass

import cv2
import numpy as np

from mtransfer.interruption import checkpoint
from mtransfer.subject.detection.saliency import Map, Pixels, Saliency, saliency
from mtransfer.subject.regions import (
    Region,
    bounding_box,
    connected_parts,
    dilate,
    erode,
    fill_holes,
    solidity,
)

# A large view has the outline; small ones see as one an object that fills the picture or differs little from what is
# behind it. The second is mirrored and its contrast equalised.
OUTLINE_SIDE_PX, EQUALISED_SIDE_PX, WHOLE_SIDE_PX = 320, 192, 160
SHARPNESS = 6  # of the preference for views that are sure of what they see
CLEAR_PEAK = 0.8
LEAST_WEIGHT = 1e-3
FULL, FULL_EDGE = 0.92, 0.6  # of the picture, and of each of its edges: all there is, and no object
AGREEMENT = 0.3  # mean saliency of the surest view's region in another view
GRABCUT_ITERATIONS = 3
HOLE_FRACTION = 0.02
CONTRAST_LIMIT = 4.0  # of CLAHE
NEARLY_AS_SURE, SURE_OF_ONE = 0.6, 0.9
FAIRLY_SURE = 0.38  # ambiguity of the fine view, below which it is believed against coarse ones
BLOB_BLUR, BLOB_LEVEL, BLOB_CONTRAST = 0.015, 0.3, 5.0
BLOB_AREA, BLOB_SOLIDITY = (0.005, 0.4), 0.6


@dataclass(frozen=True, eq=False)
class SalientRegion:
    """What stands out: saliency float32[H,W] in [0,1], and the region bool[H,W] cut from it, perhaps empty."""

    values: Map
    region: Region


def find_salient_region(pixels: Pixels) -> SalientRegion:
    """What stands out in a picture uint8[H,W,3]; the region is empty for landscapes, textures and plain ground."""
    mirrored = saliency(np.ascontiguousarray(_equalised(pixels)[:, ::-1]), EQUALISED_SIDE_PX)
    equalised = Saliency(np.ascontiguousarray(mirrored.values[:, ::-1]), mirrored.peak)
    views = [saliency(pixels, OUTLINE_SIDE_PX), equalised, saliency(pixels, WHOLE_SIDE_PX)]
    weights = np.array([_weight(view) for view in views])
    if _is_inner_object(views, weights):
        weights[1:] = 0
    elif not _agree(views, weights):
        return _single_blob(pixels, views)
    values = np.tensordot(weights / weights.sum(), np.stack([view.values for view in views]), 1)
    # What one of the surest views sees clearly is part of the object, such as a dark wing before a dark wall.
    surest = [
        view.values for view, weight in zip(views, weights, strict=True) if weight > NEARLY_AS_SURE * weights.max()
    ]
    values = np.maximum(values, SURE_OF_ONE * np.max(surest, axis=0)).astype(np.float32)
    return SalientRegion(values, fill_holes(values > 0.5, HOLE_FRACTION))


def _is_inner_object(views: list[Saliency], weights: np.ndarray) -> bool:
    """Whether coarse views show what fills the picture, and the fine one clearly a thing in it: a fruit on a plate."""
    fine, coarse = views[0].values > 0.5, views[int(weights.argmax())].values > 0.5
    edges = sum(float(edge.mean()) > 0.1 for edge in (coarse[0], coarse[-1], coarse[:, 0], coarse[:, -1]))
    return views[0].ambiguity < FAIRLY_SURE and bool(0 < fine.sum() < 0.5 * coarse.sum()) and edges > 2


def _single_blob(pixels: Pixels, views: list[Saliency]) -> SalientRegion:
    """One compact thing inside the picture of which no view is sure; an empty region where there is none."""
    blur_px = BLOB_BLUR * max(pixels.shape[:2])
    smooth = [cv2.GaussianBlur(view.values, (0, 0), blur_px) for view in views if view.peak > CLEAR_PEAK]
    blobs = [(values, part) for values in smooth for part in connected_parts(values > BLOB_LEVEL)[:1]]
    blobs = [(values, part) for values, part in blobs if _is_compact(values, part)]
    if not blobs:
        return SalientRegion(views[0].values, np.zeros(pixels.shape[:2], bool))
    values, part = max(blobs, key=lambda each: float(each[0][each[1]].sum()))
    labels = np.select([erode(part, 3), dilate(part, 12)], [cv2.GC_PR_FGD, cv2.GC_PR_BGD], cv2.GC_BGD)
    found = grab_cut(pixels, labels.astype(np.uint8), GRABCUT_ITERATIONS)
    return SalientRegion(values, fill_holes(found, HOLE_FRACTION))


def _is_compact(values: Map, part: Region) -> bool:
    x0, y0, x1, y1 = bounding_box(part)
    inside = x0 > 0 and y0 > 0 and x1 < part.shape[1] and y1 < part.shape[0]
    if not inside or not BLOB_AREA[0] < part.mean() < BLOB_AREA[1] or solidity(part) < BLOB_SOLIDITY:
        return False
    return float(values[part].mean()) > BLOB_CONTRAST * float(values[~part].mean())


def _weight(view: Saliency) -> float:
    values = view.values
    edges = (values[0], values[-1], values[:, 0], values[:, -1])
    if min(float(edge.mean()) for edge in edges) > FULL_EDGE or float((values > 0.5).mean()) > FULL:
        return 0.0
    return float((1 - view.ambiguity) ** SHARPNESS * min(1.0, view.peak / CLEAR_PEAK) ** 2)


def _agree(views: list[Saliency], weights: np.ndarray) -> bool:
    surest = int(weights.argmax())
    region = views[surest].values > 0.5
    if weights[surest] < LEAST_WEIGHT or not region.any():
        return False
    others = [view for index, view in enumerate(views) if index != surest]
    return max(float(view.values[region].mean()) for view in others) > AGREEMENT


def _equalised(pixels: Pixels) -> Pixels:
    """With the lightness's contrast equalised (CLAHE): a white animal on white, a dark dress in a dark room."""
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2Lab)
    lab[..., 0] = cv2.createCLAHE(CONTRAST_LIMIT, (4, 4)).apply(lab[..., 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB))


def grab_cut(pixels: Pixels, labels: np.ndarray, iterations: int) -> Region:
    """The foreground by colours from GrabCut's labels uint8[H,W]; what is labelled foreground where colours fail."""
    cv2.setRNGSeed(0)  # its mixtures start from a random clustering
    settled = labels.copy()
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        checkpoint()
        cv2.grabCut(pixels, settled, None, *models, iterations, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # no pixel of subject, or none of background, to learn from
        settled = labels
    return (settled == cv2.GC_FGD) | (settled == cv2.GC_PR_FGD)
