"""Smooth filling of holes: each value taken from what is known around it, near before far."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

RELAXATIONS = 6  # Jacobi sweeps a level: takes the blocks of the coarser level out


def fill_smooth(values: Float[Tensor, "B C H W"], weight: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B C H W"]:
    """`values` where `weight` is 1, a smooth membrane through them where it is 0, in between a mixture.

    Weights in [0,1]; somewhere in each image the weight must be above 0. Push-pull over a pyramid (Gortler et al., The
    Lumigraph, SIGGRAPH 1996), each level relaxed towards a membrane.
    """
    if bool((weight >= 1).all()) or (min(values.shape[-2:]) == 1 and max(values.shape[-2:]) == 1):
        return values
    total = _half(weight)
    coarse = _half(values * weight) / total.clamp_min(1e-8)
    coarse = fill_smooth(coarse, (4 * total).clamp_max(1))
    filled = F.interpolate(coarse, values.shape[-2:], mode="bilinear", align_corners=False)
    for _ in range(RELAXATIONS):
        mixed = weight * values + (1 - weight) * filled
        filled = F.avg_pool2d(F.pad(mixed, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return weight * values + (1 - weight) * filled


def _half(values: Tensor) -> Tensor:
    return F.avg_pool2d(values, 2, ceil_mode=True, count_include_pad=False)
