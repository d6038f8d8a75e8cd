"""Pictures as 8-bit pixels and back: float [C,H,W] in [0,1], uint8 [H,W,C]."""

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray
from torch import Tensor


def to_uint8(image: Float[Tensor, "C H W"]) -> UInt8[ndarray, "H W C"]:
    """A picture's pixels, rounded; what lies outside [0,1] is clipped."""
    levels = image.detach().mul(255).round_().clamp_(0, 255).byte()
    return np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy())


def from_uint8(pixels: UInt8[ndarray, "H W C"]) -> Float32[Tensor, "C H W"]:
    """The picture that pixels show."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).contiguous().float().div_(255)


def quantize_uint8(image: Tensor) -> Tensor:
    """A picture of any shape as it is once stored in 8 bits, still float in [0,1]."""
    return (255 * image.clamp(0, 1)).round() / 255
