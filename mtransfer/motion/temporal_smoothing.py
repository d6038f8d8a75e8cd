"""Motion smoothed over time: read flow jitters from frame to frame."""

import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.field import FlowField

SIGMA_FRAMES = 1.0
REACH = 2  # neighbours to each side
SPREAD = 0.1  # squared frames that trusted neighbours must spread over for a line, not a mean


def smooth_over_time(field: FlowField, times: Float[Tensor, "T"], start: float) -> FlowField:
    """Every pixel's motion through a Gaussian of one frame's width, weighted by confidence.

    A line is fitted at each frame, so that a steady motion and the ends keep their place. `times`, ascending, in
    frames; at time `start` the motion is known to be zero, and stays zero.
    """
    if len(times) == 1:
        return field
    smooth = [_at(field, times, index, start) for index in range(len(times))]
    flows, confidences = zip(*smooth, strict=True)
    return FlowField(torch.cat(flows), torch.cat(confidences))


def _at(field: FlowField, times: Tensor, index: int, start: float) -> tuple[Tensor, Tensor]:
    """Weighted linear regression of the neighbours' flow at one time (Cleveland, 1979)."""
    own = field.flow[index : index + 1], field.confidence[index : index + 1]
    if float(times[index]) == float(times.new_tensor(start)):
        return torch.zeros_like(own[0]), torch.ones_like(own[1])
    near = slice(max(0, index - REACH), index + REACH + 1)
    away = (times[near] - times[index]).view(-1, 1, 1, 1).to(own[0])
    gauss = torch.exp(-away.square() / (2 * SIGMA_FRAMES**2))
    weight = gauss * field.confidence[near]
    total, first, second = (_sum(weight * away**power) for power in (0, 1, 2))
    value, slope = _sum(weight * field.flow[near]), _sum(weight * away * field.flow[near])
    determinant = total * second - first**2
    line = (second * value - first * slope) / determinant.clamp_min(1e-6)
    mean = value / total.clamp_min(1e-6)
    smooth = torch.where(determinant > SPREAD * total**2, line, mean)
    known = (total / gauss.sum()).clamp(0, 1)
    return torch.where(total > 1e-3, smooth, own[0]), torch.maximum(own[1], known)


def _sum(values: Tensor) -> Tensor:
    return values.sum(dim=0, keepdim=True)
