"""Other editors of Stable Diffusion's family to compare with, each through diffusers' own pipeline, with its settings.

Their weights are a folder or a hub id that is on this disk: nothing is fetched. Images float32[1,3,H,W] in [0,1] with
sides multiples of 64, masks [1,1,H,W] in [0,1].
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, StableDiffusionInpaintPipeline, StableDiffusionInstructPix2PixPipeline
from jaxtyping import Float
from torch import Tensor

from mtransfer import catalog
from mtransfer.errors import ModelError
from mtransfer.log import without_bars
from mtransfer.sampling.composite import blend, make_composite

MODELS = {"instruct": "timbrooks/instruct-pix2pix", "inpaint": "stable-diffusion-v1-5/stable-diffusion-inpainting"}
KINDS: dict[str, type[DiffusionPipeline]] = {
    "instruct": StableDiffusionInstructPix2PixPipeline,
    "inpaint": StableDiffusionInpaintPipeline,
}
CHANNELS = {"instruct": 8, "inpaint": 9}  # of the net's input
IMAGE_SCALE = 1.5  # InstructPix2Pix's guidance by the photo, and both methods' by the text
TEXT_SCALE = 7.5
STEPS = {"instruct": 100, "inpaint": 50}


def instruct(
    photo: Float[Tensor, "1 3 H W"],
    instruction: str,
    model: str = MODELS["instruct"],
    *,
    device: torch.device,
    seed: int = 0,
) -> Float[Tensor, "1 3 H W"]:
    """The photo edited as it is told, all of it: InstructPix2Pix (Brooks et al., CVPR 2023, arXiv 2211.09800).

    Raises ModelError when the model is not on this disk or is none of its kind.
    """
    pipe = load_peer("instruct", model, device)
    made = pipe(
        instruction,
        image=photo.to(pipe.unet.dtype),
        num_inference_steps=STEPS["instruct"],
        guidance_scale=TEXT_SCALE,
        image_guidance_scale=IMAGE_SCALE,
        generator=torch.Generator().manual_seed(seed),
        output_type="pt",
    )
    return made.images.to(photo).clamp(0, 1)


def inpaint(
    photo: Float[Tensor, "1 3 H W"],
    flow: Float[Tensor, "1 2 H W"],
    mask: Float[Tensor, "1 1 H W"],
    prompt: str = "",
    model: str = MODELS["inpaint"],
    *,
    device: torch.device,
    seed: int = 0,
) -> Float[Tensor, "1 3 H W"]:
    """The subject warped along its flow, its old place and the seam painted by Stable Diffusion's inpainting net.

    Raises ModelError when the model is not on this disk or is none of its kind.
    """
    draft = make_composite(photo, flow, mask)
    hole = (torch.maximum(draft.vacated, draft.seam) > 0).to(photo)
    pipe = load_peer("inpaint", model, device)
    made = pipe(
        prompt,
        image=draft.image.clamp(0, 1).to(pipe.unet.dtype),
        mask_image=hole,
        height=photo.shape[-2],
        width=photo.shape[-1],
        num_inference_steps=STEPS["inpaint"],
        guidance_scale=TEXT_SCALE,
        generator=torch.Generator().manual_seed(seed),
        output_type="pt",
    )
    return blend(photo, blend(draft.image, made.images.to(photo).clamp(0, 1), hole), draft.edit)


def is_here(name: str, model: str) -> bool:
    """Whether a method's weights are on this disk."""
    return Path(model).is_dir() or (bool(catalog.HUB_ID.fullmatch(model)) and catalog.path_on_disk(model) is not None)


@lru_cache(maxsize=2)
def load_peer(name: str, model: str, device: torch.device) -> Any:
    """A method's pipeline, without the safety checker. Raises ModelError."""
    if not is_here(name, model):
        raise ModelError(f"method {name}: {model} is not on this disk; {catalog.how_to_fetch(model)}, or name a folder")
    folder = Path(model) if Path(model).is_dir() else catalog.existing_path(model)
    half = torch.float16 if device.type == "cuda" else torch.float32
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "low_cpu_mem_usage": False}
    none: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    try:
        with without_bars():
            pipe = KINDS[name].from_pretrained(folder, dtype=half, variant=catalog.variant(folder), **options, **none)
    except Exception as error:
        raise ModelError(
            f"method {name}: {model} cannot be loaded ({type(error).__name__}); check the folder"
        ) from error
    if pipe.unet.config.in_channels != CHANNELS[name]:
        raise ModelError(
            f"method {name}: the net of {model} takes {pipe.unet.config.in_channels} channels; give another model"
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)
