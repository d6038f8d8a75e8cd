"""Stable Diffusion XL, its inpainting and distilled nets: two text encoders, and the picture's size as a condition."""

from typing import Any

import torch
from torch import Tensor, nn

from mtransfer.sampling.adapters.layouts import CELL_PX
from mtransfer.sampling.adapters.stable_diffusion import scale_condition
from mtransfer.sampling.denoiser import Text


class StableDiffusionXL:
    """UNet2DConditionModel with added conditions (Podell et al., arXiv 2307.01952)."""

    def predict(self, net: nn.Module, z: Tensor, t: float, text: Text | None, distilled_scale: float | None) -> Tensor:
        """As `Family.predict`; the picture is said to be whole and of the size that it has."""
        assert text is not None
        height, width = (CELL_PX * side for side in z.shape[-2:])
        sizes = z.new_tensor([height, width, 0, 0, height, width]).expand(len(z), -1)
        return net(
            z,
            t,
            encoder_hidden_states=text.tokens,
            added_cond_kwargs={"text_embeds": text.pooled, "time_ids": sizes},
            **scale_condition(net, z, distilled_scale),
        ).sample

    @torch.no_grad()
    def encode(self, pipe: Any, prompt: str, negative_prompt: str) -> tuple[Text, Text]:
        """The texts of both prompts, by diffusers; none against is zeros."""
        from diffusers import StableDiffusionXLPipeline  # which imports much that other families do without

        parts = ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "scheduler")
        known = StableDiffusionXLPipeline(**{part: getattr(pipe, part) for part in parts}, add_watermarker=False)
        tokens, against, pooled, pooled_against = known.encode_prompt(
            prompt, device=pipe.text_encoder.device, negative_prompt=negative_prompt or None
        )
        return Text(tokens, pooled), Text(against, pooled_against)
