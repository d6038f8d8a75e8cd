"""Where the outline of a mask runs along edges of its photo, and where the photo shows none there."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from mtransfer.media.quantize import to_uint8

OUTLINE_PX = 512  # long side at which the outline is looked at
NEAR_PX, BESIDE_PX = 3, 9  # beside the outline, where colours are compared; beside that, for the texture's own contrast
PLAIN, TEXTURED = 14.0, 1.2  # levels of 255, and times the texture's contrast: a smaller step is no edge
SMOOTHED, MOST_POINTS = 15, 16384  # points of the outline: over which it is smoothed; OpenCV remaps 32767 in a row
LEAST_RUN = 0.06  # of the outline, without an edge: enough to be no chance


@dataclass(frozen=True, eq=False)
class OutlineEdges:
    """Points (x, y) along a mask's outline on a small grid, the outward directions there, and whether there is no edge
    in the photo."""

    points: Float[ndarray, "N 2"]
    normals: Float[ndarray, "N 2"]
    plain: Bool[ndarray, "N"]
    size: tuple[int, int]

    @property
    def at_border(self) -> Bool[ndarray, "N"]:
        """Where it is the photo's border."""
        return ~_is_inner(self.points, self.size)

    def has_open_run(self, values: Bool[ndarray, "N"]) -> bool:
        """Whether values are true for long enough a run of the outline."""
        return _longest_run(values) > LEAST_RUN * len(self.points)

    def goes_on_in(self, whole: Float[Tensor, "1 H W"]) -> Bool[ndarray, "N"]:
        """Where an object lies on the outer side, too."""
        small = cv2.resize(whole[0].float().cpu().numpy(), self.size[::-1], interpolation=cv2.INTER_AREA)
        return _at(small, self.points + BESIDE_PX * self.normals) > 0.5


def outline_edges(image: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 H W"]) -> OutlineEdges | None:
    """The outline of a mask's largest part; None where the mask is empty."""
    scale = min(1.0, OUTLINE_PX / max(mask.shape[-2:]))
    size = max(1, round(mask.shape[-2] * scale)), max(1, round(mask.shape[-1] * scale))
    small = cv2.resize(to_uint8(image), size[::-1], interpolation=cv2.INTER_AREA)
    soft = cv2.resize(mask[0].float().cpu().numpy(), size[::-1], interpolation=cv2.INTER_AREA)
    contours, _ = cv2.findContours((soft > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    points = max(contours, key=len)[:, 0].astype(np.float32)
    points = points[:: 1 + len(points) // MOST_POINTS]
    blurred = cv2.GaussianBlur(soft, (0, 0), NEAR_PX)
    slope = np.stack([cv2.Sobel(blurred, cv2.CV_32F, 1, 0), cv2.Sobel(blurred, cv2.CV_32F, 0, 1)], axis=-1)
    normals = -_at(slope, points)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    return OutlineEdges(points, normals, _is_plain(small, points, normals), size)


def _is_plain(pixels: ndarray, points: ndarray, normals: ndarray) -> Bool[ndarray, "N"]:
    """Whether colours on both sides of an outline are alike at each point; never at the photo's border."""
    colours = cv2.GaussianBlur(pixels, (0, 0), 1).astype(np.float32)

    def step(one_px: float, other_px: float) -> ndarray:
        values = np.abs(_at(colours, points + one_px * normals) - _at(colours, points + other_px * normals)).max(axis=1)
        return np.convolve(np.pad(values, SMOOTHED // 2, mode="wrap"), np.full(SMOOTHED, 1 / SMOOTHED), mode="valid")

    across = step(NEAR_PX, -NEAR_PX)
    texture = np.maximum(step(BESIDE_PX, NEAR_PX), step(-NEAR_PX, -BESIDE_PX))
    return np.asarray(_is_inner(points, pixels.shape[:2]) & (across < np.maximum(PLAIN, TEXTURED * texture)))


def _is_inner(points: ndarray, size: tuple[int, ...]) -> Bool[ndarray, "N"]:
    last = np.array(size[::-1]) - 1
    return np.asarray(((points > BESIDE_PX) & (points < last - BESIDE_PX)).all(axis=1))


def _at(values: ndarray, points: ndarray) -> ndarray:
    """Values [h,w] or [h,w,C] at N points (x, y)."""
    places = points[None].astype(np.float32)
    return np.asarray(cv2.remap(values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))[0]


def _longest_run(values: Bool[ndarray, "N"]) -> int:
    """Of true values, in a closed row of them."""
    breaks = np.flatnonzero(~values)
    if not len(breaks):
        return len(values)
    return int(np.diff(np.append(breaks, breaks[0] + len(values))).max()) - 1
