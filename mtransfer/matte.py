"""A mask found at a small size, drawn along the edges of the large picture: as smooth and as soft as they are.

The guided filter of He, Sun and Tang (PAMI 2013) with colours as guide, its coefficients found at the small size (He
and Sun, Fast guided filter, 2015).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.warp import grow

REACH_PX = 2  # of the small size: how far the outline may be off
SMALLEST_VARIANCE = 1e-3  # of colours in [0,1]: what differs less is one thing
CONTRAST = 1.6  # takes back the haze that the filter leaves on both sides


def enlarge_mask(image: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 h w"]) -> Float[Tensor, "1 H W"]:
    """A binary mask at the size of its picture, soft-edged, in [0,1]; away from its outline it stays what it is."""
    guide = F.interpolate(image[None], mask.shape[-2:], mode="area")
    outline = grow(mask[None], REACH_PX) * grow(1 - mask[None], REACH_PX)
    slope, offset = _coefficients(guide, mask[None])
    large = F.interpolate(
        torch.cat([slope, offset, mask[None], outline], dim=1), image.shape[-2:], mode="bilinear", align_corners=False
    )[0]
    drawn = (large[:3] * image).sum(dim=0, keepdim=True) + large[3:4]
    drawn = (0.5 + CONTRAST * (drawn - 0.5)).clamp(0, 1)
    return torch.where(large[5:] > 0, drawn, large[4:5])


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
