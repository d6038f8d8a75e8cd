"""A directory of Stable Diffusion 1.4's layout whose networks are tiny and random: the same files, no download."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TEXT_WIDTH = 16
LATENTS = 4
START, END = "<|startoftext|>", "<|endoftext|>"
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.2.2",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def build_tiny_sd(
    folder: Path, *, prediction_type: str = "epsilon", input_channels: int = LATENTS, safetensors: bool = True
) -> Path:
    """Write the model into `folder`; like a download without the safety checker, its folders are not there."""
    torch.manual_seed(0)
    vae = build_vae(scaling_factor=0.18215)
    vae.save_pretrained(folder / "vae", safe_serialization=safetensors)
    build_unet(input_channels).save_pretrained(folder / "unet", safe_serialization=safetensors)
    build_text_encoder().save_pretrained(folder / "text_encoder")
    _name_as_published(folder / "text_encoder" / "model.safetensors")
    build_tokenizer(folder / "tokenizer")
    _scheduler(prediction_type).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    return folder


def build_vae(channels: int = LATENTS, **more: Any) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
        **more,
    )


def add_safety_checker(folder: Path) -> None:
    """What a whole download holds besides; weights nobody should open, so they are no weights."""
    _write(folder / "safety_checker" / "config.json", {"architectures": ["StableDiffusionSafetyChecker"]})
    (folder / "safety_checker" / "pytorch_model.bin").write_bytes(b"not to be opened")
    _write(
        folder / "feature_extractor" / "preprocessor_config.json",
        {"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224},
    )


def build_unet(input_channels: int, **more: Any) -> UNet2DConditionModel:
    sizes: dict[str, Any] = {
        "sample_size": 64,
        "in_channels": input_channels,
        "out_channels": LATENTS,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": TEXT_WIDTH,
        "attention_head_dim": 4,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**{**sizes, **more})


def _scheduler(prediction_type: str) -> PNDMScheduler:
    return PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction_type,
        set_alpha_to_one=False,
        skip_prk_steps=True,
        steps_offset=1,
    )


def build_text_encoder(kind: Any = CLIPTextModel) -> Any:
    vocabulary = len(_vocabulary())
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
        projection_dim=TEXT_WIDTH,
    )
    return kind(config).eval()


def _name_as_published(path: Path) -> None:
    """The published file names its tensors with a prefix and holds one that the network has no use for."""
    tensors = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in load_file(path).items()}
    save_file(tensors | {"text_model.embeddings.position_ids": torch.arange(77)[None]}, path, {"format": "pt"})


def _vocabulary() -> list[str]:
    letters = [chr(code) for code in range(33, 127)]
    return [*letters, *(f"{letter}</w>" for letter in letters), START, END]


def build_tokenizer(folder: Path) -> CLIPTokenizer:
    """Byte-pair encoding with no merges, written into `folder`: every letter is a token."""
    _write(folder / "vocab.json", {token: number for number, token in enumerate(_vocabulary())})
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    _write(folder / "special_tokens_map.json", special)
    _write(
        folder / "tokenizer_config.json",
        {**special, "model_max_length": 77, "do_lower_case": True, "tokenizer_class": "CLIPTokenizer"},
    )
    return CLIPTokenizer.from_pretrained(folder)


def _write(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
