"""GIFs: frames float32[3,H,W] in [0,1] as an animation of one palette, at their own small size."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mtransfer.media.quantize import to_uint8

GIF_SIDE_PX = 480  # larger ones are too heavy to share
GIF_SHORTEST_MS = 20  # what lasts less is shown for 100 ms by browsers
ROUNDING_CS = 1e-6
COLOURS, DITHER_LEVELS = 256, 5  # of a GIF; how far, of 255, its ordered dither moves a colour
PALETTE_FRAMES, PALETTE_SIDE_PX = 12, 160  # the palette is made of so many frames, at most so large

Frame = Float[Tensor, "3 _ _"]  # sizes may differ between the films of one call


def write_gif(frames: Iterable[Frame], path: Path, shown_s: Sequence[float], comment: str = "") -> None:
    """Write an endlessly repeating GIF with one palette, at most GIF_SIDE_PX large, `shown_s` seconds for each frame.

    The dither is ordered, so that what stands still in the frames stands still in the GIF. Browsers show 50 frames a
    second at most: of a faster film as many are taken as keep its pace.
    """
    durations_ms = _durations_ms(shown_s)
    chosen = (frame for frame, duration_ms in zip(frames, durations_ms, strict=True) if duration_ms)
    pictures = [to_uint8(fitted(frame, GIF_SIDE_PX)) for frame in chosen]
    palette = _palette(pictures)
    indexed = [_indexed(picture, palette) for picture in pictures]
    indexed[0].save(
        path,
        save_all=True,
        append_images=indexed[1:],
        duration=[duration_ms for duration_ms in durations_ms if duration_ms],
        loop=0,
        comment=comment.encode(),
        optimize=False,
        disposal=1,
    )


def fitted(frame: Frame, long_side: int) -> Frame:
    """A frame that is larger shrunk to this long side, in pixels."""
    scale = long_side / max(frame.shape[-2:])
    if scale >= 1:
        return frame
    size = [max(1, round(side * scale)) for side in frame.shape[-2:]]
    return F.interpolate(frame[None], size, mode="area")[0]


def _palette(pictures: Sequence[NDArray[np.uint8]]) -> Image.Image:
    chosen = [pictures[index] for index in spread(len(pictures), PALETTE_FRAMES)]
    every = max(1, max(chosen[0].shape) // PALETTE_SIDE_PX)
    mosaic = Image.fromarray(np.ascontiguousarray(np.hstack(chosen)[::every, ::every]))
    return mosaic.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, kmeans=2)


def _indexed(picture: NDArray[np.uint8], palette: Image.Image) -> Image.Image:
    height, width = picture.shape[:2]
    pattern = np.tile(_bayer(3), (height // 8 + 1, width // 8 + 1))[:height, :width, None]
    shifted = np.clip(picture + DITHER_LEVELS * pattern, 0, 255).round().astype(np.uint8)
    return Image.fromarray(shifted).quantize(palette=palette, dither=Image.Dither.NONE)


def _bayer(order: int) -> NDArray[np.float64]:
    """The thresholds of ordered dithering, of mean 0 in (-0.5, 0.5), on a square of 2^order pixels (Bayer, 1973)."""
    ranks = np.zeros((1, 1))
    for _ in range(order):
        ranks = np.block([[4 * ranks, 4 * ranks + 2], [4 * ranks + 3, 4 * ranks + 1]])
    return (ranks + 0.5) / ranks.size - 0.5


def _durations_ms(shown_s: Sequence[float]) -> list[int]:
    """How long each frame is shown: whole hundredths of a second that keep the pace; 0 for one that is left out.

    Left out is what would have to be shown more than half the shortest time too late.
    """
    shortest_cs = GIF_SHORTEST_MS // 10
    *starts_cs, end_cs = (100 * time_s for time_s in itertools.accumulate(shown_s, initial=0.0))
    chosen = {0: 0}  # the hundredth at which each frame that is taken appears
    newest_cs = 0
    for place, start_cs in enumerate(starts_cs[1:], start=1):
        appears_cs = max(round(start_cs), newest_cs + shortest_cs)
        if appears_cs - start_cs <= shortest_cs / 2 + ROUNDING_CS:
            chosen[place] = newest_cs = appears_cs
    ends_cs = [*list(chosen.values())[1:], max(round(end_cs), newest_cs + shortest_cs)]
    found = [0] * len(starts_cs)
    for (place, appears_cs), following_cs in zip(chosen.items(), ends_cs, strict=True):
        found[place] = 10 * (following_cs - appears_cs)
    return found


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` places, evenly spread from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()
