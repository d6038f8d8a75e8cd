"""A mask that misses what it should cover, drawn to the picture's edges; one that lies on edges is left alone."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.fill import fill_motion
from mtransfer.subject import WORK_SIDE_PX, refine
from mtransfer.warp import grow, shrink

MISSED_SHARE = 0.006  # of the long side: an outline that is off by less is taken at its word
CLEARER = 1.25  # how much stronger the picture's edges must be along the new outline than along the given one


@torch.no_grad()
def snapped(image: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 H W"]) -> Float[Tensor, "1 H W"] | None:
    """`mask` drawn to the edges of `image`, values in [0,1], where it clearly misses them; None where it does not.

    Both must hold: GrabCut finds an outline that lies elsewhere, and the picture has stronger edges along that one. A
    mask of a part of a thing, whose outline crosses the thing, thus stays what it is.
    """
    found = refine(image, mask)
    share = min(1.0, WORK_SIDE_PX / max(image.shape[-2:]))
    size = [max(8, round(side * share)) for side in image.shape[-2:]]
    small, given, drawn = (F.interpolate(each[None], size, mode="area") for each in (image, mask, found))
    edges = _edges(small)
    missed = _distance_px(given, drawn) >= MISSED_SHARE * max(size)
    return found if missed and _along(edges, drawn) > CLEARER * _along(edges, given) else None


def snapped_along(
    photo: Float[Tensor, "1 3 H W"], flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 1 H W"]
) -> tuple[Float[Tensor, "1 2 H W"], Float[Tensor, "1 1 H W"]] | None:
    """The flow carried on over what the mask has gained, 0 outside, and the mask as `snapped`; None where it stays."""
    drawn = snapped(photo[0], mask[0])
    return None if drawn is None else (fill_motion(flow, (mask > 0.5).to(flow)) * (drawn > 0), drawn[None])


def _distance_px(first: Tensor, second: Tensor) -> float:
    """How far apart two outlines lie on average: the area between them by the first one's length."""
    one, other = first > 0.5, second > 0.5
    length = (grow(one.float(), 1) > 0) & ~one
    return float((one ^ other).sum() / length.sum().clamp_min(1))


def _edges(image: Float[Tensor, "1 3 H W"]) -> Float[Tensor, "1 1 H W"]:
    """How steep the picture is at each pixel."""
    smooth = F.avg_pool2d(F.pad(image, (1,) * 4, mode="replicate"), 3, stride=1)
    slopes = torch.cat(torch.gradient(smooth, dim=(2, 3)), dim=1)
    return slopes.square().sum(dim=1, keepdim=True).sqrt()


def _along(edges: Tensor, mask: Tensor) -> float:
    """The mean of `edges` on both sides of a mask's outline; 0 where it has none."""
    inside = (mask > 0.5).to(edges)
    outline = grow(inside, 1) - shrink(inside, 1)
    return float((edges * outline).sum() / outline.sum().clamp_min(1))
