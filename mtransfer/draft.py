"""The draft: the subject warped along its flow over the photo with the subject taken out. The sampler's warm start."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.exemplar import fill_exemplar
from mtransfer.warp import forward_warp, vacated_mask

FEATHER_PX = 3
HALO_SHARE = 0.012  # of the long side: how far a subject's blurred edge and contact shadow reach beyond its mask


@dataclass(frozen=True)
class Draft:
    """Image [1,3,H,W] in [0,1] and masks [1,1,H,W] in [0,1].

    `target` is where the subject now is, `vacated` where it was and is no longer (its halo included), `seam` the band
    along the moved silhouette, `edit` all that may change.
    """

    image: Tensor
    target: Tensor
    vacated: Tensor
    seam: Tensor
    edit: Tensor


def make_draft(
    photo: Float[Tensor, "1 3 H W"],
    flow: Float[Tensor, "1 2 H W"],
    mask: Float[Tensor, "1 1 H W"],
    background: Float[Tensor, "1 3 H W"] | None = None,
) -> Draft:
    """Move the masked subject of `photo` along `flow` over the background, by default the photo without its subject."""
    halo = _halo_px(photo)
    hole = grow((mask > 0.05).to(photo), halo)
    warped, target = forward_warp(photo, flow, mask)
    image = target * warped + (1 - target) * (take_out(photo, mask) if background is None else background)
    vacated = vacated_mask(hole, target)
    seam = grow(target, halo) * grow(1 - target, halo)
    # The feather lies outside all that changed: inside, it would mix the subject's old outline back in.
    edit = grow(torch.maximum(grow(target, halo), hole), 2 * FEATHER_PX)
    return Draft(image, target, vacated, seam, edit)


def take_out(photo: Float[Tensor, "1 3 H W"], mask: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "1 3 H W"]:
    """The photo with the masked subject, its halo too, filled from what is around it."""
    return fill_exemplar(photo, grow((mask > 0.05).to(photo), _halo_px(photo)))


def _halo_px(photo: Tensor) -> int:
    return max(2, round(HALO_SHARE * max(photo.shape[-2:])))


def grow(mask: Float[Tensor, "B 1 H W"], width_px: int) -> Float[Tensor, "B 1 H W"]:
    """A mask widened by `width_px` pixels."""
    return F.max_pool2d(mask, 2 * width_px + 1, stride=1, padding=width_px)


def blend(photo: Float[Tensor, "B 3 H W"], edited: Float[Tensor, "B 3 H W"], edit: Tensor) -> Float[Tensor, "B 3 H W"]:
    """`edited` inside the edit mask [B,1,H,W], the photo's own pixels outside, a soft edge just inside the mask."""
    soft = feather((edit > 0).to(photo))
    return torch.where(soft > 0, photo + soft * (edited - photo), photo)


def feather(mask: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
    """A binary mask with a soft edge of twice FEATHER_PX that stays inside it."""
    inside = -grow(-mask, FEATHER_PX)
    padded = F.pad(inside, (FEATHER_PX,) * 4, mode="replicate")
    return F.avg_pool2d(padded, 2 * FEATHER_PX + 1, stride=1).clamp(0, 1)
