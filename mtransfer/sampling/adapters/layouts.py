"""Which family a model's folder is of, and what it will need, told by its small files alone. Needs no torch."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtransfer.catalog import WITH_WEIGHTS, read_json

HEADER_BYTES = 100 * 2**20
CELL_PX = 8  # of every autoencoder here
SIDE_PX = 512  # where a net does not say
LARGE_SIDE_PX = 1024
HALF_BYTES = 2  # of a weight in half precision


@dataclass(frozen=True)
class Layout:
    """A family in words, the parts that its folder must hold, and TAESD's name for its latents."""

    name: str
    parts: tuple[str, ...]
    small_decoder: str


STABLE_DIFFUSION = Layout("Stable Diffusion", ("unet", "vae", "scheduler"), "taesd")
XL_PARTS = ("unet", "vae", "scheduler", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
TRANSFORMER_PARTS = ("transformer", *XL_PARTS[1:])
STABLE_DIFFUSION_XL = Layout("Stable Diffusion XL", XL_PARTS, "taesdxl")
STABLE_DIFFUSION_3 = Layout("Stable Diffusion 3", TRANSFORMER_PARTS, "taesd3")
FLUX = Layout("FLUX", TRANSFORMER_PARTS, "taef1")
TRANSFORMERS = {"SD3Transformer2DModel": STABLE_DIFFUSION_3, "FluxTransformer2DModel": FLUX}


@dataclass(frozen=True)
class Facts:
    """A model in words, the precision of its weights on disk, and what they take in memory at half precision."""

    family: str
    precision: str
    memory_bytes: int


def layout_of(folder: Path) -> Layout | None:
    """The layout that a folder's model_index.json is of; None for an unknown one."""
    index = parts_of(folder)
    if "transformer" in index:
        return TRANSFORMERS.get(index["transformer"])
    if "unet" not in index:
        return None
    if "text_encoder_2" in index:
        return STABLE_DIFFUSION_XL
    return layout_of_net(index["unet"], read_json(folder / "unet" / "config.json"))


def layout_of_net(name: str, config: Mapping[str, Any]) -> Layout:
    """The layout that a denoising net is of, by its class's name and its configuration."""
    if known := TRANSFORMERS.get(name):
        return known
    return STABLE_DIFFUSION_XL if config.get("addition_embed_type") == "text_time" else STABLE_DIFFUSION


def made_for_few_steps(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a scheduler, by its class's name and its configuration, is that of LCM, Turbo or Lightning."""
    return name == "LCMScheduler" or (name.startswith("Euler") and config.get("timestep_spacing") == "trailing")


def parts_of(folder: Path) -> dict[str, str]:
    """The parts that a folder's index names, each with its class."""
    index = read_json(folder / "model_index.json")
    return {part: value[1] for part, value in index.items() if isinstance(value, list) and len(value) > 1 and value[1]}


def side_px(folder: Path) -> int:
    """The long side in pixels that a model was made for."""
    net = "transformer" if (folder / "transformer").is_dir() else "unet"
    cells = read_json(folder / net / "config.json").get("sample_size")
    if isinstance(cells, int):
        return CELL_PX * cells
    return LARGE_SIDE_PX if net == "transformer" else SIDE_PX


def facts(folder: Path) -> Facts | None:
    """What there is to say of a model's folder; None where its layout is unknown."""
    if (layout := layout_of(folder)) is None:
        return None
    words = [layout.name]
    if read_json(folder / "unet" / "config.json").get("in_channels") == 9:
        words.append("inpainting")
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    if made_for_few_steps(str(scheduler.get("_class_name", "")), scheduler):
        words.append("few steps")
    tensors = [tensor for part in WITH_WEIGHTS for tensor in _tensors(folder / part)]
    kinds = sorted({str(tensor.get("dtype")) for tensor in tensors if "dtype" in tensor})
    counts = [math.prod(tensor["shape"]) for tensor in tensors if "shape" in tensor]
    return Facts(", ".join(words), " and ".join(kinds) or "unknown precision", HALF_BYTES * sum(counts))


def _tensors(folder: Path) -> Iterator[dict[str, Any]]:
    """The entries of a part's weights: of one precision alone where there are several."""
    files = sorted(folder.glob("*.safetensors"))
    full = [path for path in files if ".fp16" not in path.name]
    for path in full or files:
        yield from (value for value in read_header(path).values() if isinstance(value, dict))


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file; empty where it is broken."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= HEADER_BYTES else {}
    except (OSError, ValueError, TypeError):
        return {}
    return header if isinstance(header, dict) else {}
