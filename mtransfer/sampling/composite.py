"""The draft: the subject warped along its flow over the photo with the subject taken out. The sampler's warm start."""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.warp import INVERTED_SIDE_PX, dilate, forward_warp, vacated_mask
from mtransfer.media.border import extended, extension_px, without_extension
from mtransfer.media.crop import swept, window
from mtransfer.sampling.patchmatch import WORK_SIDE_PX, fill_exemplar

FEATHER_PX = 3
STRIP = 4  # times the short side: a longer picture is one of many things, not of a larger one
SURROUNDINGS_SHARE = 1.0  # of a hole, on every side, from which it is filled
HALO_SHARE = 0.012  # of the long side: how far a subject's blurred edge and contact shadow reach beyond its mask


@dataclass(frozen=True)
class WarpComposite:
    """Image [1,3,H,W] in [0,1] and masks [1,1,H,W] in [0,1].

    `target` is where the subject now is, `vacated` where it was and is no longer (its halo included), `seam` the band
    along the moved silhouette, `edit` all that may change.
    """

    image: Tensor
    target: Tensor
    vacated: Tensor
    seam: Tensor
    edit: Tensor


def make_composite(
    photo: Float[Tensor, "1 C H W"],
    flow: Float[Tensor, "1 2 H W"],
    mask: Float[Tensor, "1 1 H W"],
    background: Float[Tensor, "1 C H W"] | None = None,
    inverted_side_px: int = INVERTED_SIDE_PX,
) -> WarpComposite:
    """Move the masked subject of `photo` along `flow` over the background, by default the photo without its subject.

    A subject that the border cuts off, and that moves away from it, is mirrored there. `inverted_side_px` as in
    `forward_warp`.
    """
    behind, halo = remove_subject(photo, mask) if background is None else background, halo_px(photo)
    sides = extension_px(flow, mask)
    if not any(sides):
        return _inside_composite(photo, flow, mask, behind, halo, inverted_side_px)
    larger = extended(photo, sides), extended(flow, sides, "replicate"), extended(mask, sides), extended(behind, sides)
    composite = _inside_composite(*larger, halo, inverted_side_px)
    parts = {part.name: without_extension(getattr(composite, part.name), sides) for part in fields(WarpComposite)}
    return WarpComposite(**parts)


def _inside_composite(
    photo: Tensor, flow: Tensor, mask: Tensor, behind: Tensor, halo: int, inverted_side_px: int
) -> WarpComposite:
    """The composite worked out where the subject is and where it goes."""
    rows, columns = swept(flow, mask, 2 * halo + 3 * FEATHER_PX)
    there = _draft(
        *(each[..., rows, columns] for each in (photo, flow, mask, behind)), halo=halo, side_px=inverted_side_px
    )
    pictures = {"image": behind.clone()} | {part.name: torch.zeros_like(mask) for part in fields(WarpComposite)[1:]}
    for name, picture in pictures.items():
        picture[..., rows, columns] = getattr(there, name)
    return WarpComposite(**pictures)


def _draft(photo: Tensor, flow: Tensor, mask: Tensor, background: Tensor, *, halo: int, side_px: int) -> WarpComposite:
    hole = dilate((mask > 0.05).to(photo), halo)
    # Premultiplied (Porter and Duff, 1984), so that a soft edge does not take along what was behind it.
    alone = torch.minimum((photo - (1 - mask) * background).clamp_min(0), mask)
    warped, target = forward_warp(alone, flow, mask, side_px)
    image = torch.minimum(warped, target) + (1 - target) * background
    vacated = vacated_mask(hole, target)
    seam = dilate(target, halo) * dilate(1 - target, halo)
    # The feather lies outside all that changed: inside, it would mix the subject's old outline back in.
    edit = dilate(torch.maximum(dilate(target, halo), hole), 2 * FEATHER_PX)
    return WarpComposite(image, target, vacated, seam, edit)


def remove_subject(photo: Float[Tensor, "1 3 H W"], mask: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "1 3 H W"]:
    """The photo with the masked subject, its halo too, filled from what is around it."""
    return inpaint(photo, dilate((mask > 0.05).to(photo), halo_px(photo)))


def inpaint(photo: Float[Tensor, "1 3 H W"], hole: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "1 3 H W"]:
    """The photo in [0,1] with `hole` (1 = unknown) filled from what is around it."""
    filled, (rows, columns) = photo.clone(), window(hole, SURROUNDINGS_SHARE, WORK_SIDE_PX)
    filled[..., rows, columns] = fill_exemplar(photo[..., rows, columns], hole[..., rows, columns])
    return filled


def halo_px(photo: Tensor) -> int:
    """How far, in pixels, a subject's blurred edge and contact shadow reach beyond its mask."""
    return max(2, round(HALO_SHARE * min(max(photo.shape[-2:]), STRIP * min(photo.shape[-2:]))))


def blend(photo: Float[Tensor, "B C H W"], edited: Float[Tensor, "B C H W"], edit: Tensor) -> Float[Tensor, "B C H W"]:
    """`edited` inside the edit mask [B,1,H,W], the photo's own pixels outside, a soft edge just inside the mask."""
    soft = feather((edit > 0).to(photo))
    return torch.where(soft > 0, photo + soft * (edited - photo), photo)


def feather(mask: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
    """A binary mask with a soft edge of twice FEATHER_PX that stays inside it."""
    inside = -dilate(-mask, FEATHER_PX)
    padded = F.pad(inside, (FEATHER_PX,) * 4, mode="replicate")
    return F.avg_pool2d(padded, 2 * FEATHER_PX + 1, stride=1).clamp(0, 1)
