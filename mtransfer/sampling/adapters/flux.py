"""FLUX.1: a transformer that matches flow over packed latents, told its guidance scale instead of run twice."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.sampling.denoiser import Text
from mtransfer.sampling.settings import TRAINED


class Flux:
    """FluxTransformer2DModel; every 2 x 2 cells are one token of it."""

    def predict(self, net: Any, z: Tensor, t: float, text: Text | None, distilled_scale: float | None) -> Tensor:
        """As `Family.predict`."""
        assert text is not None
        rows, columns = (side // 2 for side in z.shape[-2:])
        places = torch.zeros(rows, columns, 3, device=z.device, dtype=z.dtype)
        places[..., 1] += torch.arange(rows, device=z.device)[:, None]
        places[..., 2] += torch.arange(columns, device=z.device)[None]
        told = distilled_scale if net.config.guidance_embeds else None
        output = net(
            hidden_states=F.pixel_unshuffle(z, 2).flatten(2).transpose(1, 2),
            timestep=torch.full((len(z),), t / TRAINED, device=z.device, dtype=z.dtype),
            guidance=None if told is None else torch.full((len(z),), told, device=z.device),
            encoder_hidden_states=text.tokens,
            pooled_projections=text.pooled,
            txt_ids=torch.zeros(text.tokens.shape[1], 3, device=z.device, dtype=z.dtype),
            img_ids=places.flatten(0, 1),
        ).sample
        return F.pixel_shuffle(output.transpose(1, 2).unflatten(2, (rows, columns)), 2)

    @torch.no_grad()
    def encode(self, pipe: Any, prompt: str, negative_prompt: str) -> tuple[Text, Text]:
        """The prompt's text, by diffusers, for both: nets that were distilled are not guided away from another."""
        from diffusers import FluxPipeline  # which imports much that other families do without

        parts = ("scheduler", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "transformer")
        known = FluxPipeline(**{part: getattr(pipe, part) for part in parts})
        tokens, pooled, _ = known.encode_prompt(prompt, None, device=pipe.text_encoder.device)
        return Text(tokens, pooled), Text(tokens, pooled)
