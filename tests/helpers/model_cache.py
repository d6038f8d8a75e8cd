"""A hub's cache and a folder of checkpoints as downloads leave them, without a download."""

import json
from pathlib import Path

COMMIT = "0" * 40
SD_PARTS = ("unet", "vae", "text_encoder")
SD_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "image_encoder": None,
}


def snapshot(hub: Path, hub_id: str, commit: str = COMMIT, ref: str = "main") -> Path:
    """The folder of one version of a repository, empty."""
    home = hub / f"models--{hub_id.replace('/', '--')}"
    (home / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
    (home / "refs" / ref).write_text(commit)
    folder = home / "snapshots" / commit
    folder.mkdir(parents=True)
    return folder


def write_sd(folder: Path, weights: str = "diffusion_pytorch_model.safetensors") -> Path:
    """Files of Stable Diffusion's layout that hold nothing, named as `weights` in every part."""
    write(folder / "model_index.json", json.dumps(SD_INDEX))
    for part in SD_PARTS:
        write(folder / part / weights, "12345678")
    write(folder / "tokenizer" / "vocab.json", "{}")
    write(folder / "scheduler" / "scheduler_config.json", "{}")
    return folder


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
