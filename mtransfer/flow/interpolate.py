"""Smooth filling of holes: each value taken from what is known around it, near before far."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

RIDGE = 0.02  # holds the affine part back where little is known
RELAXATIONS = 6  # Jacobi sweeps a level: takes the blocks of the coarser level out


def push_pull(values: Float[Tensor, "B C H W"], weight: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B C H W"]:
    """`values` where `weight` is 1, a smooth membrane through them where it is 0, in between a mixture.

    Weights in [0,1]; somewhere in each image the weight must be above 0. Push-pull over a pyramid (Gortler et al., The
    Lumigraph, SIGGRAPH 1996), each level relaxed towards a membrane.
    """
    if bool((weight >= 1).all()) or (min(values.shape[-2:]) == 1 and max(values.shape[-2:]) == 1):
        return values
    total = _half(weight)
    coarse = _half(values * weight) / total.clamp_min(1e-8)
    coarse = push_pull(coarse, (4 * total).clamp_max(1))
    filled = F.interpolate(coarse, values.shape[-2:], mode="bilinear", align_corners=False)
    for _ in range(RELAXATIONS):
        mixed = weight * values + (1 - weight) * filled
        filled = F.avg_pool2d(F.pad(mixed, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return weight * values + (1 - weight) * filled


def fill_motion(flow: Float[Tensor, "1 2 H W"], weight: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "1 2 H W"]:
    """A flow carried on where `weight` is 0: its affine part goes on, the rest closes as a membrane.

    A membrane alone would flatten what turns or grows. Weights in [0,1]; somewhere the weight must be above 0.
    """
    basis = _affine_basis(flow, weight)
    known = weight[0, 0] > 0
    x, w = basis[:, known].double(), weight[0, 0][known].double()
    ridge = torch.diag(x.new_tensor([0.0, RIDGE, RIDGE])) * w.sum()
    coefficients = torch.linalg.solve((x * w) @ x.T + ridge, (x * w) @ flow[0][:, known].double().T)
    affine = torch.einsum("kc,khw->chw", coefficients.to(flow), basis)[None]
    return affine + push_pull(flow - affine, weight)


def _affine_basis(flow: Tensor, weight: Tensor) -> Tensor:
    """[3,H,W]: one, and the place in units of the known region's radius about its centre."""
    y, x = (torch.arange(side, device=flow.device).to(flow) for side in flow.shape[-2:])
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"))
    centre = (grid * weight[0]).sum(dim=(1, 2), keepdim=True) / weight.sum()
    radius = ((grid - centre).square().sum(dim=0) * weight[0, 0]).sum().div(weight.sum()).sqrt().clamp_min(1.0)
    return torch.cat([torch.ones_like(grid[:1]), (grid - centre) / radius])


def _half(values: Tensor) -> Tensor:
    return F.avg_pool2d(values, 2, ceil_mode=True, count_include_pad=False)
