"""Alpha: pixels that are only partly there. Straight: the colour stands for itself; premultiplied: times its alpha."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

WHITE, BLACK = 1.0, 0.0


def straight_from_premultiplied(pixels: NDArray[Any]) -> NDArray[Any]:
    """uint8 or uint16 [H,W,C], alpha last, with the colours divided by it; 0 where alpha is 0."""
    most = np.iinfo(pixels.dtype).max
    colours, alpha = pixels[..., :-1].astype(np.uint32), pixels[..., -1:].astype(np.uint32)
    divided = np.minimum((colours * most + alpha // 2) // np.maximum(alpha, 1), most) * (alpha > 0)
    return np.concatenate([divided.astype(pixels.dtype), pixels[..., -1:]], axis=-1)


def matte_for(image: Float[Tensor, "3 H W"], alpha: Float[Tensor, "1 H W"]) -> float:
    """Behind dark pictures white, behind light ones black: what to see the transparent ones over, in [0,1]."""
    lightness = float((image * alpha).sum() / (3 * alpha.sum()).clamp_min(1e-6))
    return WHITE if lightness < 0.5 else BLACK


def over(
    image: Float[Tensor, "*B 3 H W"], alpha: Float[Tensor, "*B 1 H W"] | None, matte: float
) -> Float[Tensor, "*B 3 H W"]:
    """A straight picture in [0,1] over a grey of one level; the picture itself where there is no alpha."""
    return image if alpha is None else image * alpha + (1 - alpha) * matte


def lifted(
    seen: Float[Tensor, "*B 3 H W"],
    alpha: Float[Tensor, "*B 1 H W"],
    matte: float,
    hidden: Float[Tensor, "*B 3 H W"],
) -> Float[Tensor, "*B 3 H W"]:
    """Straight colours of a picture seen over a matte, in [0,1]; where nothing shows of them, the `hidden` ones."""
    shows = alpha > 0.5 / np.iinfo(np.uint16).max
    colours = ((seen - (1 - alpha) * matte) / alpha.clamp_min(1e-6)).clamp(0, 1)
    return torch.where(shows, colours, hidden)
