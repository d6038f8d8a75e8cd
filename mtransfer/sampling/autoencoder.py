"""A lossless autoencoder: pixels folded into channels, with the interface of diffusers' autoencoders."""

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor


class _Exact:
    """A distribution that is a single point."""

    def __init__(self, latents: Tensor) -> None:
        self._latents = latents

    def mode(self) -> Tensor:
        return self._latents

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self._latents


class AutoencoderSpaceToDepth(ModelMixin, ConfigMixin):
    """float32[B,3,H,W] in [-1,1] <-> float32[B,3*b*b,H/b,W/b], H and W multiples of the block b; exact both ways."""

    @register_to_config
    def __init__(self, block_size: int = 4, scaling_factor: float = 1.0) -> None:
        super().__init__()
        # ModelMixin reads device and dtype off a parameter or buffer.
        self.register_buffer("anchor", torch.zeros(1), persistent=True)

    def encode(self, x: Tensor) -> AutoencoderKLOutput:
        return AutoencoderKLOutput(latent_dist=_Exact(F.pixel_unshuffle(x, self.config["block_size"])))

    def decode(self, z: Tensor) -> DecoderOutput:
        return DecoderOutput(sample=F.pixel_shuffle(z, self.config["block_size"]))
