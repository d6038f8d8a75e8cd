"""Likeness of two pictures by learned features, where the weights are on this disk; nothing is fetched, nothing faked.

Images float32[1,3,H,W] in [0,1].
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
import torchvision
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
from transformers import CLIPImageProcessor, CLIPModel

from mtransfer.catalog import path_on_disk
from mtransfer.log import without_bars

Net = Literal["alex", "squeeze", "vgg"]

CLIP = "openai/clip-vit-base-patch32"
BACKBONES: dict[str, Any] = {
    "alex": torchvision.models.AlexNet_Weights.DEFAULT,
    "squeeze": torchvision.models.SqueezeNet1_1_Weights.DEFAULT,
    "vgg": torchvision.models.VGG16_Weights.DEFAULT,
}


def clip_similarity(
    first: Float[Tensor, "1 3 H W"], second: Float[Tensor, "1 3 h w"], model: str = CLIP
) -> float | None:
    """Cosine in [-1,1] of two pictures' CLIP embeddings (Radford et al., 2021): 1 shows the same things.

    `model` is a directory or a hub id; None where it is not on this disk, or broken.
    """
    folder = Path(model) if Path(model).is_dir() else path_on_disk(model)
    loaded = None if folder is None else _load_clip(folder)
    if loaded is None:
        return None
    return float(F.cosine_similarity(_embed(first, *loaded), _embed(second, *loaded)))


@torch.no_grad()
def _embed(image: Tensor, clip: Any, processor: Any) -> Tensor:
    pixels = processor(images=image.cpu(), do_rescale=False, return_tensors="pt")["pixel_values"]
    return clip.visual_projection(clip.vision_model(pixel_values=pixels).pooler_output)


@lru_cache(maxsize=1)
def _load_clip(folder: Path) -> tuple[Any, Any] | None:
    try:
        with without_bars():
            clip = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        return clip.eval(), CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, SafetensorError):
        return None


def lpips(first: Float[Tensor, "1 3 H W"], second: Float[Tensor, "1 3 H W"], net: Net = "alex") -> float | None:
    """LPIPS distance (Zhang et al., CVPR 2018): 0 looks the same, near 1 entirely different.

    None where torchvision's weights of the backbone `net` are not on this disk.
    """
    weights = Path(torch.hub.get_dir()) / "checkpoints" / Path(BACKBONES[net].url).name
    if not weights.exists():
        return None
    with torch.no_grad():
        return float(_load_lpips(net, weights)(first.cpu(), second.cpu(), normalize=True))


@lru_cache(maxsize=1)
def _load_lpips(net: Net, weights: Path) -> Any:
    torch.load(weights, weights_only=True)  # torchvision would unpickle whatever lies there: stop at more than tensors
    return LearnedPerceptualImagePatchSimilarity(net_type=net).net
