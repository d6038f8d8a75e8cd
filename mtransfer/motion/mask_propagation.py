"""Subjects' masks carried through a clip by flow, and found again by MobileSAM in every few frames."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from mtransfer.flow.field import FlowField
from mtransfer.flow.long_range import Links, Pictures
from mtransfer.flow.warp import backward_warp, dilate
from mtransfer.subject.detection.completion import find_again
from mtransfer.subject.detection.picture import Picture
from mtransfer.subject.mask_refinement import refine

EVERY, QUICK_EVERY = 2, 6  # links between frames in which subjects are found again
GONE_PX = 16
SAME = 0.7  # overlap of a mask and its refinement, below which the refinement strayed
STRAY_SHARE = 0.03  # of the long side: how far a tracked silhouette may be off


def track(
    masks: Float[Tensor, "S H W"],
    links: Links,
    pictures: Pictures,
    start: int,
    wanted: Sequence[int],
    *,
    quick: bool = False,
) -> Bool[Tensor, "T S H W"]:
    """Subjects' masks in picture `start` carried along the links to each of `wanted`, and found again on the way.

    `quick`, to tell how they move: found again more seldom, and not drawn to the picture's edges.
    """
    found, every = {start: masks}, QUICK_EVERY if quick else EVERY
    for towards in (1, -1):
        last = max((towards * index for index in wanted), default=start) * towards
        carried = masks
        for index in range(start, last, towards):
            there = index + towards
            back = links.step(there, -towards, carried).flow
            carried = backward_warp(carried[None], back, padding_mode="zeros")[0]
            if abs(there - start) % every == 0 or there == last:
                carried = _found_again(pictures[there], carried, quick=quick)
            found[there] = carried
    return torch.stack([found[index].cpu() > 0.5 for index in wanted])


def within(
    field: FlowField, subjects: Float[Tensor, "1 H W"], masks: Bool[Tensor, "T S H W"]
) -> Float[Tensor, "T 1 H W"]:
    """The field's confidence, 0 for points of the subjects that it takes well out of their tracked masks."""
    reach = max(2, round(STRAY_SHARE * max(field.size)))
    there = dilate(masks.any(dim=1, keepdim=True).to(field.flow), reach)
    stays = backward_warp(there, field.flow, padding_mode="border") > 0.5
    return field.confidence * torch.where(subjects[None] > 0, stays.to(field.flow), 1.0)


def _found_again(
    picture: UInt8[Tensor, "3 H W"], masks: Float[Tensor, "S H W"], *, quick: bool
) -> Float[Tensor, "S H W"]:
    """Masks drawn anew where their objects are seen; an object that is nearly gone stays as it was carried."""
    seen = Picture(np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy()))
    image = picture.to(masks) / 255
    redrawn = []
    for mask in masks:
        if float(mask.sum()) >= GONE_PX:
            region = find_again(seen, seen.on_small_grid(mask.cpu().numpy()))
            found = torch.from_numpy(seen.on_full_grid(region)).to(mask)[None]
            mask = (found if quick else refine(image, found, keep=SAME))[0]
        redrawn.append(mask)
    return torch.stack(redrawn)
