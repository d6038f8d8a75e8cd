"""The sampler with the weights that a model's name means: the embedded model, a directory or a hub id."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DModel
from torch import nn

from mtransfer import catalog
from mtransfer.catalog import WEIGHTS
from mtransfer.errors import ModelError
from mtransfer.log import without_bars
from mtransfer.sampling.autoencoder import AutoencoderSpaceToDepth
from mtransfer.sampling.model_folder import folder_of
from mtransfer.sampling.pipeline import MotionGuidedPipeline


@lru_cache(maxsize=2)
def load_pipeline(
    model: str, device: torch.device, dtype: torch.dtype, low_memory: bool = False, compiled: bool = False
) -> MotionGuidedPipeline:
    """The sampler with the weights `model` names, its net compiled where asked.

    Raises ModelError when they are missing or of another layout.
    """
    with without_bars():
        pipe = _embedded(dtype) if model == "embedded" else _pretrained(model, dtype)
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            part.requires_grad_(False)  # guidance differentiates images, never weights
    if low_memory:
        pipe.save_memory()
    pipe.to(device)
    if device.type == "cuda" and pipe.unet is not None:  # where convolutions run on tensor cores
        pipe.unet.to(memory_format=torch.channels_last)
    if compiled:
        pipe.net.compile()
    return pipe


def _embedded(dtype: torch.dtype) -> MotionGuidedPipeline:
    folder = WEIGHTS / "denoiser"
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "low_cpu_mem_usage": False}
    try:
        unet = UNet2DModel.from_pretrained(folder / "unet", **options)
        vae = AutoencoderSpaceToDepth.from_pretrained(folder / "vae", **options)
        scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: embedded weights missing or broken; install mtransfer again") from error
    return MotionGuidedPipeline(vae, unet, scheduler)


def _pretrained(model: str, dtype: torch.dtype) -> MotionGuidedPipeline:
    """A directory, or a hub id already on disk: nothing is fetched unasked."""
    folder = folder_of(model)
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "low_cpu_mem_usage": False}
    try:
        pipe: MotionGuidedPipeline = MotionGuidedPipeline.from_pretrained(
            folder, dtype=dtype, variant=catalog.variant(folder), **options
        )
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"--model {model}: cannot be loaded ({reason[:200]}); check the folder, or download it again"
        ) from error
    return pipe


@lru_cache(maxsize=1)
def load_guidance_decoder(name: str, device: torch.device, dtype: torch.dtype) -> AutoencoderTiny:
    """A tiny decoder of a family's latents: `taesd`, `taesdxl`, `taesd3`, `taef1`, a folder or a hub id.

    Raises ModelError.
    """
    if (folder := Path(name) if Path(name).is_dir() else catalog.path_on_disk(name)) is None:
        raise ModelError(f"--guidance-decoder {name}: not on this disk; {catalog.how_to_fetch(name)}, or use vae")
    try:
        with without_bars():
            small = AutoencoderTiny.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
            )
    except Exception as error:
        raise ModelError(f"--guidance-decoder {name}: cannot be loaded ({type(error).__name__}); check it") from error
    return small.eval().requires_grad_(False).to(device)
