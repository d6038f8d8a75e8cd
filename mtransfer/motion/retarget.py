"""From the motion of a clip's subject to a motion of the photo's: fit, transport, fill."""

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField
from mtransfer.flow.interpolate import fill_motion
from mtransfer.flow.warp import pixel_grid, sample
from mtransfer.subject.shape import centroid, spread
from mtransfer.subject.subject import Subject

WORK_SIDE_PX = 512  # the motion is smooth: on larger photos it is carried and filled on a coarser grid
RIM_SHARE = 0.016  # of the clip's long side: how far flow is blurred across a silhouette
LONG = 1.25  # ratio of a silhouette's long axis to its short one, below which it points nowhere

Align = Literal["similarity", "affine", "thinplate", "none"]


@dataclass(frozen=True, eq=False)
class Fit:
    """The map from clip pixels to photo pixels: p_photo = linear @ p_clip + offset, bent where `bend` is given.

    `bend` float32[1,2,h,w], in pixels of the clip: the photo's point q = linear^-1 (p - offset) lies on the clip's
    point q + bend(q). Vectors are carried by `linear` alone, so that a translation stays one.
    """

    linear: Tensor  # [2,2]
    offset: Tensor  # [2]
    bend: Tensor | None = None

    def to_clip(self, points: Float[Tensor, "1 2 H W"]) -> Float[Tensor, "1 2 H W"]:
        """Clip pixels of photo pixels (x, y)."""
        inverse = torch.linalg.inv(self.linear)
        straight = torch.einsum("ij,bjhw->bihw", inverse, points - self.offset.view(1, 2, 1, 1))
        return straight if self.bend is None else straight + sample(self.bend.to(straight), straight)


def fit_subjects(clip: Subject, photo: Subject, align: Align, *, turn: bool = False, mirror: bool = False) -> Fit:
    """The clip's subject laid on the photo's: with `turn` long axis on long axis, with `mirror` left for right."""
    if align == "none":
        sizes = [(s.image.shape[-2], s.image.shape[-1]) for s in (clip, photo)]
        return fit_frames(sizes[0], sizes[1])
    if align == "thinplate":
        from mtransfer.motion.thin_plate import bent  # scipy is slow to import

        return bent(_centred(_similar(clip, photo, turn, mirror), clip, photo), clip, photo)
    linear = _affine if align == "affine" else _similar
    return _centred(linear(clip, photo, turn, mirror), clip, photo)


def fit_similarity(clip: Subject, photo: Subject) -> Fit:
    """Centroid onto centroid, scaled by the root of the ratio of the areas; no rotation."""
    return fit_subjects(clip, photo, "similarity")


def fit_frames(clip_size: tuple[int, int], photo_size: tuple[int, int]) -> Fit:
    """The clip's frame stretched onto the photo's: the alignment `none`, the paper's own transfer."""
    scale = torch.tensor([photo_size[1] / clip_size[1], photo_size[0] / clip_size[0]])
    return Fit(torch.diag(scale), (scale - 1) / 2)


def _centred(linear: Tensor, clip: Subject, photo: Subject) -> Fit:
    return Fit(linear, centroid(photo.mask) - linear @ centroid(clip.mask))


def _similar(clip: Subject, photo: Subject, turn: bool, mirror: bool) -> Tensor:
    scale = (photo.mask.sum() / clip.mask.sum()).sqrt()
    return scale * _turned(clip, photo, turn, mirror)


def _affine(clip: Subject, photo: Subject, turn: bool, mirror: bool) -> Tensor:
    """Spread onto spread by the map that turns least: S_p^1/2 (S_p^1/2 S_c S_p^1/2)^-1/2 S_p^1/2, symmetric.

    The optimal transport between two Gaussians (Knott and Smith, 1984).
    """
    before = _turned(clip, photo, turn, mirror)
    wide, own = before @ spread(clip.mask) @ before.T, _root(spread(photo.mask))
    return own @ torch.linalg.inv(_root(own @ wide @ own)) @ own @ before


def _turned(clip: Subject, photo: Subject, turn: bool, mirror: bool) -> Tensor:
    """The orthogonal part: nothing, a mirror, the smaller turn between the long axes, or both."""
    flip = torch.diag(clip.mask.new_tensor([-1.0 if mirror else 1.0, 1.0]))
    if not turn:
        return flip
    own, other = _axis_rad(flip @ spread(clip.mask) @ flip), _axis_rad(spread(photo.mask))
    angle = 0.0 if own is None or other is None else (other - own + math.pi / 2) % math.pi - math.pi / 2
    cos, sin = math.cos(angle), math.sin(angle)
    return flip.new_tensor([[cos, -sin], [sin, cos]]) @ flip


def _axis_rad(covariance: Tensor) -> float | None:
    """The direction of the long axis; none where there is none."""
    values, vectors = torch.linalg.eigh(covariance)
    if values[1] < LONG**2 * values[0]:
        return None
    return math.atan2(float(vectors[1, 1]), float(vectors[0, 1]))


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp_min(1e-6).sqrt()) @ vectors.T


def retarget(
    field: FlowField, fit: Fit, clip_mask: Float[Tensor, "1 H W"], photo_mask: Float[Tensor, "1 h w"], strength: float
) -> FlowField:
    """The clip's motion (T = 1) on the photo's subject: F(p) = L F_clip(A^-1 p) times `strength`, 0 outside the mask.

    Where the transported field has no confident value inside the subject it is carried on (fill_motion). Vectors keep
    their full length up to the silhouette, whose edge would smear otherwise. Raises InputError when nothing confident
    falls onto the subject.
    """
    size = (photo_mask.shape[-2], photo_mask.shape[-1])
    every = max(1, -(-max(size) // WORK_SIDE_PX))
    coarse = F.max_pool2d((photo_mask[None] > 0).to(photo_mask), every, ceil_mode=True)
    points = pixel_grid(coarse).to(fit.linear) * every + (every - 1) / 2
    flow, trusted = _carried(field, fit, clip_mask, points)
    if not bool((trusted * coarse).any()):
        raise InputError("no confident motion falls onto the photo's subject; choose another --pair or --clip-subject")
    filled, confidence = fill_motion(flow, trusted) * strength, F.avg_pool2d(trusted, 3, stride=1, padding=1)
    if every > 1:
        places = (pixel_grid(photo_mask[None]) - (every - 1) / 2) / every
        filled, confidence = sample(filled, places), sample(confidence, places).clamp(0, 1)
    subject = (photo_mask[None] > 0).to(flow)
    return FlowField(filled * subject, confidence * subject)


def _carried(field: FlowField, fit: Fit, clip_mask: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """The clip's vectors at the photo's `points`, and how far they are to be trusted there."""
    places, known = fit.to_clip(points), field.confidence[:1] * core(clip_mask)[None]
    weight = sample(known, places, padding_mode="zeros").clamp(0, 1)
    flow = sample(field.flow[:1] * known, places, padding_mode="zeros") / weight.clamp_min(1e-6)
    return torch.einsum("ij,bjhw->bihw", fit.linear.to(flow), flow), (weight > 0.5).to(flow) * weight


def core(mask: Float[Tensor, "1 H W"]) -> Float[Tensor, "1 H W"]:
    """A mask without its rim, where flow is mixed with that of what is behind; of thin parts the middle stays."""
    inside = (mask[0] > 0.5).cpu().numpy().astype(np.uint8)
    depth_px = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    rim_px = round(RIM_SHARE * max(inside.shape))
    deepest = cv2.dilate(depth_px, np.ones((2 * rim_px + 1,) * 2, np.uint8))
    return mask * torch.from_numpy(depth_px >= 0.75 * np.minimum(rim_px, deepest)).to(mask)
