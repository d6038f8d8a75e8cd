"""How much a motion stretches its subject, and the same motion without what no real thing does.

Where a clip's flow is wrong, or its subject is of another kind, parts fold and smear. The motion is then taken apart
into an affine one, fitted robustly, and what is left; and that is smoothed over wider and wider neighbourhoods.
"""

import math

import cv2
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mtransfer.flow.warp import erode, pixel_grid, sample

MOST_STRETCH = 1.6  # of a part in some direction, or one over it, against the whole subject
MOST_SCALE = 2.5  # of the whole subject, which may come nearer
LEFT = 0.1  # of the subject, that may stretch more
COARSE_PX = 256  # long side on which stretching is measured: finer, it is noise
SMOOTHED = tuple(0.02 * 1.5**step for step in range(8))  # of the subject's size: standard deviations that are tried
ROUNDS, LEAST_PX = 5, 0.5  # of reweighting; residual that always counts fully


def limit_stretch(
    flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 H W"], most: float = MOST_STRETCH
) -> Float[Tensor, "1 2 H W"]:
    """A subject's flow in pixels, smoothed until hardly a part stretches more than `most` times; 0 outside the mask.

    What stretches no more is returned as it is; so is every flow where `most` is 0.
    """
    coarse, inside = _coarse(flow, mask)
    if not most:
        return flow
    linear, offset = _affine(coarse, inside)
    if _fraction(coarse, inside, most, linear) <= LEFT:
        return flow
    straight = _moved(coarse, _limited(linear, most), offset, inside)
    weight = inside.to(flow)[None, None]
    rest, size = (coarse - straight) * weight, math.sqrt(float(weight.sum()))
    for share in SMOOTHED:
        smooth = _blurred(rest, share * size) / _blurred(weight, share * size).clamp_min(1e-6)
        if _fraction(straight + smooth, inside, most, _affine(straight + smooth, inside)[0]) <= LEFT:
            break
    else:
        smooth = torch.zeros_like(straight)
    every = _every(flow)
    places = (pixel_grid(flow) - (every - 1) // 2) / every
    return sample((straight + smooth) * every, places) * (mask > 0)[None].to(flow)


def stretched_fraction(
    flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 H W"], most: float = MOST_STRETCH
) -> float:
    """The fraction in [0,1] of the subject that is stretched or squeezed by more than `most` in some direction.

    Growing or shrinking as a whole, up to 2.5 times, does not count.
    """
    coarse, inside = _coarse(flow, mask)
    return _fraction(coarse, inside, most, _affine(coarse, inside)[0])


def _fraction(coarse: Float[Tensor, "1 2 h w"], inside: Bool[Tensor, "h w"], most: float, linear: Tensor) -> float:
    """As `stretched_fraction`; `linear` [2,2] is that of the whole."""
    deep = erode(inside.to(coarse)[None, None], 1)[0, 0] > 0  # beyond its rim the flow is another's
    if not bool(deep.any()):
        return 0.0
    down, across = (slope[:, deep] for slope in torch.gradient(coarse[0], dim=(1, 2)))
    largest, smallest = _singular_values(1 + across[0], down[0], across[1], 1 + down[1])
    scale = _scale(linear)
    return float(((largest > most * scale) | (smallest * most < scale)).float().mean())


def _singular_values(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """The larger and the smaller of every matrix ((a, b), (c, d)); much quicker than for matrices of any size."""
    same, opposite = torch.hypot(a + d, c - b) / 2, torch.hypot(a - d, b + c) / 2
    return same + opposite, (same - opposite).abs()


def _every(flow: Tensor) -> int:
    return max(1, -(-max(flow.shape[-2:]) // COARSE_PX))


def _coarse(flow: Tensor, mask: Tensor) -> tuple[Float[Tensor, "1 2 h w"], Bool[Tensor, "h w"]]:
    """Every so many-th pixel, in coarse pixels."""
    every = _every(flow)
    start = (every - 1) // 2
    return flow[..., start::every, start::every] / every, mask[0, start::every, start::every] > 0.5


def _affine(coarse: Tensor, inside: Tensor) -> tuple[Float[Tensor, "2 2"], Float[Tensor, " 2"]]:
    """The affine motion p -> linear @ (p - c) + c + offset, c the centroid, that fits most of the flow."""
    points = pixel_grid(coarse)[0][:, inside].double()
    known = torch.cat([points - points.mean(dim=1, keepdim=True), torch.ones_like(points[:1])])
    vectors, weight = coarse[0][:, inside].double(), torch.ones_like(points[0])
    solution = torch.zeros(2, 3).to(known)
    for _ in range(ROUNDS):
        weighted = known * weight.square()
        solution = vectors @ weighted.T @ torch.linalg.pinv(known @ weighted.T)
        residual = torch.hypot(*(vectors - solution @ known))
        weight = 1 / (1 + residual / residual.median().clamp_min(LEAST_PX))
    return (solution[:, :2] + torch.eye(2).to(known)).to(coarse), solution[:, 2].to(coarse)


def _scale(linear: Tensor) -> float:
    return min(max(math.sqrt(abs(float(torch.linalg.det(linear)))), 1 / MOST_SCALE), MOST_SCALE)


def _limited(linear: Tensor, most: float) -> Tensor:
    """The linear map without more stretch than is allowed."""
    left, values, right = torch.linalg.svd(linear)
    scale = _scale(linear)
    return (left * values.clamp(scale / most, scale * most)) @ right


def _moved(coarse: Tensor, linear: Tensor, offset: Tensor, inside: Tensor) -> Float[Tensor, "1 2 h w"]:
    grid = pixel_grid(coarse)
    around = grid - grid[0][:, inside].mean(dim=1).view(1, 2, 1, 1)
    turned = torch.einsum("ij,bjhw->bihw", linear - torch.eye(2).to(linear), around)
    return turned + offset.view(1, 2, 1, 1)


def _blurred(values: Float[Tensor, "1 C h w"], sigma_px: float) -> Float[Tensor, "1 C h w"]:
    """Gaussian blur, 0 outside."""
    side = 2 * max(1, math.ceil(3 * sigma_px)) + 1
    channels = [channel.cpu().numpy() for channel in values[0]]
    blurred = [cv2.GaussianBlur(each, (side, side), sigma_px, borderType=cv2.BORDER_CONSTANT) for each in channels]
    return torch.stack([torch.from_numpy(each) for each in blurred])[None].to(values)
