"""A photo that is not opaque, its subject moved: the subject's alpha moves with it, over the alpha without it.

Everything else, the sampler too, works on the photo as it is seen over a plain matte, which is taken away again here.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.interpolate import push_pull
from mtransfer.flow.warp import dilate
from mtransfer.media.photo.alpha import lifted
from mtransfer.media.photo.photo import Photo
from mtransfer.sampling.composite import blend, halo_px, make_composite

Alpha = Float[Tensor, "1 1 H W"]


def with_alpha(
    photo: Photo, seen: Float[Tensor, "1 3 H W"], flow: Float[Tensor, "1 2 H W"], mask: Alpha, edit: Alpha
) -> tuple[Float[Tensor, "1 3 H W"], Alpha]:
    """Straight colours and alpha of an edit that is seen over the photo's matte; outside `edit` the photo's own.

    `flow` moves the subject in `mask`; all in [0,1], the flow in pixels.
    """
    assert photo.alpha is not None
    own, colours = photo.alpha[None], photo.colours[None]
    hole = dilate((mask > 0.05).to(own), halo_px(own))
    behind = _filled(own, 1 - hole)
    alpha = blend(own, make_composite(own, flow, mask, behind).image, edit).clamp(0, 1)
    # What no longer shows may still be read by what heeds no alpha: it becomes like what was hidden around it.
    hidden = _filled(colours, (own == 0).to(own) * (1 - hole))
    straight = lifted(seen, alpha, photo.matte, hidden)
    return torch.where(edit > 0, straight, colours), alpha


def _filled(values: Tensor, known: Tensor) -> Tensor:
    """Smoothly across what is not known; 0 where nothing is."""
    return push_pull(values, known) if bool(known.any()) else torch.zeros_like(values)
