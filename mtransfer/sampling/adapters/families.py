"""Which family a pipeline's net is of, told by the net itself."""

from typing import Any

from mtransfer.sampling.adapters.flux import Flux
from mtransfer.sampling.adapters.sdxl import StableDiffusionXL
from mtransfer.sampling.adapters.stable_diffusion import StableDiffusion
from mtransfer.sampling.adapters.stable_diffusion_3 import StableDiffusion3
from mtransfer.sampling.denoiser import Family

TRANSFORMERS: dict[str, Family] = {"SD3Transformer2DModel": StableDiffusion3(), "FluxTransformer2DModel": Flux()}


def family_of(net: Any) -> Family:
    """The family of a denoising net of diffusers."""
    if known := TRANSFORMERS.get(type(net).__name__):
        return known
    added = getattr(net, "config", {}).get("addition_embed_type")
    return StableDiffusionXL() if added == "text_time" else StableDiffusion()


def is_distilled(net: Any) -> bool:
    """Whether a net is told its guidance scale, or takes none, and so is never run twice."""
    config = getattr(net, "config", {})
    return isinstance(family_of(net), Flux) or config.get("time_cond_proj_dim") is not None


def own_sigmas(net: Any, steps: int) -> list[float] | None:
    """The noise levels at which a family steps where its scheduler does not say so, before they are shifted."""
    return [1 - index / steps for index in range(steps)] if isinstance(family_of(net), Flux) else None
