"""Flow from a reference frame to every other frame of a clip.

Flow from frame to frame is chained, F_{0->t+1}(x) = F_{0->t}(x) + F_{t->t+1}(x + F_{0->t}(x)), and the chain is only a
guess: frame t+1, brought back along it, is compared with the reference itself. Where that direct comparison passes the
forward-backward check it stands, so that errors do not add up; elsewhere the chain does, or nothing is known.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from mtransfer.flow.estimator import DisFlow, FlowModel, both_ways, consistency
from mtransfer.flow.field import FlowField, compose
from mtransfer.flow.warp import backward_warp, pixel_grid

BATCH = 8  # links read together
WINDOW_PX = 9  # over which two pictures are compared
PLAIN = 0.02  # contrast, of 1, that is mere noise
MOST_UNLIKE = 0.5  # squared difference over that of unrelated pictures
FOUND_AGAIN = 0.35  # the same, for what was lost: chance resemblances are common
UNRELATED = 0.8  # above which a guess is none
NEIGHBOURS_PX = tuple((y, x) for y in (-5, 0, 5) for x in (-5, 0, 5) if x or y)  # whose flow a lost point may have
SEEN_SHARE = 0.5  # of a window, that must be seen for its speed to be known

Pictures = UInt8[Tensor, "N 3 H W"]


@dataclass(frozen=True, eq=False)
class Links:
    """Flow from each of N frames to the next and back, float32[N-1,2,H,W] in pixels.

    Half as many bits would make steps of 1/8 px of a motion of 128, and a large photo's are as many times larger.
    """

    forward: Float32[Tensor, "M 2 H W"]
    backward: Float32[Tensor, "M 2 H W"]

    def step(self, index: int, towards: int, like: Tensor) -> FlowField:
        """The flow from frame `index` to its neighbour `towards` (1 or -1)."""
        link = min(index, index + towards)
        there, back = (part[link : link + 1].to(like) for part in (self.forward, self.backward))
        if towards < 0:
            there, back = back, there
        return FlowField(there, consistency(there, back))


def read_links(model: FlowModel, pictures: Pictures, device: torch.device, report: Callable[[int, int], None]) -> Links:
    """Flow between neighbours among `pictures`, both ways; `report` is told how many are done, of how many."""
    count, size = len(pictures) - 1, pictures.shape[-2:]
    forward, backward = (torch.empty(count, 2, *size) for _ in range(2))
    for first in range(0, count, BATCH):
        some = as_floats(pictures[first : first + BATCH + 1], device)
        end = min(first + BATCH, count)
        forward[first:end], backward[first:end] = both_ways(model, some[:-1], some[1:])
        report(end, count)
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
    return FlowField(torch.cat(flows), torch.cat(confidences))


def _follow_one_way(
    links: Links, pictures: Tensor, start: int, last: int, towards: int, wanted: set[int], device: torch.device
) -> dict[int, tuple[Tensor, Tensor]]:
    reference = as_floats(pictures[start : start + 1], device)
    found: dict[int, tuple[Tensor, Tensor]] = {}
    still = torch.zeros_like(reference[:, :2])
    field, speed = FlowField(still, torch.ones_like(still[:, :1])), still
    for index in range(start, last, towards):
        there = index + towards
        picture = as_floats(pictures[there : there + 1], device)
        chained = compose(field, links.step(index, towards, reference))
        onward = field.flow + speed
        before, field = field, compared(reference, picture, _found_again(reference, picture, chained, onward))
        field = _coasting(field, onward)
        speed = _speed(before, field, speed)
        if there in wanted:
            found[there] = field.flow.float().cpu(), field.confidence.float().cpu()
    return found


def _speed(before: FlowField, field: FlowField, speed: Float[Tensor, "1 2 H W"]) -> Float[Tensor, "1 2 H W"]:
    """Pixels a frame, averaged around each point over what is seen in both frames; elsewhere as it was."""
    seen = ((field.confidence > 0.5) & (before.confidence > 0.5)).to(speed)
    share = _around(seen)
    now = _around((field.flow - before.flow) * seen) / share.clamp_min(1e-3)
    return torch.where(share > SEEN_SHARE, now, speed)


def _coasting(field: FlowField, onward: Float[Tensor, "1 2 H W"]) -> FlowField:
    """Points that are lost move on as they last did, so that they are found when they come out again."""
    return FlowField(torch.where(field.confidence > 0, field.flow, onward), field.confidence)


def _found_again(
    reference: Float[Tensor, "1 3 H W"],
    picture: Float[Tensor, "1 3 H W"],
    chained: FlowField,
    onward: Float[Tensor, "1 2 H W"],
) -> FlowField:
    """Where the chain is lost, the flow that makes the pictures most alike: going on as before, or as a neighbour does.

    Going on finds what comes out from behind something, neighbours fix a silhouette's rim (Barnes et al., PatchMatch,
    SIGGRAPH 2009).
    """
    if bool((chained.confidence > 0.5).all()):
        return chained
    sure = chained.confidence > 0.5
    around = torch.cat([chained.flow, sure.to(onward)], dim=1)
    best, least = onward, _unlike(reference, picture, onward)
    for shift in NEIGHBOURS_PX:
        theirs, known = around.roll(shift, (2, 3)).split((2, 1), dim=1)
        unlike = _unlike(reference, picture, theirs)
        better = (known > 0) & (unlike < UNRELATED) & (unlike < least)
        best, least = torch.where(better, theirs, best), torch.where(better, unlike, least)
    return FlowField(torch.where(sure, chained.flow, best), chained.confidence)


def compared(reference: Float[Tensor, "1 3 H W"], picture: Float[Tensor, "1 3 H W"], chained: FlowField) -> FlowField:
    """`chained` (T = 1), corrected where the reference and the picture, brought back along it, compare well."""
    back = backward_warp(picture, chained.flow, padding_mode="border")
    rest, rest_back = both_ways(DisFlow(), reference, back)
    direct = rest + backward_warp(chained.flow, rest, padding_mode="border")
    limit = torch.where(chained.confidence > 0.5, MOST_UNLIKE, FOUND_AGAIN)
    agrees = consistency(rest, rest_back) * _lands_inside(direct) * (_unlike(reference, picture, direct) < limit)
    flow = torch.where(agrees > 0, direct, chained.flow)
    stays = chained.confidence * (_unlike(reference, picture, chained.flow) < MOST_UNLIKE)
    return FlowField(flow, torch.maximum(agrees, stays))


def _unlike(first: Tensor, second: Tensor, flow: Tensor) -> Float[Tensor, "1 1 H W"]:
    """Around each point the squared difference, whatever the light, over that of unrelated pictures; 0 where plain.

    What is hidden can agree with itself both ways: behind it, too, something moves smoothly.
    """
    grey, other = (each.mean(dim=1, keepdim=True) for each in (first, second))
    back = backward_warp(other, flow, padding_mode="border")
    a, b = grey - _around(grey), back - _around(back)
    return _around((a - b).square()) / (_around(a.square() + b.square()) + PLAIN**2)


def _around(values: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """The mean over a window around each pixel; rows are added up, then columns, several times as fast as pooling."""
    height, width = values.shape[-2:]
    padded = F.pad(values, (WINDOW_PX // 2,) * 4, mode="replicate")
    rows = functools.reduce(torch.add, (padded[:, :, shift : shift + height] for shift in range(WINDOW_PX)))
    both = functools.reduce(torch.add, (rows[..., shift : shift + width] for shift in range(WINDOW_PX)))
    return both / WINDOW_PX**2


def as_floats(pictures: Pictures, device: torch.device) -> Float[Tensor, "N 3 H W"]:
    """8-bit pictures in [0,1]."""
    return pictures.to(device).float() / 255


def _lands_inside(flow: Tensor) -> Tensor:
    target = pixel_grid(flow) + flow
    limit = target.new_tensor([flow.shape[-1] - 1, flow.shape[-2] - 1]).view(1, 2, 1, 1)
    return ((target >= 0) & (target <= limit)).all(dim=1, keepdim=True).to(flow)


def _still(picture: Tensor) -> tuple[Tensor, Tensor]:
    nothing = torch.zeros(1, 2, *picture.shape[-2:])
    return nothing, torch.ones_like(nothing[:, :1])
