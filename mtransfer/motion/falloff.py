"""A part of an object moves, and the rest follows it softly: a head turns and the neck bends, instead of tearing off.

The motion at the part's edge is carried into the rest of the object and fades there (soft selection, as modelling tools
call it). Whether a subject is but a part is told by its outline: a part ends where the photo shows no edge.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from mtransfer.flow.field import FlowField
from mtransfer.flow.interpolate import push_pull
from mtransfer.flow.warp import pixel_grid, sample
from mtransfer.media.quantize import to_uint8
from mtransfer.subject.whole_object import whole_object

OUTLINE_PX = 512  # long side at which the outline is looked at
NEAR_PX, BESIDE_PX = 3, 9  # beside the outline, where colours are compared; beside that, for the texture's own contrast
PLAIN, TEXTURED = 14.0, 1.2  # levels of 255, and times the texture's contrast: a smaller step is no edge
SMOOTHED, MOST_POINTS = 15, 16384  # points of the outline: over which it is smoothed; OpenCV remaps 32767 in a row
LEAST_RUN = 0.06  # of the outline, without an edge, of what may be a part
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
    outline = _outline(image, mask) if reach else None
    if outline is None or not outline.has_open_run(outline.plain):
        return None
    whole = whole_object(image, mask)
    if whole is None or float((whole * (1 - mask)).sum()) < LEAST_REST * float(whole.sum()):
        return None
    if not outline.has_open_run(outline.plain & outline.goes_on_in(whole)):
        return None
    return Falloff(mask, torch.maximum(mask, whole), reach)


@dataclass(frozen=True, eq=False)
class _Outline:
    """Points (x, y) along a mask's outline on a small grid, the outward directions there, and whether there is no edge
    in the photo."""

    points: Float[ndarray, "N 2"]
    normals: Float[ndarray, "N 2"]
    plain: Bool[ndarray, "N"]
    size: tuple[int, int]

    def has_open_run(self, values: Bool[ndarray, "N"]) -> bool:
        """Whether values are true for long enough a run of the outline."""
        return _longest_run(values) > LEAST_RUN * len(self.points)

    def goes_on_in(self, whole: Float[Tensor, "1 H W"]) -> Bool[ndarray, "N"]:
        """Where an object lies on the outer side, too."""
        small = cv2.resize(whole[0].float().cpu().numpy(), self.size[::-1], interpolation=cv2.INTER_AREA)
        return _at(small, self.points + BESIDE_PX * self.normals) > 0.5


def _outline(image: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 H W"]) -> _Outline | None:
    """The outline of a mask's largest part; None where the mask is empty."""
    scale = min(1.0, OUTLINE_PX / max(mask.shape[-2:]))
    size = max(1, round(mask.shape[-2] * scale)), max(1, round(mask.shape[-1] * scale))
    small = cv2.resize(to_uint8(image), size[::-1], interpolation=cv2.INTER_AREA)
    soft = cv2.resize(mask[0].float().cpu().numpy(), size[::-1], interpolation=cv2.INTER_AREA)
    contours, _ = cv2.findContours((soft > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    points = max(contours, key=len)[:, 0].astype(np.float32)
    points = points[:: 1 + len(points) // MOST_POINTS]
    blurred = cv2.GaussianBlur(soft, (0, 0), NEAR_PX)
    slope = np.stack([cv2.Sobel(blurred, cv2.CV_32F, 1, 0), cv2.Sobel(blurred, cv2.CV_32F, 0, 1)], axis=-1)
    normals = -_at(slope, points)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    return _Outline(points, normals, _is_plain(small, points, normals), size)


def _is_plain(pixels: ndarray, points: ndarray, normals: ndarray) -> Bool[ndarray, "N"]:
    """Whether colours on both sides of an outline are alike at each point; never at the photo's border."""
    colours = cv2.GaussianBlur(pixels, (0, 0), 1).astype(np.float32)

    def step(one_px: float, other_px: float) -> ndarray:
        values = np.abs(_at(colours, points + one_px * normals) - _at(colours, points + other_px * normals)).max(axis=1)
        return np.convolve(np.pad(values, SMOOTHED // 2, mode="wrap"), np.full(SMOOTHED, 1 / SMOOTHED), mode="valid")

    across = step(NEAR_PX, -NEAR_PX)
    texture = np.maximum(step(BESIDE_PX, NEAR_PX), step(-NEAR_PX, -BESIDE_PX))
    last = np.array(pixels.shape[1::-1]) - 1
    inner = ((points > BESIDE_PX) & (points < last - BESIDE_PX)).all(axis=1)
    return np.asarray(inner & (across < np.maximum(PLAIN, TEXTURED * texture)))


def _at(values: ndarray, points: ndarray) -> ndarray:
    """Values [h,w] or [h,w,C] at N points (x, y)."""
    places = points[None].astype(np.float32)
    return np.asarray(cv2.remap(values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))[0]


def _longest_run(values: Bool[ndarray, "N"]) -> int:
    """Of true values, in a closed row of them."""
    breaks = np.flatnonzero(~values)
    if not len(breaks):
        return len(values)
    return int(np.diff(np.append(breaks, breaks[0] + len(values))).max()) - 1
