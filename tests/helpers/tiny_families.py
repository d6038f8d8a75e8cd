"""Every model family with tiny random networks: its parts, as diffusers' own pipelines take them."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    LCMScheduler,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from tiny_sd import TEXT_WIDTH, build_text_encoder, build_tokenizer, build_unet, build_vae
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
SCALE_WIDTH = 32  # of the embedding by which a latent consistency net is told its guidance scale
FAMILIES = ("sd", "sd-v", "sd-inpaint", "lcm", "sdxl", "sdxl-inpaint", "turbo", "lightning", "sd3", "flux", "flux-dev")


def parts_of(family: str, folder: Path) -> dict[str, Any]:
    """The parts of a tiny model by diffusers' names; `folder` is where its tokenizers are written."""
    torch.manual_seed(0)
    made = {"sd3": _sd3, "flux": _flux, "flux-dev": _flux}.get(family, _with_unet)(family, folder)
    for part in made.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    return made


def _with_unet(family: str, folder: Path) -> dict[str, Any]:
    large = family.startswith("sdxl") or family in ("turbo", "lightning")
    channels = 9 if family.endswith("inpaint") else 4
    parts = {"vae": _vae(4), "tokenizer": build_tokenizer(folder / "tokenizer"), "text_encoder": build_text_encoder()}
    if large:
        second = build_text_encoder(CLIPTextModelWithProjection)
        parts |= {"tokenizer_2": build_tokenizer(folder / "tokenizer_2"), "text_encoder_2": second}
        parts["unet"] = _sdxl_unet(channels)
    else:
        parts["unet"] = build_unet(channels, time_cond_proj_dim=SCALE_WIDTH if family == "lcm" else None)
    return parts | {"scheduler": _unet_scheduler(family)}


def _unet_scheduler(family: str) -> Any:
    kinds = {"lcm": LCMScheduler, "turbo": EulerAncestralDiscreteScheduler}
    more: dict[str, Any] = {"timestep_spacing": "trailing"} if family in ("turbo", "lightning") else {}
    if family == "sd-v":
        more["prediction_type"] = "v_prediction"
    return kinds.get(family, EulerDiscreteScheduler)(**BETAS, **more)


def _sdxl_unet(channels: int) -> UNet2DConditionModel:
    return build_unet(
        channels,
        cross_attention_dim=2 * TEXT_WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + TEXT_WIDTH,
    )


def _sd3(family: str, folder: Path) -> dict[str, Any]:
    net = SD3Transformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=2 * TEXT_WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=2 * TEXT_WIDTH,
        pos_embed_max_size=64,
    )
    encoders = [build_text_encoder(CLIPTextModelWithProjection) for _ in range(2)]
    return {
        "vae": _vae(16),
        "transformer": net,
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        "tokenizer": build_tokenizer(folder / "tokenizer"),
        "text_encoder": encoders[0],
        "tokenizer_2": build_tokenizer(folder / "tokenizer_2"),
        "text_encoder_2": encoders[1],
        "tokenizer_3": _t5_tokenizer(),
        "text_encoder_3": _t5(),
    }


def _flux(family: str, folder: Path) -> dict[str, Any]:
    told = family == "flux-dev"
    net = FluxTransformer2DModel(
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=2 * TEXT_WIDTH,
        pooled_projection_dim=TEXT_WIDTH,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=told,
    )
    shift = {"use_dynamic_shifting": True, "shift": 3.0, "max_shift": 1.15} if told else {"shift": 1.0}
    return {
        "vae": _vae(16),
        "transformer": net,
        "scheduler": FlowMatchEulerDiscreteScheduler(**shift),
        "tokenizer": build_tokenizer(folder / "tokenizer"),
        "text_encoder": build_text_encoder(CLIPTextModel),
        "tokenizer_2": _t5_tokenizer(),
        "text_encoder_2": _t5(),
    }


def _vae(channels: int) -> AutoencoderKL:
    """One whose distributions are points, so that a sample is the mode."""
    scales = {"scaling_factor": 0.18215} if channels == 4 else {"scaling_factor": 1.5305, "shift_factor": 0.0609}
    vae = build_vae(channels, **scales)
    with torch.no_grad():
        vae.quant_conv.weight[channels:] = 0
        vae.quant_conv.bias[channels:] = -30
    return vae


def _t5() -> T5EncoderModel:
    sizes = {"d_model": 2 * TEXT_WIDTH, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    return T5EncoderModel(T5Config(vocab_size=32, **sizes))


def _t5_tokenizer() -> T5TokenizerFast:
    """Every letter is a token."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    letters = [(chr(code), -1.0) for code in range(ord("a"), ord("z") + 1)]
    return T5TokenizerFast(vocab=[*special, *letters, ("▁", -2.0)], extra_ids=0, model_max_length=512)
