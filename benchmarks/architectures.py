"""The published architectures at their real size, with random weights: their pictures mean nothing, their time does."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    PNDMScheduler,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)

from mtransfer.sampling.denoiser import Text
from mtransfer.sampling.pipeline import MotionGuidedPipeline

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
SIDE_PX = {"sd14": 512, "sd15-inpaint": 512, "sdxl": 1024, "sd35-medium": 1024, "flux-schnell": 1024}
TOKENS = {"sd35-medium": 333, "flux-schnell": 512}  # of a prompt; 77 for the others
WIDTHS = {"sdxl": (2048, 1280), "sd35-medium": (4096, 2048), "flux-schnell": (4096, 768)}  # of tokens, of the whole


def random_pipeline(arch: str, device: torch.device, dtype: torch.dtype) -> MotionGuidedPipeline:
    """A pipeline of an architecture with random weights, made in the precision asked for."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        parts = MAKERS[arch]()
        small = AutoencoderTiny(latent_channels=parts["vae"].config.latent_channels)
    finally:
        torch.set_default_dtype(before)
    pipe = MotionGuidedPipeline(**parts, guidance_vae=small)
    for part in (pipe.net, pipe.vae, pipe.guidance_vae):
        part.requires_grad_(False).to(device)
    return pipe


def random_text(arch: str, device: torch.device) -> Text:
    """A prompt of zeros as the architecture takes it."""
    width, pooled = WIDTHS.get(arch, (768, 0))
    tokens = torch.zeros(1, TOKENS.get(arch, 77), width, device=device)
    return Text(tokens, torch.zeros(1, pooled, device=device) if pooled else None)


def _sd(channels: int = 4) -> dict[str, Any]:
    unet = UNet2DConditionModel(sample_size=64, in_channels=channels, cross_attention_dim=768)
    return {"vae": _vae(4, 0.18215), "unet": unet, "scheduler": PNDMScheduler(**BETAS)}


def _sdxl() -> dict[str, Any]:
    unet = UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    return {"vae": _vae(4, 0.13025), "unet": unet, "scheduler": EulerDiscreteScheduler(**BETAS)}


def _sd35_medium() -> dict[str, Any]:
    net = SD3Transformer2DModel(
        sample_size=128,
        in_channels=16,
        out_channels=16,
        num_layers=24,
        num_attention_heads=24,
        attention_head_dim=64,
        joint_attention_dim=4096,
        caption_projection_dim=1536,
        pooled_projection_dim=2048,
        pos_embed_max_size=384,
        qk_norm="rms_norm",
        dual_attention_layers=tuple(range(13)),
    )
    vae = _vae(16, 1.5305, shift_factor=0.0609)
    return {"vae": vae, "unet": None, "transformer": net, "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0)}


def _flux_schnell() -> dict[str, Any]:
    vae = _vae(16, 0.3611, shift_factor=0.1159)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
    return {"vae": vae, "unet": None, "transformer": FluxTransformer2DModel(), "scheduler": scheduler}


def _vae(channels: int, scaling_factor: float, **more: Any) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
        layers_per_block=2,
        scaling_factor=scaling_factor,
        **more,
    )


MAKERS: dict[str, Callable[[], dict[str, Any]]] = {
    "sd14": _sd,
    "sd15-inpaint": lambda: _sd(9),
    "sdxl": _sdxl,
    "sd35-medium": _sd35_medium,
    "flux-schnell": _flux_schnell,
}
