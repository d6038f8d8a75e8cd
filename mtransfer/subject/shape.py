"""Silhouettes compared: how alike two masks are once centred and equal in area, and whether one is mirrored."""

import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.warp import pixel_grid, sample

CANVAS_PX = 64
SUBJECT_PX = 28.0  # root of a subject's area on the canvas
MIRRORED_ALIKE, MIRROR_GAIN = 0.65, 0.1  # overlap of silhouettes of one kind once mirrored, and what it must gain


def centroid(mask: Float[Tensor, "1 H W"]) -> Float[Tensor, "2"]:
    """The centre of mass (x, y) in pixels."""
    grid = pixel_grid(mask[None])[0]
    return (grid * mask).sum(dim=(1, 2)) / mask.sum()


def spread(mask: Float[Tensor, "1 H W"]) -> Float[Tensor, "2 2"]:
    """The covariance of the mask's places in square pixels."""
    away = pixel_grid(mask[None])[0] - centroid(mask).view(2, 1, 1)
    return torch.einsum("ihw,jhw,hw->ij", away, away, mask[0]) / mask.sum()


def normalised(mask: Float[Tensor, "1 H W"]) -> Float[Tensor, "1 C C"]:
    """A mask on a small canvas, its centroid in the middle and its area always the same."""
    canvas = pixel_grid(mask.new_zeros(1, 1, CANVAS_PX, CANVAS_PX)) - (CANVAS_PX - 1) / 2
    scale = mask.sum().sqrt() / SUBJECT_PX
    return sample(mask[None], canvas * scale + centroid(mask).view(1, 2, 1, 1), padding_mode="zeros")[0]


def likeness(one: Float[Tensor, "1 H W"], other: Float[Tensor, "1 h w"]) -> float:
    """The overlap in [0,1] (intersection over union) of two masks, normalised."""
    return _overlap(normalised(one), normalised(other))


def faces_the_other_way(one: Float[Tensor, "1 H W"], other: Float[Tensor, "1 h w"]) -> bool:
    """Whether the masks are much alike once one is mirrored, left for right, and clearly less so as they are."""
    first, second = normalised(one), normalised(other)
    mirrored = _overlap(first.flip(-1), second)
    return mirrored > MIRRORED_ALIKE and mirrored > _overlap(first, second) + MIRROR_GAIN


def _overlap(first: Tensor, second: Tensor) -> float:
    return float(torch.minimum(first, second).sum() / torch.maximum(first, second).sum())
