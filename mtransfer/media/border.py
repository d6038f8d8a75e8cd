"""Subjects that the photo's border cuts off: what was outside is not known, and is mirrored where they move inwards."""

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Sides = tuple[int, int, int, int]  # left, right, top, bottom, in pixels

MOST_EXTENDED = 0.25  # of the photo's width or height
UNNOTICED = 0.08  # of them: what is mirrored without a word
SPARE_PX = 4  # beyond what comes into sight: soft edges and bicubic sampling look there


def inward_px(flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 1 H W"]) -> Sides:
    """How far what the left, right, top and bottom border cut off moves away from each, in pixels; 0 for nothing."""
    x, y = (flow * (mask > 0.5))[0]
    inward = x[:, 0].max(), -x[:, -1].min(), y[0].max(), -y[-1].min()
    left, right, top, bottom = (math.ceil(max(0.0, float(each))) for each in inward)
    return left, right, top, bottom


def extension_px(flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 1 H W"]) -> Sides:
    """By how many pixels a photo is extended at each border, so that a subject moving inwards shows no cut edge."""
    height, width = mask.shape[-2:]
    most = [math.floor(MOST_EXTENDED * length) for length in (width, width, height, height)]
    left, right, top, bottom = (
        min(each + SPARE_PX, limit) if each else 0 for each, limit in zip(inward_px(flow, mask), most, strict=True)
    )
    return left, right, top, bottom


def extended(values: Float[Tensor, "1 C H W"], sides: Sides, mode: str = "reflect") -> Float[Tensor, "1 C h w"]:
    """A picture continued beyond its borders: mirrored, or by its outermost pixels (`replicate`)."""
    return F.pad(values, sides, mode=mode)


def without_extension(values: Float[Tensor, "1 C h w"], sides: Sides) -> Float[Tensor, "1 C H W"]:
    """The part of an extended picture that is the picture itself."""
    left, right, top, bottom = sides
    height, width = values.shape[-2:]
    return values[..., top : height - bottom, left : width - right]


def border_warning(flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 1 H W"]) -> str | None:
    """A line about the border at which the most is mirrored, where that is much."""
    height, width = mask.shape[-2:]
    lengths = {"left": width, "right": width, "top": height, "bottom": height}
    found = [(px / length, px, side) for px, (side, length) in zip(inward_px(flow, mask), lengths.items(), strict=True)]
    fraction, px, side = max(found)
    if fraction <= UNNOTICED:
        return None
    return (
        f"the photo's {side} border cuts the subject off, and it moves {px} px away from it: what comes into sight "
        "there is mirrored; a smaller motion shows less of it"
    )
