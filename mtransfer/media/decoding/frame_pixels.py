"""A decoded frame of libav as an RGB picture: its colour matrix, range, depth, transparency and dynamic range."""

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from mtransfer.media.decoding.hdr import Transfer, to_sdr

TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}  # ITU-T H.273
WHITE = 255


class PixelConverter:
    """Converts the frames of one stream to uint8[H,W,3] of one size, keeping libav's scaler from frame to frame.

    What is transparent is shown on white. HLG and PQ come as sRGB.
    """

    def __init__(self, size: tuple[int, int], transfer: int) -> None:
        self.size, self.transfer = size, TRANSFERS.get(transfer)
        self._scaler = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """The picture; of `size` (H, W) where that is asked and conversion is slow enough for it to matter (HDR)."""
        if self.transfer:
            return to_sdr(self._pixels(frame, "rgb48le", size or self.size).view(np.uint16), self.transfer)
        if not _may_be_transparent(frame):
            return self._pixels(frame, "rgb24", self.size)
        layers = self._pixels(frame, "rgba", self.size)
        opacity = layers[..., 3:].astype(np.uint16)
        return ((layers[..., :3] * opacity + WHITE * (255 - opacity) + 127) // 255).astype(np.uint8)

    def _pixels(self, frame: av.VideoFrame, layout: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """uint8[H,W,bytes of a pixel]"""
        height, width = size
        shrinks = height < frame.height or width < frame.width
        converted = self._scaler.reformat(
            frame,
            width,
            height,
            layout,
            src_colorspace=frame.colorspace,
            src_color_range=frame.color_range,
            interpolation=Interpolation.AREA if shrinks else Interpolation.BILINEAR,
            threads=1,
        )
        plane = converted.planes[0]
        per_pixel = converted.format.padded_bits_per_pixel // 8
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height, : width * per_pixel]
        return np.ascontiguousarray(rows).reshape(height, width, per_pixel)


def _may_be_transparent(frame: av.VideoFrame) -> bool:
    return frame.format.has_palette or any(part.is_alpha for part in frame.format.components)
