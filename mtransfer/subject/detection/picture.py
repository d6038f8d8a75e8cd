"""A photograph at the sizes at which objects are looked for in it, and the saliency of its crops."""

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8
from numpy import ndarray

from mtransfer.subject.detection.mobile_sam import Embedding, embed
from mtransfer.subject.detection.saliency import Map, Pixels, saliency
from mtransfer.subject.detection.salient_region import SalientRegion, find_salient_region
from mtransfer.subject.regions import Box

CLEAR_PEAK = 0.5
SMALL_PX, LARGE_PX = 512, 1600  # long sides: of the grid on which regions are found, and of what crops are cut from


@dataclass(frozen=True, eq=False)
class Picture:
    """uint8[H,W,3] RGB `pixels`, with smaller copies; regions and boxes are on the grid of the `small` one."""

    pixels: Pixels = field(repr=False)

    @cached_property
    def small(self) -> Pixels:
        """The picture with a long side of at most 512 pixels."""
        return _shrunk(self.large, SMALL_PX)

    @cached_property
    def large(self) -> Pixels:
        """The picture with a long side of at most 1600 pixels."""
        return _shrunk(self.pixels, LARGE_PX)

    @cached_property
    def embedding(self) -> Embedding:
        """The small copy as MobileSAM sees it."""
        return embed(self.small)

    @cached_property
    def salient(self) -> SalientRegion:
        """What stands out in the small copy."""
        return find_salient_region(self.small)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the small copy."""
        return self.small.shape[0], self.small.shape[1]

    def on_small_grid(self, mask: Float32[ndarray, "H W"]) -> Bool[ndarray, "h w"]:
        """A mask float32[H,W] of the full picture as a region of the small grid."""
        return cv2.resize(mask, self.size[::-1], interpolation=cv2.INTER_AREA) > 0.5

    def on_full_grid(self, region: Bool[ndarray, "h w"]) -> Float32[ndarray, "H W"]:
        """A region of the small grid as a mask float32[H,W] of the full picture, binary."""
        full = cv2.resize(region.astype(np.float32), self.pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return (full > 0.5).astype(np.float32)

    def crop(self, box: Box) -> Pixels:
        """The large copy's part in a box of the small one's grid."""
        (x0, x1), (y0, y1) = _scaled(box, self.large.shape[0] / self.size[0], self.large.shape[1] / self.size[1])
        return np.ascontiguousarray(self.large[y0:y1, x0:x1])

    def saliency_in(self, box: Box, side_px: int) -> Map:
        """Saliency float32[H,W] on the small grid of what is seen in a crop alone; 0 outside it."""
        x0, y0, x1, y1 = box
        values = np.zeros(self.size, np.float32)
        seen = saliency(self.crop(box), side_px)
        sure = seen.values * min(1.0, seen.peak / CLEAR_PEAK)  # on plain ground the net sees next to nothing
        values[y0:y1, x0:x1] = cv2.resize(sure, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
        return values


def _shrunk(pixels: Pixels, long_side_px: int) -> UInt8[ndarray, "h w 3"]:
    height, width = pixels.shape[:2]
    scale = long_side_px / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def _scaled(box: Box, down: float, across: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """Columns and rows of a box on a grid `across` and `down` times as fine, one pixel at the least."""
    x0, y0, x1, y1 = round(box[0] * across), round(box[1] * down), round(box[2] * across), round(box[3] * down)
    return (x0, max(x1, x0 + 1)), (y0, max(y1, y0 + 1))
