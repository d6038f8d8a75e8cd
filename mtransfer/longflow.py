"""Flow from a reference frame to every other frame of a clip.

Flow from frame to frame is chained, F_{0->t+1}(x) = F_{0->t}(x) + F_{t->t+1}(x + F_{0->t}(x)), and the chain is only a
guess: frame t+1, brought back along it, is compared with the reference itself. Where that direct comparison passes the
forward-backward check it stands, so that errors do not add up; elsewhere the chain does, or nothing is known.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float16, UInt8
from torch import Tensor

from mtransfer.field import FlowField, compose
from mtransfer.flow import DisFlow, both_ways, consistency
from mtransfer.guidance import FlowModel
from mtransfer.warp import backward_warp, pixel_grid

BATCH = 8  # links read together
WINDOW_PX = 9  # over which two pictures are compared
PLAIN = 0.02  # contrast, of 1, that is mere noise
MOST_UNLIKE = 0.5  # squared difference over that of unrelated pictures
SEEN_SHARE = 0.5  # of a window, that must be seen for its speed to be known

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
    still = torch.zeros_like(reference[:, :2])
    field, speed = FlowField(still, torch.ones_like(still[:, :1])), still
    for index in range(start, last, towards):
        there = index + towards
        chained = _coasting(compose(field, links.step(index, towards, reference)), field.flow + speed)
        before, field = field, compared(reference, as_floats(pictures[there : there + 1], device), chained)
        speed = _speed(before, field, speed)
        if there in wanted:
            found[there] = field.flow.half().cpu(), field.confidence.half().cpu()
    return found


def _speed(before: FlowField, field: FlowField, speed: Float[Tensor, "1 2 H W"]) -> Float[Tensor, "1 2 H W"]:
    """Pixels a frame, averaged around each point over what is seen in both frames; elsewhere as it was."""
    seen = ((field.confidence > 0.5) & (before.confidence > 0.5)).to(speed)
    share = _around(seen)
    now = _around((field.flow - before.flow) * seen) / share.clamp_min(1e-3)
    return torch.where(share > SEEN_SHARE, now, speed)


def _coasting(chained: FlowField, onward: Float[Tensor, "1 2 H W"]) -> FlowField:
    """Points that are lost move on as they last did, so that they are found when they come out again."""
    return FlowField(torch.where(chained.confidence > 0.5, chained.flow, onward), chained.confidence)


def compared(reference: Float[Tensor, "1 3 H W"], picture: Float[Tensor, "1 3 H W"], chained: FlowField) -> FlowField:
    """`chained` (T = 1), corrected where the reference and the picture, brought back along it, compare well."""
    back = backward_warp(picture, chained.flow, padding_mode="border")
    rest, rest_back = both_ways(DisFlow(), reference, back)
    direct = rest + backward_warp(chained.flow, rest, padding_mode="border")
    agrees = consistency(rest, rest_back) * _lands_inside(direct) * _alike(reference, picture, direct)
    flow = torch.where(agrees > 0, direct, chained.flow)
    return FlowField(flow, torch.maximum(agrees, chained.confidence * _alike(reference, picture, chained.flow)))


def _alike(first: Tensor, second: Tensor, flow: Tensor) -> Float[Tensor, "B 1 H W"]:
    """1 where the pictures around a point look alike, whatever the light, or are plain, else 0.

    What is hidden can agree with itself both ways: behind it, too, something moves smoothly.
    """
    greys = (each.mean(dim=1, keepdim=True) for each in (first, backward_warp(second, flow, padding_mode="border")))
    a, b = (grey - _around(grey) for grey in greys)
    unlike = _around((a - b).square()) / (_around(a.square() + b.square()) + PLAIN**2)
    return (unlike < MOST_UNLIKE).to(flow)


def _around(values: Tensor) -> Tensor:
    return F.avg_pool2d(values, WINDOW_PX, stride=1, padding=WINDOW_PX // 2, count_include_pad=False)


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
