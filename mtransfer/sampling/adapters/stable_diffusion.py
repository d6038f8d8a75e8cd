"""Stable Diffusion 1 and 2, what inpaints or is distilled of them, and nets without text such as the embedded one."""

from typing import Any

import torch
from torch import Tensor, nn

from mtransfer.sampling.denoiser import Text

EMBEDDED_SCALE_FACTOR = 1000.0  # of a guidance scale that a net is told (Meng et al., arXiv 2210.03142)


class StableDiffusion:
    """UNet2DConditionModel and UNet2DModel: text by cross attention, extra channels beside the latents."""

    def predict(self, net: nn.Module, z: Tensor, t: float, text: Text | None, distilled_scale: float | None) -> Tensor:
        """As `Family.predict`."""
        if text is None:
            return net(z, t).sample
        return net(z, t, encoder_hidden_states=text.tokens, **scale_condition(net, z, distilled_scale)).sample

    @torch.no_grad()
    def encode(self, pipe: Any, prompt: str, negative_prompt: str) -> tuple[Text, Text]:
        """The texts of both prompts."""
        positive, negative = (Text(self._embedded(pipe, text)) for text in (prompt, negative_prompt))
        return positive, negative

    def _embedded(self, pipe: Any, text: str) -> Tensor:
        length = pipe.tokenizer.model_max_length
        tokens = pipe.tokenizer(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        embeddings: Tensor = pipe.text_encoder(tokens.input_ids.to(pipe.text_encoder.device))[0]
        return embeddings


def scale_condition(net: nn.Module, z: Tensor, scale: float | None) -> dict[str, Tensor]:
    """What tells a latent consistency net its guidance scale; nothing for other nets."""
    width = getattr(net, "config", {}).get("time_cond_proj_dim")
    if width is None or scale is None:
        return {}
    half = width // 2
    steps = torch.exp(torch.arange(half, device=z.device) * -(torch.log(torch.tensor(10000.0)) / (half - 1)))
    waves = EMBEDDED_SCALE_FACTOR * (scale - 1) * steps[None]
    return {"timestep_cond": torch.cat([waves.sin(), waves.cos()], dim=1).to(z).expand(len(z), -1)}
