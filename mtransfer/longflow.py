"""Flow from a reference frame to every other frame of a clip.

Flow from frame to frame is chained, F_{0->t+1}(x) = F_{0->t}(x) + F_{t->t+1}(x + F_{0->t}(x)), and the chain is only a
guess: frame t+1, brought back along it, is compared with the reference itself. Where that direct comparison passes the
forward-backward check it stands, so that errors do not add up; elsewhere the chain does, or nothing is known.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float16, UInt8
from torch import Tensor

from mtransfer.field import FlowField, compose
from mtransfer.fill import fill_smooth
from mtransfer.flow import DisFlow, both_ways, consistency
from mtransfer.guidance import FlowModel
from mtransfer.warp import backward_warp, pixel_grid

BATCH = 8  # links read together
LEAST_TRUST = 0.02  # of what the chain says of points it has lost

Pictures = UInt8[Tensor, "N 3 H W"]


@dataclass(frozen=True, eq=False)
class Links:
    """Flow from each of N frames to the next and back, float16[N-1,2,H,W] in pixels."""

    forward: Float16[Tensor, "M 2 H W"]
    backward: Float16[Tensor, "M 2 H W"]

    def step(self, index: int, towards: int, like: Tensor) -> FlowField:
        """The flow from frame `index` to its neighbour `towards` (1 or -1)."""
        link = min(index, index + towards)
        there, back = (part[link : link + 1].to(like) for part in (self.forward, self.backward))
        if towards < 0:
            there, back = back, there
        return FlowField(there, consistency(there, back))


def read_links(model: FlowModel, pictures: Pictures, device: torch.device, report: Callable[[int, int], None]) -> Links:
    """Flow between neighbours among `pictures`, both ways; `report` is told how many are done, of how many."""
    parts: list[tuple[Tensor, Tensor]] = []
    for first in range(0, len(pictures) - 1, BATCH):
        some = as_floats(pictures[first : first + BATCH + 1], device)
        there, back = both_ways(model, some[:-1], some[1:])
        parts.append((there.half().cpu(), back.half().cpu()))
        report(min(first + BATCH, len(pictures) - 1), len(pictures) - 1)
    forward, backward = (torch.cat(part) for part in zip(*parts, strict=True))
    return Links(forward, backward)


def follow(links: Links, pictures: Pictures, start: int, wanted: Sequence[int], device: torch.device) -> FlowField:
    """Flow [T,2,H,W] from picture `start` to each of `wanted`, indices of `pictures`, before or after it.

    Confidence is 1 where two frames compared directly agree, else how far the chain to there is trusted; 0 where the
    point is hidden, has left the picture or is lost. The field lies on the CPU.
    """
    found = {start: _still(pictures[start])}
    for towards in (1, -1):
        last = max((towards * index for index in wanted), default=start) * towards
        found |= _follow_one_way(links, pictures, start, last, towards, set(wanted), device)
    flows, confidences = zip(*(found[index] for index in wanted), strict=True)
    return FlowField(torch.cat(flows).float(), torch.cat(confidences).float())


def _follow_one_way(
    links: Links, pictures: Tensor, start: int, last: int, towards: int, wanted: set[int], device: torch.device
) -> dict[int, tuple[Tensor, Tensor]]:
    reference = as_floats(pictures[start : start + 1], device)
    found: dict[int, tuple[Tensor, Tensor]] = {}
    field: FlowField | None = None
    for index in range(start, last, towards):
        step = links.step(index, towards, reference)
        chained = step if field is None else compose(field, step)
        there = index + towards
        field = compared(reference, as_floats(pictures[there : there + 1], device), chained)
        if there in wanted:
            found[there] = field.flow.half().cpu(), field.confidence.half().cpu()
    return found


def compared(reference: Float[Tensor, "1 3 H W"], picture: Float[Tensor, "1 3 H W"], chained: FlowField) -> FlowField:
    """`chained` (T = 1), corrected where the reference and the picture, brought back along it, compare well."""
    guess = fill_smooth(chained.flow, chained.confidence.clamp_min(LEAST_TRUST))
    back = backward_warp(picture, guess, padding_mode="border")
    rest, rest_back = both_ways(DisFlow(), reference, back)
    direct = rest + backward_warp(guess, rest, padding_mode="border")
    agrees = consistency(rest, rest_back) * _lands_inside(direct)
    flow = torch.where(agrees > 0, direct, guess)
    return FlowField(flow, torch.maximum(agrees, chained.confidence))


def as_floats(pictures: Pictures, device: torch.device) -> Float[Tensor, "N 3 H W"]:
    """8-bit pictures in [0,1]."""
    return pictures.to(device).float() / 255


def _lands_inside(flow: Tensor) -> Tensor:
    target = pixel_grid(flow) + flow
    limit = target.new_tensor([flow.shape[-1] - 1, flow.shape[-2] - 1]).view(1, 2, 1, 1)
    return ((target >= 0) & (target <= limit)).all(dim=1, keepdim=True).to(flow)


def _still(picture: Tensor) -> tuple[Tensor, Tensor]:
    nothing = torch.zeros(1, 2, *picture.shape[-2:], dtype=torch.float16)
    return nothing, torch.ones_like(nothing[:, :1])
