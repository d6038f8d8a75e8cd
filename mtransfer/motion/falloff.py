"""A part of an object moves, and the rest follows it softly: a head turns and the neck bends, instead of tearing off.

The motion at the part's edge is carried into the rest of the object and fades there (soft selection, as modelling tools
call it). Whether a subject is but a part is told by its outline: a part ends where the photo shows no edge.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.field import FlowField
from mtransfer.flow.interpolate import push_pull
from mtransfer.flow.warp import pixel_grid, sample
from mtransfer.subject.outline_edges import outline_edges
from mtransfer.subject.whole_object import whole_object

LEAST_REST = 0.1  # of an object, beside the part that moves
COARSE_PX = 192  # long side at which the motion is carried on
FAR = 1e4  # coarse pixels: where nothing follows
GENTLEST = 2.5  # times the motion: the least distance over which it fades, so that nothing stretches much


@dataclass(frozen=True, eq=False)
class Falloff:
    """A part float32[1,H,W] of a `whole` object float32[1,H,W], and how far its motion reaches in sizes of the part."""

    part: Tensor
    whole: Tensor
    reach: float

    def follow(self, field: FlowField) -> FlowField:
        """The part's flow float32[1,2,H,W], carried on into the whole object, over which it fades."""
        part, size = (self.part > 0.5).float()[None], self._coverage.shape[-2:]
        scale = size[-1] / part.shape[-1]
        known = (self._coverage > 0.5).float()
        small = F.interpolate(field.flow.cpu() * part, size, mode="area") / self._coverage.clamp_min(1e-6)
        fade_px = max(self.reach * float(known.sum()) ** 0.5, GENTLEST * scale * float(small.abs().max()), 1.0)
        source, distance = self._ways
        left = (1 - distance / fade_px).clamp(0, 1)
        faded = (3 - 2 * left) * left.square() * sample(push_pull(small, known), source)
        flow = F.interpolate(faded, part.shape[-2:], mode="bilinear", align_corners=False).to(field.flow)
        inside = (self.whole > 0)[None].to(flow)
        flow = torch.where(part.to(flow) > 0, field.flow, flow * inside)
        return FlowField(flow, torch.maximum(field.confidence, inside))

    @cached_property
    def _coverage(self) -> Tensor:
        """How much of each coarse pixel the part covers [1,1,h,w]."""
        scale = min(1.0, COARSE_PX / max(self.part.shape[-2:]))
        size = [max(2, round(side * scale)) for side in self.part.shape[-2:]]
        return F.interpolate((self.part > 0.5).float()[None].cpu(), size, mode="area")

    @cached_property
    def _ways(self) -> tuple[Tensor, Tensor]:
        """For each coarse pixel where in the part its motion comes from, [1,2,h,w], and how far within the whole that
        is, [1,1,h,w]; outside the whole both go on smoothly, for the soft edges there."""
        known = (self._coverage > 0.5).float()
        whole = F.interpolate((self.whole > 0.5).float()[None].cpu(), known.shape[-2:], mode="area") > 0.5
        source, distance, step = pixel_grid(known) * known, torch.zeros_like(known), 0
        while bool((reached := F.max_pool2d(known, 3, stride=1, padding=1) * whole * (1 - known)).any()):
            step += 1
            near = F.avg_pool2d(known, 3, stride=1, padding=1).clamp_min(1e-6)
            source = source + reached * F.avg_pool2d(source, 3, stride=1, padding=1) / near
            distance = distance + step * reached
            known = known + reached
        apart = whole * (1 - known)  # what does not hang together with the part stays where it is
        distance, known = distance + FAR * apart, known + apart
        source = source + apart * pixel_grid(known)
        together = push_pull(torch.cat([source, distance], dim=1), known)
        return together[:, :2], together[:, 2:]


def falloff_of(image: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 H W"], reach: float) -> Falloff | None:
    """How an object in `image`, in [0,1], follows the part of it that `mask` shows; None where that is no part.

    `reach`: how far, in sizes of the part; 0: it does not follow.
    """
    outline = outline_edges(image, mask) if reach else None
    if outline is None or not outline.has_open_run(outline.plain):
        return None
    whole = whole_object(image, mask)
    if whole is None or float((whole * (1 - mask)).sum()) < LEAST_REST * float(whole.sum()):
        return None
    if not outline.has_open_run(outline.plain & outline.goes_on_in(whole)):
        return None
    return Falloff(mask, torch.maximum(mask, whole), reach)
