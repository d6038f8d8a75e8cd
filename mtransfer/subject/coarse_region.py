"""Regions drawn coarsely about things, a rectangle or a loose polygon: what is in them, without the ground."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.warp import erode
from mtransfer.media.quantize import to_uint8
from mtransfer.subject.detection.outline import draw_outline
from mtransfer.subject.detection.picture import Picture
from mtransfer.subject.detection.salient_objects import find_objects
from mtransfer.subject.outline_edges import outline_edges
from mtransfer.subject.regions import common_px

PLAIN = 0.5  # of the outline, that runs where the photo shows no edge
ALL = 0.95  # of the picture: all of it moves, objects and ground
HELD = 0.6  # of an object, that must lie in the region
LEAST, MOST = 0.15, 0.92  # of the region, that is of objects: less, and it is not about them; more, and it is a mask
OTHER = 0.2  # of what stands out in the region, that is of no object in it
SOFT = 0.08  # of the region's size: the width over which its edge fades where it holds no object


def drawn_to_objects(
    image: Float[Tensor, "3 H W"], region: Float[Tensor, "1 H W"], *, is_coarse: bool = False
) -> Float[Tensor, "1 H W"] | None:
    """The mask in [0,1] of what a coarse region of `image`, in [0,1], is about: the salient objects in it.

    Of an object of which it holds but a part that part; where it holds none, the region with a wide soft edge. None
    where, unless it is known to be coarse, its outline follows edges of the photo. Raises ModelError when the weights
    are missing.
    """
    if not (is_coarse or _runs_over_plain_ground(image, region)):
        return None
    picture = Picture(to_uint8(image))
    there = picture.on_small_grid(np.ascontiguousarray(region[0].float().cpu().numpy()))
    found = find_objects(picture)
    inside = [each for each in found if common_px(each, there) > HELD * each.sum()]
    kept = inside or [each for each in found if common_px(each, there) > LEAST * there.sum()][:1]
    objects = np.any([np.zeros_like(there), *kept], axis=0)
    salient = picture.salient.region & there
    if common_px(objects, there) < LEAST * there.sum() or common_px(salient, ~objects) > OTHER * salient.sum():
        return _with_soft_edge(region)
    if not is_coarse and common_px(objects, there) > MOST * there.sum():
        return None
    mask = torch.from_numpy(draw_outline(picture, objects))[None].to(region)
    return mask if inside else mask * region


def _with_soft_edge(region: Float[Tensor, "1 H W"]) -> Float[Tensor, "1 H W"]:
    """A region whose edge fades inwards; at the picture's border it does not."""
    width_px = max(1, round(SOFT * float((region > 0).sum()) ** 0.5))
    inner = erode(region[None], width_px // 2)
    padded = F.pad(inner, (width_px // 2,) * 4, mode="replicate")
    return F.avg_pool2d(padded, 2 * (width_px // 2) + 1, stride=1)[0]


def _runs_over_plain_ground(image: Float[Tensor, "3 H W"], region: Float[Tensor, "1 H W"]) -> bool:
    outline = outline_edges(image, region) if float(region.mean()) < ALL else None
    return outline is not None and bool((outline.plain | outline.at_border).mean() > PLAIN)
