"""The sampler with the weights that a model's name means: the embedded model, a directory or a hub id."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DModel

from mtransfer import catalog
from mtransfer.catalog import WEIGHTS
from mtransfer.devices import choose_device
from mtransfer.errors import InputError, ModelError
from mtransfer.log import without_bars
from mtransfer.sampling.autoencoder import AutoencoderSpaceToDepth
from mtransfer.sampling.model_folder import require_layout
from mtransfer.sampling.pipeline import MotionGuidedPipeline

EMBEDDED_SIDE_PX, STABLE_DIFFUSION_SIDE_PX = 256, 512


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
    for part in (pipe.vae, pipe.unet, pipe.text_encoder):
        if part is not None:
            part.requires_grad_(False)  # guidance differentiates images, never weights
    if low_memory:
        pipe.save_memory()
    pipe.to(device)
    if device.type == "cuda":  # where convolutions run on tensor cores
        pipe.unet.to(memory_format=torch.channels_last)
    if compiled:
        pipe.unet.compile()
    return pipe


def model_side_px(model: str) -> int:
    """The long side in pixels at which a model works."""
    return EMBEDDED_SIDE_PX if model == "embedded" else STABLE_DIFFUSION_SIDE_PX


def resolve_model(model: str, device: torch.device | None = None) -> str:
    """`auto` is Stable Diffusion 1.4 when it is to run on a GPU and its weights are on disk, else the embedded model.

    A short name of the catalogue (sd14, sd15) is its hub id.
    """
    if model in catalog.KNOWN and not Path(model).is_dir():
        return catalog.KNOWN[model].source
    if model != "auto":
        return model
    there = (device or choose_device("auto")).type == "cuda" and catalog.path_on_disk("sd14") is not None
    return catalog.KNOWN["sd14"].source if there else "embedded"


def auto_in_words(device: torch.device | None = None) -> str:
    """What `--model auto` takes here, and how to get more: one line."""
    chosen = resolve_model("auto", device)
    if chosen != "embedded":
        return f"{chosen}: a GPU and its weights are here"
    fetched = catalog.path_on_disk("sd14") is not None
    needs = [] if (device or choose_device("auto")).type == "cuda" else ["an NVIDIA GPU"]
    needs += [] if fetched else ["`mtransfer models download sd14`"]
    return f"embedded; for Stable Diffusion: {' and '.join(needs)}"


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
    folder = _folder_of(model)
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
    """A tiny decoder of Stable Diffusion's latents: `taesd`, a folder or a hub id. Raises ModelError."""
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


def resolve_guidance_decoder(name: str, model: str) -> str:
    """`auto` is TAESD for a model of Stable Diffusion's latents when it is on disk, else the model's own `vae`.

    Raises InputError for a decoder of Stable Diffusion's latents where the model has others.
    """
    if name not in ("auto", "vae") and model == "embedded":
        raise InputError(
            f"--guidance-decoder {name}: decodes Stable Diffusion's latents; the embedded model has its own"
        )
    if name != "auto":
        return name
    return "taesd" if model != "embedded" and catalog.path_on_disk("taesd") is not None else "vae"


def require_model(model: str) -> None:
    """Raises ModelError for a model that is not there or is of another layout, told by its files' names alone."""
    if model != "embedded":
        _folder_of(model)


def _folder_of(model: str) -> Path:
    if Path(model).exists():
        require_layout(Path(model), model)
        return Path(model)
    if not catalog.HUB_ID.fullmatch(model):
        raise ModelError(f"--model {model}: no such folder, and no hub id of the form owner/name")
    if (folder := catalog.path_on_disk(model)) is None:
        raise ModelError(f"--model {model}: not on this disk; {catalog.how_to_fetch(model)}, or name a folder")
    return folder
