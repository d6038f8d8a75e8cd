"""What a model's name means: the embedded model, a directory or a hub id; and where it runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DModel
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from mtransfer.errors import InputError, ModelError
from mtransfer.flow import DisFlow
from mtransfer.raft import BUILDERS, FlowNet, build_raft
from mtransfer.sampler import MotionGuidedPipeline
from mtransfer.spacetodepth import AutoencoderSpaceToDepth

WEIGHTS = Path(__file__).parent / "weights"
HUB_RAFT = {"raft_large": "raft_large_C_T_V1-22a6c225.pth", "raft_small": "raft_small_C_T_V1-ad48884c.pth"}
EMBEDDED_SIDE_PX, STABLE_DIFFUSION_SIDE_PX = 256, 512


def choose_device(name: str) -> torch.device:
    """`auto` is cuda, then mps, then cpu. Raises InputError for a device that is not there."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    if not available.get(name, False):
        raise InputError(f"--device {name}: not available here; use --device cpu or auto")
    return torch.device(name)


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is float16 on cuda and float32 elsewhere."""
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[name]


@lru_cache(maxsize=2)
def load_pipeline(model: str, device: torch.device, dtype: torch.dtype) -> MotionGuidedPipeline:
    """The sampler with the weights `model` names. Raises ModelError when they are missing or of another layout."""
    with _without_bars():
        pipe = _embedded(dtype) if model == "embedded" else _pretrained(model, dtype)
    pipe.set_progress_bar_config(disable=True)
    for part in (pipe.vae, pipe.unet, pipe.text_encoder):
        if part is not None:
            part.requires_grad_(False)  # guidance differentiates images, never weights
    return pipe.to(device)


@contextmanager
def _without_bars() -> Iterator[None]:
    """The libraries' own progress bars are off meanwhile: what is shown is ours."""
    shown = [library for library in (diffusers_logging, transformers_logging) if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()


def model_side_px(model: str) -> int:
    """The long side in pixels at which a model works."""
    return EMBEDDED_SIDE_PX if model == "embedded" else STABLE_DIFFUSION_SIDE_PX


def resolve_model(model: str) -> str:
    """`auto` is Stable Diffusion 1.4 when a GPU and its weights on disk are there, else the embedded model."""
    if model != "auto":
        return model
    return (
        "CompVis/stable-diffusion-v1-4"
        if torch.cuda.is_available() and _on_disk("CompVis/stable-diffusion-v1-4")
        else "embedded"
    )


def _on_disk(hub_id: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(hub_id, "model_index.json"), str)


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
    if not Path(model).is_dir() and (Path(model).is_absolute() or model.startswith(".") or model.count("/") != 1):
        raise ModelError(f"--model {model}: no such folder, and no hub id of the form owner/name")
    try:
        pipe: Any = MotionGuidedPipeline.from_pretrained(
            model, dtype=dtype, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
        )
    except Exception as error:
        if not Path(model).is_dir():
            raise ModelError(
                f"--model {model}: not on this disk; fetch it with `hf download {model}`, or name a folder"
            ) from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"--model {model}: cannot be loaded ({reason[:200]}); check the folder, or download it again"
        ) from error
    return pipe


@lru_cache(maxsize=2)
def load_flow_model(name: str, updates: int, levels: int, device: torch.device) -> FlowNet | DisFlow:
    """A flow estimator: auto | embedded | raft_large | raft_small | dis. Raises ModelError when weights are missing."""
    if name == "dis":
        return DisFlow()
    name = resolve_flow_model(name)
    if name == "embedded":
        return FlowNet(
            build_raft("raft_small", _existing(WEIGHTS / "flow" / "raft_small.safetensors")), updates, levels
        ).to(device)
    if name not in BUILDERS:
        raise InputError(f"--flow-model {name}: use auto, embedded, raft_large, raft_small or dis")
    return FlowNet(build_raft(name, _existing(_hub_raft(name))), updates).to(device)


def reading_side_px(name: str) -> int:
    """The long side in pixels at which a flow estimator reads clips best: the size of what it was trained on."""
    return EMBEDDED_SIDE_PX if resolve_flow_model(name) == "embedded" else STABLE_DIFFUSION_SIDE_PX


def resolve_flow_model(name: str) -> str:
    """`auto` is torchvision's raft_large when its weights are on disk, else the embedded net."""
    if name != "auto":
        return name
    return "raft_large" if _hub_raft("raft_large").exists() else "embedded"


def _hub_raft(name: str) -> Path:
    home = Path(os.environ.get("TORCH_HOME", Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch")).expanduser()
    return home / "hub" / "checkpoints" / HUB_RAFT[name]


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ModelError(f"{path}: weights missing; put torchvision's file there or use --flow-model embedded")
    return path
