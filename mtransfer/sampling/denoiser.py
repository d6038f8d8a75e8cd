"""One face for every denoiser: eps(z, t), whatever the net predicts and whatever else it takes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Prompt:
    """Text embeddings [1,L,D] for and against, and the classifier-free guidance scale."""

    positive: Tensor
    negative: Tensor
    scale: float


@dataclass(frozen=True)
class Denoiser:
    """Calling it with z_t [B,C,h,w] and t gives the noise estimate [B,C,h,w].

    `surround` holds the extra channels of a net that inpaints, in Stable Diffusion's order: the mask [B,1,h,w] (1 = to
    be painted), then the latents of the image around it. A net that inpaints and predicts the clean image is the
    embedded one: it predicts what to add to its surround inside the mask.
    """

    unet: nn.Module
    alphas_cumprod: Tensor
    prediction_type: str  # epsilon, v_prediction or sample
    prompt: Prompt | None = None
    surround: Tensor | None = None

    def __call__(self, z: Float[Tensor, "B C h w"], t: int) -> Float[Tensor, "B C h w"]:
        if self.prompt is None or self.prompt.scale == 1:
            return self._noise(z, t, None if self.prompt is None else self.prompt.positive)
        both = torch.cat([self.prompt.negative, self.prompt.positive]).repeat_interleave(len(z), dim=0)
        against, towards = self._noise(torch.cat([z, z]), t, both).chunk(2)
        return against + self.prompt.scale * (towards - against)

    def _noise(self, z: Tensor, t: int, embeddings: Tensor | None) -> Tensor:
        surround = None if self.surround is None else self.surround.repeat(len(z) // len(self.surround), 1, 1, 1)
        full = z if surround is None else torch.cat([z, surround], dim=1)
        # The loop keeps its latents in float32, whatever the net works in.
        full = full.to(next(self.unet.parameters()).dtype)
        if embeddings is None:
            output = self.unet(full, t).sample
        else:
            output = self.unet(full, t, encoder_hidden_states=embeddings.expand(len(z), -1, -1).to(full)).sample
        return self._as_noise(output.to(z), z, float(self.alphas_cumprod[t]), surround)

    def _as_noise(self, output: Tensor, z: Tensor, a_t: float, surround: Tensor | None) -> Tensor:
        if self.prediction_type == "epsilon":
            return output
        if self.prediction_type == "v_prediction":
            return a_t**0.5 * output + (1 - a_t) ** 0.5 * z
        if surround is not None:
            output = surround[:, 1:] + (surround[:, :1] > 0) * output
        return (z - a_t**0.5 * output) / (1 - a_t) ** 0.5
