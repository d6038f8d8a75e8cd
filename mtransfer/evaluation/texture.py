"""How much fine detail a region has and how hard its border is, as a ratio to a reference: 1 is the same.

Images float32[1,3,H,W] in [0,1]; regions [1,1,H,W], counted in above one half. The reference is the true picture, or
the photo, with the region's place in it (`reference_region`) where the subject has moved. NaN for an empty region.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.warp import dilate

Image = Float[Tensor, "1 3 H W"]
Region = Float[Tensor, "1 1 H W"]


def sharpness(image: Image, region: Region, reference: Image, reference_region: Region | None = None) -> float:
    """Gradient energy inside a region relative to the reference's: below 1 blurred, above 1 oversharp or noisy."""
    other = region if reference_region is None else reference_region
    return float(gradient_energy(image, region) / gradient_energy(reference, other))


def roughness(image: Image, region: Region, reference: Image, reference_region: Region | None = None) -> float:
    """Laplacian energy inside a region relative to the reference's: far above 1 for noise and broken texture."""
    other = region if reference_region is None else reference_region
    return float(_laplacian_energy(image, region) / _laplacian_energy(reference, other))


def seam_jump(image: Image, region: Region, reference: Image, reference_region: Region | None = None) -> float:
    """Mean absolute step across a region's border relative to the reference's: above 1 the region looks pasted in."""
    other = region if reference_region is None else reference_region
    return float(border_step(image, region) / border_step(reference, other))


def gradient_energy(image: Image, region: Region) -> Tensor:
    """Mean squared step between neighbours that both lie inside: a silhouette is no detail."""
    return torch.cat([step[first & second] for step, first, second in _steps(image, region)]).square().mean()


def border_step(image: Image, region: Region) -> Tensor:
    """Mean absolute step between neighbours of which one lies inside."""
    return torch.cat([step[first ^ second] for step, first, second in _steps(image, region)]).abs().mean()


def _steps(image: Tensor, region: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Down and right: the step from each pixel to its neighbour, and which of the two lie inside."""
    inside = (region > 0.5).expand_as(image)
    for dim in (2, 3):
        shorter = image.shape[dim] - 1
        yield image.diff(dim=dim), inside.narrow(dim, 0, shorter), inside.narrow(dim, 1, shorter)


def _laplacian_energy(image: Tensor, region: Tensor) -> Tensor:
    """Mean square of the five-point Laplacian where all five points lie inside."""
    inside = dilate((region <= 0.5).to(image), 1)[..., 1:-1, 1:-1] == 0
    sides = image[..., 1:-1, 2:] + image[..., 1:-1, :-2] + image[..., 2:, 1:-1] + image[..., :-2, 1:-1]
    laplacian = sides - 4 * image[..., 1:-1, 1:-1]
    return laplacian[inside.expand_as(laplacian)].square().mean()
