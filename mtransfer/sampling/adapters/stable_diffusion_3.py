"""Stable Diffusion 3 and 3.5: a transformer that matches flow, with up to three text encoders."""

from typing import Any

import torch
from torch import Tensor, nn

from mtransfer.sampling.denoiser import Text


class StableDiffusion3:
    """SD3Transformer2DModel (Esser et al., arXiv 2403.03206)."""

    def predict(self, net: nn.Module, z: Tensor, t: float, text: Text | None, distilled_scale: float | None) -> Tensor:
        """As `Family.predict`."""
        assert text is not None
        times = torch.full((len(z),), t, device=z.device)
        return net(
            hidden_states=z, timestep=times, encoder_hidden_states=text.tokens, pooled_projections=text.pooled
        ).sample

    @torch.no_grad()
    def encode(self, pipe: Any, prompt: str, negative_prompt: str) -> tuple[Text, Text]:
        """The texts of both prompts, by diffusers."""
        from diffusers import StableDiffusion3Pipeline  # which imports much that other families do without

        encoders = [f"{kind}{number}" for number in ("", "_2", "_3") for kind in ("text_encoder", "tokenizer")]
        parts = ("transformer", "scheduler", "vae", *encoders)
        known = StableDiffusion3Pipeline(**{part: getattr(pipe, part) for part in parts})
        tokens, against, pooled, pooled_against = known.encode_prompt(
            prompt, None, None, device=pipe.text_encoder.device, negative_prompt=negative_prompt
        )
        return Text(tokens, pooled), Text(against, pooled_against)
