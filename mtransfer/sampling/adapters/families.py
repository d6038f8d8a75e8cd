"""Which family a pipeline's net is of, told by the net itself."""

from typing import Any

from mtransfer.sampling.adapters import layouts
from mtransfer.sampling.adapters.flux import Flux
from mtransfer.sampling.adapters.sdxl import StableDiffusionXL
from mtransfer.sampling.adapters.stable_diffusion import StableDiffusion
from mtransfer.sampling.adapters.stable_diffusion_3 import StableDiffusion3
from mtransfer.sampling.denoiser import Family

FAMILIES: dict[layouts.Layout, Family] = {
    layouts.STABLE_DIFFUSION: StableDiffusion(),
    layouts.STABLE_DIFFUSION_XL: StableDiffusionXL(),
    layouts.STABLE_DIFFUSION_3: StableDiffusion3(),
    layouts.FLUX: Flux(),
}


def family_of(net: Any) -> Family:
    """The family of a denoising net of diffusers."""
    return FAMILIES[layouts.layout_of_net(type(net).__name__, getattr(net, "config", {}))]


def is_distilled(net: Any) -> bool:
    """Whether a net is told its guidance scale, or takes none, and so is never run twice."""
    config = getattr(net, "config", {})
    return isinstance(family_of(net), Flux) or config.get("time_cond_proj_dim") is not None


def own_sigmas(net: Any, steps: int) -> list[float] | None:
    """The noise levels at which a family steps where its scheduler does not say so, before they are shifted."""
    return [1 - index / steps for index in range(steps)] if isinstance(family_of(net), Flux) else None
