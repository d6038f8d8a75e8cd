"""Masks drawn to the picture's edges: by GrabCut at working size, by the guided filter at full size.

The guided filter of He, Sun and Tang (PAMI 2013) with colours as guide, its coefficients found at the small size (He
and Sun, Fast guided filter, 2015).
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from mtransfer.flow.interpolate import fill_motion
from mtransfer.flow.warp import dilate, erode
from mtransfer.media.quantize import to_uint8
from mtransfer.subject.detection.saliency import saliency
from mtransfer.subject.grabcut import WORK_SIDE_PX, cut_out, mask_seed
from mtransfer.subject.regions import bounding_box, overlap, with_margin

MISSED_SHARE = 0.006  # of the long side: an outline that is off by less is taken at its word
CLEARER = 1.25  # how much stronger the picture's edges must be along the new outline than along the given one
SURROUNDINGS = 0.25  # of the masks' size, on every side, in which saliency is looked at
MORE_ALIKE = 0.03  # overlap with what is salient
REACH_PX = 2  # of the small size: how far the outline may be off
SMALLEST_VARIANCE = 1e-3  # of colours in [0,1]: what differs less is one thing
CONTRAST = 1.6  # takes back the haze that the filter leaves on both sides


def working_scale(image: Float[Tensor, "3 H W"]) -> float:
    """How large the picture is at working size, over its own size."""
    return min(1.0, WORK_SIDE_PX / max(image.shape[-2:]))


def working_copy(image: Float[Tensor, "3 H W"]) -> NDArray[np.uint8]:
    """The picture at working size, uint8[h,w,3] RGB."""
    small = F.interpolate(image[None], _working_size(image), mode="area")[0]
    return to_uint8(small)


def grabcut_mask(
    image: Float[Tensor, "3 H W"], seed: NDArray[np.uint8], keep: NDArray[np.bool_]
) -> Float[Tensor, "1 H W"]:
    """As `grabcut.cut_out` from a seed at working size, at the picture's size: in [0,1], empty where it fails."""
    found = cut_out(working_copy(image), seed, keep)
    if not found.any():
        return torch.zeros_like(image[:1])
    mask = torch.from_numpy(found.astype(np.float32))[None].to(image)
    return mask if mask.shape[-2:] == image.shape[-2:] else enlarge_mask(image, mask)


def refine(
    image: Float[Tensor, "3 H W"],
    rough: Float[Tensor, "1 H W"],
    sure: Float[Tensor, "1 H W"] | None = None,
    *,
    keep: float = 0.4,
) -> Float[Tensor, "1 H W"]:
    """A rough mask drawn to the edges of the picture by GrabCut; as it is where the two overlap by less than `keep`.

    Where the mask is `sure` (default: nowhere) it stays, whatever the colours there.
    """
    core = _at_working_size(image, rough)
    seed = mask_seed(core, None if sure is None else _at_working_size(image, sure))
    mask = grabcut_mask(image, seed, core)
    both, either = torch.minimum(mask, rough).sum(), torch.maximum(mask, rough).sum()
    return mask if float(both / either.clamp_min(1)) > keep else rough


@torch.no_grad()
def snapped(image: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 H W"]) -> Float[Tensor, "1 H W"] | None:
    """`mask` drawn to the edges of `image`, values in [0,1], where it clearly misses them; None where it does not.

    All must hold: GrabCut finds an outline that lies elsewhere, the picture has stronger edges along that one, and what
    stands out about the mask is more like it than like the mask. A mask of a part of a thing, whose outline crosses the
    thing, thus stays what it is, and so does a good mask of what has the colours of its background.
    """
    found = refine(image, mask)
    size = _working_size(image)
    small, given, drawn = (F.interpolate(each[None], size, mode="area") for each in (image, mask, found))
    edges = _edges(small)
    missed = _distance_px(given, drawn) >= MISSED_SHARE * max(size)
    clearer = missed and _along(edges, drawn) > CLEARER * _along(edges, given)
    return found if clearer and stands_out_more(small[0], drawn[0], given[0]) else None


def stands_out_more(
    image: Float[Tensor, "3 H W"], drawn: Float[Tensor, "1 H W"], given: Float[Tensor, "1 H W"]
) -> bool:
    """Whether what is salient in `image` about two masks is clearly more like `drawn` than like `given`."""
    one, other = (each[0].cpu().numpy() > 0.5 for each in (drawn, given))
    if not one.any():
        return False
    box = with_margin(bounding_box(one | other), SURROUNDINGS, (image.shape[-2], image.shape[-1]))
    rows, columns = slice(box[1], box[3]), slice(box[0], box[2])
    crop = np.ascontiguousarray(to_uint8(image[:, rows, columns]))
    salient = cv2.resize(saliency(crop).values, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5
    return overlap(one[rows, columns], salient) > overlap(other[rows, columns], salient) + MORE_ALIKE


def snapped_along(
    photo: Float[Tensor, "1 3 H W"], flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 1 H W"]
) -> tuple[Float[Tensor, "1 2 H W"], Float[Tensor, "1 1 H W"]] | None:
    """The flow carried on over what the mask has gained, 0 outside, and the mask as `snapped`; None where it stays."""
    drawn = snapped(photo[0], mask[0])
    return None if drawn is None else (fill_motion(flow, (mask > 0.5).to(flow)) * (drawn > 0), drawn[None])


def enlarge_mask(image: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 h w"]) -> Float[Tensor, "1 H W"]:
    """A binary mask at the size of its picture, soft-edged, in [0,1]; away from its outline it stays what it is."""
    guide = F.interpolate(image[None], mask.shape[-2:], mode="area")
    outline = dilate(mask[None], REACH_PX) * dilate(1 - mask[None], REACH_PX)
    slope, offset = _coefficients(guide, mask[None])
    large = F.interpolate(
        torch.cat([slope, offset, mask[None], outline], dim=1), image.shape[-2:], mode="bilinear", align_corners=False
    )[0]
    drawn = (large[:3] * image).sum(dim=0, keepdim=True) + large[3:4]
    drawn = (0.5 + CONTRAST * (drawn - 0.5)).clamp(0, 1)
    return torch.where(large[5:] > 0, drawn, large[4:5])


def _working_size(image: Tensor) -> list[int]:
    return [max(8, round(side * working_scale(image))) for side in image.shape[-2:]]


def _at_working_size(image: Tensor, mask: Tensor) -> NDArray[np.bool_]:
    size = _working_size(image)[::-1]
    return cv2.resize(mask[0].cpu().numpy(), size, interpolation=cv2.INTER_AREA) > 0.5


def _distance_px(first: Tensor, second: Tensor) -> float:
    """How far apart two outlines lie on average: the area between them by the first one's length."""
    one, other = first > 0.5, second > 0.5
    length = (dilate(one.float(), 1) > 0) & ~one
    return float((one ^ other).sum() / length.sum().clamp_min(1))


def _edges(image: Float[Tensor, "1 3 H W"]) -> Float[Tensor, "1 1 H W"]:
    """How steep the picture is at each pixel."""
    smooth = F.avg_pool2d(F.pad(image, (1,) * 4, mode="replicate"), 3, stride=1)
    slopes = torch.cat(torch.gradient(smooth, dim=(2, 3)), dim=1)
    return slopes.square().sum(dim=1, keepdim=True).sqrt()


def _along(edges: Tensor, mask: Tensor) -> float:
    """The mean of `edges` on both sides of a mask's outline; 0 where it has none."""
    inside = (mask > 0.5).to(edges)
    outline = dilate(inside, 1) - erode(inside, 1)
    return float((edges * outline).sum() / outline.sum().clamp_min(1))


def _coefficients(guide: Float[Tensor, "1 3 h w"], mask: Float[Tensor, "1 1 h w"]) -> tuple[Tensor, Tensor]:
    """Slope [1,3,h,w] and offset [1,1,h,w] of the mask as a linear function of the colours around each pixel."""
    colour, share = _mean(guide), _mean(mask)
    across = _mean(guide * mask) - colour * share
    products = _mean((guide[:, :, None] * guide[:, None]).flatten(1, 2)).unflatten(1, (3, 3))
    variance = (products - colour[:, :, None] * colour[:, None]).permute(0, 3, 4, 1, 2)
    damped = variance + SMALLEST_VARIANCE * torch.eye(3).to(guide)
    slope = torch.linalg.solve(damped, across.permute(0, 2, 3, 1)[..., None])[..., 0].permute(0, 3, 1, 2)
    return _mean(slope), _mean(share - (slope * colour).sum(dim=1, keepdim=True))


def _mean(values: Float[Tensor, "1 C h w"]) -> Float[Tensor, "1 C h w"]:
    """Over the window around each pixel."""
    padded = F.pad(values, (REACH_PX,) * 4, mode="replicate")
    return F.avg_pool2d(padded, 2 * REACH_PX + 1, stride=1)
