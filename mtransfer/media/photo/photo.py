"""Photos: any still picture, upright, opened once: its own pixels, and what they look like as a float tensor."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from mtransfer.media.photo.alpha import WHITE, matte_for, over
from mtransfer.media.photo.image_file import read_image_file
from mtransfer.media.photo.png import Pixels, write_png

GREY_WEIGHTS = (0.299, 0.587, 0.114)  # Rec. 601, as Pillow and OpenCV make grey
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True, eq=False)
class Photo:
    """A still picture, upright, at its own size.

    pixels: uint8 or uint16 [H,W,C], the file's own, C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and straight alpha.
    image: float32[3,H,W] in [0,1], RGB as it is seen, over `matte`, a grey in [0,1], where it is not opaque. alpha:
    float32[1,H,W] in [0,1], None where every pixel is opaque. icc_profile: the colour profile to save with results, if
    the file has one. sha256: of the file.
    """

    pixels: Pixels
    image: Float32[Tensor, "3 H W"]
    alpha: Float32[Tensor, "1 H W"] | None
    matte: float
    icc_profile: bytes | None
    sha256: str
    path: Path

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.image.shape[1], self.image.shape[2]

    @property
    def mode(self) -> str:
        """What a pixel is: L (grey), LA, RGB or RGBA."""
        return MODES[self.pixels.shape[2]]

    @property
    def depth(self) -> int:
        """Bits a channel: 8 or 16."""
        return 8 * self.pixels.dtype.itemsize

    @property
    def colours(self) -> Float32[Tensor, "3 H W"]:
        """The RGB that is stored, in [0,1], also where alpha is 0."""
        return self.image if self.alpha is None else _colours(from_levels(self.pixels))

    def redrawn(self, colours: Float[Tensor, "3 H W"], alpha: Float[Tensor, "1 H W"] | None) -> Self:
        """A picture with other straight colours and alpha in [0,1], in the mode and depth of this one."""
        pixels = self.levels(colours, alpha)
        seen = over(colours, alpha, self.matte)
        return replace(self, pixels=pixels, image=seen, alpha=alpha)

    def levels(self, colours: Float[Tensor, "3 H W"], alpha: Float[Tensor, "1 H W"] | None) -> Pixels:
        """Straight colours and alpha in [0,1] as this photo would have them: uint8 or uint16 [H,W,C]."""
        channels = self.pixels.shape[2]
        parts = [colours if channels > 2 else _grey(colours)]
        if channels % 2 == 0:
            parts.append(torch.ones_like(colours[:1]) if alpha is None else alpha.to(colours))
        return to_levels(torch.cat(parts), self.depth)


def read_photo(path: str | os.PathLike[str], matte: float | None = None) -> Photo:
    """Read a picture of 8 or 16 bits, grey, palette, RGB or CMYK, with or without alpha; turn it upright by its EXIF.

    Of an animation or a file of many pages the first is read. Transparent pictures are seen over `matte`, by default
    what is behind them best. Raises InputError when the file is missing, no picture, cut short, above 150 megapixels,
    or of levels without a fixed range.
    """
    file = read_image_file(Path(path))
    channels = from_levels(file.pixels)
    colours, alpha = _colours(channels), channels[-1:] if len(channels) in (2, 4) else None
    if alpha is not None and bool(alpha.min() == 1):
        alpha = None
    if matte is None:
        matte = WHITE if alpha is None else matte_for(colours, alpha)
    return Photo(file.pixels, over(colours, alpha, matte), alpha, matte, file.icc_profile, file.sha256, Path(path))


def _colours(channels: Tensor) -> Tensor:
    return channels[:3].contiguous() if len(channels) > 2 else channels[:1].repeat(3, 1, 1)


def _grey(colours: Tensor) -> Tensor:
    weights = colours.new_tensor(GREY_WEIGHTS).view(3, 1, 1)
    return (weights * colours).sum(dim=0, keepdim=True)


def to_levels(image: Float[Tensor, "C H W"], depth: int = 8) -> Pixels:
    """A picture in [0,1] as uint8 or uint16 [H,W,C], to the nearest level."""
    kind, most = (np.uint8, 255) if depth == 8 else (np.uint16, 65535)
    levels = (most * image.detach().clamp(0, 1)).round().permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(levels.astype(kind))


def from_levels(pixels: Pixels) -> Float32[Tensor, "C H W"]:
    """uint8 or uint16 [H,W,C] as a picture in [0,1]."""
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1).contiguous() / np.iinfo(pixels.dtype).max


def save_png(
    image: Float[Tensor, "C H W"], path: Path, icc_profile: bytes | None = None, recipe: str = "", depth: int = 8
) -> None:
    """Write an image in [0,1] as a PNG of 8 or 16 bits that carries its recipe; channels as in Photo.pixels."""
    write_png(to_levels(image, depth), path, icc_profile, recipe)
