"""The shadow that a subject casts on the ground at its foot moves with it, where there surely is one.

A shadow darkens the ground and leaves its hue. As a soft part of the subject's mask, of which nothing is opaque, it is
carried by the same composite: black, as dense as it is dark.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from mtransfer.flow.field import FlowField
from mtransfer.flow.interpolate import fill_motion, push_pull

WORK_PX = 320  # long side at which a shadow is looked for
GAMMA = 2.2  # of pixels, by which shadows multiply
FOOT, BELOW, BESIDE, GROUND = 0.35, 0.3, 0.7, 1.1  # of the subject: its foot, where shadows fall, what ground is
DARK, HUE = 0.72, 0.06  # of the ground's light at most, and how far from its hue
NEAR_PX, ABOVE_PX = 7, 6  # of the subject, that a shadow touches it, and that it lies below it
LEAST_GROUND_PX = 200
# What a shadow surely is: as large as this share of the subject, touching this share of its width, not running out of
# where shadows fall, on even ground, and neither black nor hardly there.
AREA, LEAST_CONTACT, MOST_OPEN, MOST_UNEVEN, LIGHT = (0.02, 0.8), 0.2, 0.02, 0.6, (0.15, 0.75)
COARSE_PX = 192  # long side at which the motion is carried on


@dataclass(frozen=True, eq=False)
class Shadow:
    """A subject's mask float32[1,H,W] and how dark its shadow is beside it, float32[1,H,W] in [0,1]."""

    subject: Tensor
    darkness: Tensor

    @property
    def whole(self) -> Float[Tensor, "1 H W"]:
        """The subject with its shadow."""
        return torch.maximum(self.subject, self.darkness)

    def follow(self, field: FlowField) -> FlowField:
        """The subject's flow float32[1,2,H,W], carried on into its shadow."""
        mask = (self.subject > 0)[None].to(field.flow)
        scale = min(1.0, COARSE_PX / max(field.size))
        size = [max(2, round(side * scale)) for side in field.size]
        share = F.interpolate(mask, size, mode="area")
        small = F.interpolate(field.flow * mask, size, mode="area") / share.clamp_min(1e-6)
        filled = fill_motion(small, (share > 0.5).to(small))
        larger = F.interpolate(filled, field.size, mode="bilinear", align_corners=False)
        below = (self.darkness > 0)[None].to(larger)
        flow = torch.where(mask > 0, field.flow, larger * below)
        return replace(field, flow=flow, confidence=torch.maximum(field.confidence, below))


def shadow_of(image: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 H W"]) -> Shadow | None:
    """The shadow that the masked subject of an image in [0,1] casts at its foot; None where none is surely there."""
    scale = min(1.0, WORK_PX / max(mask.shape[-2:]))
    size = [max(2, round(side * scale)) for side in mask.shape[-2:]]
    small, subject = (F.interpolate(each[None].cpu(), size, mode="area")[0] for each in (image, mask))
    inside = (subject[0] > 0.3).numpy()
    if not inside.any() or inside[-2:].any():  # a foot beyond the border
        return None
    found = _dark_ground(small.permute(1, 2, 0).numpy(), inside)
    if found is None:
        return None
    larger = F.interpolate(torch.from_numpy(found)[None, None], mask.shape[-2:], mode="bilinear")[0]
    return Shadow(mask, larger.to(mask) * (1 - mask))


def _dark_ground(image: ndarray, inside: ndarray) -> ndarray | None:
    """How dark the shadow is [h,w], of a small picture and its subject."""
    falls, ground, near = _zones(inside)
    if ground.sum() < LEAST_GROUND_PX:
        return None
    light = image.astype(np.float32) ** GAMMA + 1e-3
    level, hue = np.log(light.mean(axis=2)), light / light.sum(axis=2, keepdims=True)
    lit, own_hue = (_carried_on(values, ground) for values in (cv2.GaussianBlur(level, (0, 0), 2), hue))
    share = np.exp(level - lit)
    uneven = float(np.std((level - cv2.GaussianBlur(level, (0, 0), 12))[ground]))
    alike = np.abs(cv2.GaussianBlur(hue - own_hue, (0, 0), 1)).max(axis=2) < HUE
    dark = falls & ~inside & alike & (cv2.GaussianBlur(share, (0, 0), 1) < DARK)
    region = _at_the_foot(dark, inside)
    if not region.any() or region[:, (0, -1)].any() or region[-1].any():  # what the border cuts off is not known
        return None
    open_ = region & (cv2.erode(falls.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0) & ~near
    columns = np.flatnonzero(inside.any(axis=0))
    touching = region & _dilated(inside, NEAR_PX)
    surely = (
        AREA[0] < region.sum() / inside.sum() < AREA[1]
        and touching.any(axis=0).sum() > LEAST_CONTACT * (columns[-1] + 1 - columns[0])
        and open_.sum() < MOST_OPEN * region.sum()
        and uneven < MOST_UNEVEN
        and LIGHT[0] < share[region].mean() < LIGHT[1]
    )
    if not surely:
        return None
    # What is added as light is seen by its gamma; the passage to lit ground belongs to the shadow.
    soft = cv2.GaussianBlur(_dilated(region, 3).astype(np.float32), (0, 0), 1)
    return np.asarray(soft * (1 - np.clip(share, 0, 1) ** (1 / GAMMA)), np.float32)


def _zones(inside: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """Where the subject's shadow may fall, the lit ground beside that, and what is next to the subject."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    high, wide = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    large, bottom = max(high, wide), rows[-1] + 1
    y, x = np.mgrid[: inside.shape[0], : inside.shape[1]]

    def about(below: float, beside: float) -> ndarray:
        wanted = (y >= bottom - FOOT * high) & (y < bottom + below * large)
        return np.asarray(wanted & (x >= columns[0] - beside * large) & (x < columns[-1] + 1 + beside * large))

    falls, near = about(BELOW, BESIDE), _dilated(inside, 5)
    return falls, about(2 * BELOW, GROUND) & ~falls & ~near, near


def _at_the_foot(dark: ndarray, inside: ndarray) -> ndarray:
    """What is dark, connected, and touches the subject from below."""
    above = np.zeros_like(inside)
    for step in (ABOVE_PX // 2, ABOVE_PX):
        above[step:] |= inside[:-step]
    count, labels = cv2.connectedComponents(dark.astype(np.uint8), connectivity=4)
    touched = np.unique(labels[dark & above & _dilated(inside, NEAR_PX)])
    return np.asarray(np.isin(labels, touched[touched > 0])) if count > 1 else np.zeros_like(dark)


def _carried_on(values: ndarray, known: ndarray) -> ndarray:
    """Values [h,w] or [h,w,C], carried on smoothly from where they are known."""
    channels = torch.from_numpy(np.ascontiguousarray(np.atleast_3d(values).transpose(2, 0, 1)))[None]
    filled = push_pull(channels, torch.from_numpy(known.astype(np.float32))[None, None])
    return np.asarray(filled[0].permute(1, 2, 0).numpy().reshape(values.shape))


def _dilated(region: ndarray, width_px: int) -> ndarray:
    return np.asarray(cv2.dilate(region.astype(np.uint8), np.ones((width_px, width_px), np.uint8)) > 0)
