"""Where a picture has structure in two directions, so that flow there is sure (Shi and Tomasi, CVPR 1994)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

TEXTURE_PX = 9  # side of the window looked at
LEAST_SLOPE = 1.0  # levels of 255 a pixel, root mean square, in the flatter direction


def texture_mask(picture: Float[Tensor, "3 H W"]) -> Float[Tensor, "1 H W"]:
    """1 where a picture has structure in two directions, so that flow there is sure, else 0."""
    down, across = torch.gradient(255 * picture.mean(dim=0), dim=(0, 1))
    products = torch.stack([across * across, down * down, across * down])[None]
    a, b, c = F.avg_pool2d(products, TEXTURE_PX, stride=1, padding=TEXTURE_PX // 2, count_include_pad=False)[0]
    smaller = (a + b) / 2 - (((a - b) / 2).square() + c.square()).sqrt()
    return (smaller > LEAST_SLOPE**2).to(picture)[None]
