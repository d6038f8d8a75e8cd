"""What a model's name means, and whether its folder or file can be a model here: told by names and headers alone,
before anything is loaded."""

import re
from pathlib import Path

import torch

from mtransfer import catalog
from mtransfer.catalog import WITH_WEIGHTS, read_json
from mtransfer.devices import choose_device
from mtransfer.errors import InputError, ModelError
from mtransfer.sampling.adapters.layouts import SIDE_PX, layout_of, parts_of, read_header, side_px

EMBEDDED_SIDE_PX, STABLE_DIFFUSION_SIDE_PX = 256, SIDE_PX
SINGLE_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
PICKLED = (".ckpt", ".pt", ".pth", ".bin")
STABLE_DIFFUSION_1, STABLE_DIFFUSION_2 = "a Stable Diffusion 1 checkpoint", "a Stable Diffusion 2 checkpoint"
STABLE_DIFFUSION_XL = "a Stable Diffusion XL checkpoint"
# What a single file is by the beginnings or parts of its tensors' names, the surest first.
TENSORS = (
    ("lora", "LoRA weights, which change a model and are none"),
    ("control_model.", "a ControlNet, which steers a model and is none"),
    ("controlnet_cond_embedding.", "a ControlNet, which steers a model and is none"),
    ("conditioner.embedders.", STABLE_DIFFUSION_XL),
    ("joint_blocks.", "a Stable Diffusion 3 checkpoint"),
    ("double_blocks.", "a FLUX checkpoint"),
    ("cond_stage_model.model.", STABLE_DIFFUSION_2),
    ("cond_stage_model.transformer.", STABLE_DIFFUSION_1),
    ("model.diffusion_model.", STABLE_DIFFUSION_1),
    ("down_blocks.", "the weights of one net"),
    ("decoder.", "the weights of one net"),
)
WHOLE = (STABLE_DIFFUSION_1, STABLE_DIFFUSION_2, STABLE_DIFFUSION_XL)  # single files that hold every part
USABLE = "use a folder of Stable Diffusion 1, 2, XL or 3, or of FLUX, such as sd15"
LOADED = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)(?:\.fp16)?(?:-\d+-of-\d+)?(?:\.fp16)?\.safetensors"
)


def require_layout(path: Path, given: str) -> None:
    """Raises ModelError for what is no model of a known layout in safetensors, `--model {given}`."""
    if reason := _file_reason(path) if path.is_file() else _folder_reason(path):
        raise ModelError(f"--model {given}: {reason}")


def _file_reason(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SINGLE_FILES:
        return "is a file that is no model; name a folder in diffusers' layout"
    kind = "a pickled checkpoint, of which only a trusted one should be opened" if suffix in PICKLED else _kind(path)
    if suffix in PICKLED or kind in WHOLE:
        loader = "StableDiffusionXLPipeline" if kind == STABLE_DIFFUSION_XL else "StableDiffusionPipeline"
        return f"is {kind} in a single file; {_converted(f'{loader}.from_single_file', path)}"
    return f"is a single file with {kind}; {USABLE}"


def _kind(path: Path) -> str:
    names = list(read_header(path))
    return next((kind for part, kind in TENSORS if any(part in name for name in names)), "tensors of an unknown kind")


def _converted(way: str, path: Path, more: str = "") -> str:
    """The command that writes the folder that is needed."""
    target, (loader, _, _) = f"{path.stem}-folder", way.partition(".")
    return (
        f'make a folder of it with python -c "from diffusers import {loader}; '
        f"{way}('{path}'{more}).save_pretrained('{target}')\" and name that"
    )


def _folder_reason(folder: Path) -> str:
    index = read_json(folder / "model_index.json")
    if not index:
        there = (folder / "model_index.json").is_file()
        return "has a broken model_index.json; fetch the model again" if there else _no_index_reason(folder)
    kind, parts = str(index.get("_class_name", "another kind")), parts_of(folder)
    if (layout := layout_of(folder)) is None:
        return f"is of another layout ({kind}); {USABLE}"
    if missing := [part for part in layout.parts if part not in parts]:
        return f"is {layout.name} ({kind}) without its {missing[0]}; {USABLE}"
    if absent := [part for part in layout.parts if not (folder / part).is_dir()]:
        return f"is {layout.name} but has no folder {absent[0]}; fetch the model again"
    return next(filter(None, (_weights_reason(folder, part) for part in WITH_WEIGHTS if part in parts)), "")


def _no_index_reason(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    if any(name == "snapshots" for name in names):
        return "is a folder of the hub's cache; name the folder below its snapshots, or the hub id"
    if (folder / "config.json").is_file():
        kind = read_json(folder / "config.json").get("_class_name", "a part")
        return f"is {kind}, one part of a model; name the folder with model_index.json, above it"
    if any("lora" in name.lower() or name.startswith("adapter_") for name in names):
        return f"holds LoRA weights, which change a model and are none; {USABLE}"
    if single := next((name for name in names if Path(name).suffix.lower() in SINGLE_FILES), None):
        return f"holds no model_index.json but {single}, which {_file_reason(folder / single)}"
    return "holds no model_index.json, so it is no model in diffusers' layout; name another folder"


def _weights_reason(folder: Path, part: str) -> str:
    """Why the weights of a part cannot be loaded; "" where they can."""
    names = sorted(path.name for path in (folder / part).glob("*"))
    bare = [name for name in names if name.endswith(".safetensors")]
    if any(LOADED.fullmatch(name) for name in bare):
        return ""
    if bare:
        variant = bare[0].removesuffix(".safetensors").partition(".")[2] or bare[0]
        command = _converted("DiffusionPipeline.from_pretrained", folder, f", variant='{variant}'")
        return f"has of {part} the variant {variant} alone; {command}"
    if any(name.endswith(".bin") for name in names):
        command = _converted("DiffusionPipeline.from_pretrained", folder)
        return f"has of {part} pickled weights (.bin) alone, which are not opened here; {command}"
    if any(name.endswith((".msgpack", ".onnx", ".pb", ".xml")) for name in names):
        return f"has weights of {part} for another framework alone; {USABLE}"
    return f"has no weights of {part}; fetch the model again"


def model_side_px(model: str) -> int:
    """The long side in pixels at which a model works."""
    if model == "embedded":
        return EMBEDDED_SIDE_PX
    folder = _on_disk(model)
    return STABLE_DIFFUSION_SIDE_PX if folder is None else side_px(folder)


def _on_disk(model: str) -> Path | None:
    if Path(model).is_dir():
        return Path(model)
    return catalog.path_on_disk(model) if catalog.HUB_ID.fullmatch(model) else None


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


def resolve_guidance_decoder(name: str, model: str) -> str:
    """`auto` is the TAESD of the model's latents when it is on disk, else the model's own `vae`.

    Raises InputError for a decoder of Stable Diffusion's latents where the model has others.
    """
    if name not in ("auto", "vae") and model == "embedded":
        raise InputError(
            f"--guidance-decoder {name}: decodes Stable Diffusion's latents; the embedded model has its own"
        )
    if name != "auto":
        return name
    layout = None if model == "embedded" or (folder := _on_disk(model)) is None else layout_of(folder)
    return layout.small_decoder if layout and catalog.path_on_disk(layout.small_decoder) is not None else "vae"


def require_model(model: str) -> None:
    """Raises ModelError for a model that is not there or is of another layout, told by its files' names alone."""
    if model != "embedded":
        folder_of(model)


def folder_of(model: str) -> Path:
    """Where a model's files are. Raises ModelError as `require_model` does."""
    if Path(model).exists():
        require_layout(Path(model), model)
        return Path(model)
    if not catalog.HUB_ID.fullmatch(model):
        raise ModelError(f"--model {model}: no such folder, and no hub id of the form owner/name")
    if (folder := catalog.path_on_disk(model)) is None:
        raise ModelError(f"--model {model}: not on this disk; {catalog.how_to_fetch(model)}, or name a folder")
    return folder
