"""The models that can be fetched, by short name or hub id, and where on this disk they are."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtransfer.errors import InputError, ModelError

WEIGHTS = Path(__file__).parent / "weights"
TORCH_URL = "https://download.pytorch.org/models/"
HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)
WITH_WEIGHTS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
WITHOUT_WEIGHTS = ("scheduler", "tokenizer", "tokenizer_2", "tokenizer_3")
MB = 10**6


@dataclass(frozen=True)
class Entry:
    """A model that can be fetched: its short name, its hub id or its checkpoint's url, what it is for, its licence."""

    name: str
    source: str
    role: str
    about_bytes: int | None = None  # what a download of it takes, known without asking
    licence: str = "unknown"

    @property
    def on_hub(self) -> bool:
        """A repository of the hub, not a single checkpoint of torchvision's."""
        return "://" not in self.source


@dataclass(frozen=True)
class Held:
    """An entry with its place on this disk (None: not there) and its size in bytes, about when it is not there."""

    entry: Entry
    path: Path | None
    size_bytes: int | None


KNOWN = {
    entry.name: entry
    for entry in (
        Entry("sd14", "CompVis/stable-diffusion-v1-4", "model", 2134 * MB, "CreativeML OpenRAIL-M"),
        Entry("sd15", "stable-diffusion-v1-5/stable-diffusion-v1-5", "model", 2134 * MB, "CreativeML OpenRAIL-M"),
        Entry("raft_large", f"{TORCH_URL}raft_large_C_T_V1-22a6c225.pth", "flow model", 21 * MB, "BSD-3-Clause"),
        Entry("raft_small", f"{TORCH_URL}raft_small_C_T_V1-ad48884c.pth", "flow model", 4 * MB, "BSD-3-Clause"),
        Entry("sam", "facebook/sam-vit-base", "segmenter", 375 * MB, "Apache-2.0"),
        Entry(
            "sd15-inpaint",
            "stable-diffusion-v1-5/stable-diffusion-inpainting",
            "model",
            2134 * MB,
            "CreativeML OpenRAIL-M",
        ),
        Entry("sdxl", "stabilityai/stable-diffusion-xl-base-1.0", "model", 6938 * MB, "CreativeML OpenRAIL++-M"),
        Entry("sd-turbo", "stabilityai/sd-turbo", "model", 2580 * MB, "Stability AI Community"),
        Entry("sd35-medium", "stabilityai/stable-diffusion-3.5-medium", "model", 15800 * MB, "Stability AI Community"),
        Entry("flux-schnell", "black-forest-labs/FLUX.1-schnell", "model", 33700 * MB, "Apache-2.0"),
        Entry("taesd", "madebyollin/taesd", "small autoencoder", 10 * MB, "MIT"),
        Entry("taesdxl", "madebyollin/taesdxl", "small autoencoder", 10 * MB, "MIT"),
        Entry("taesd3", "madebyollin/taesd3", "small autoencoder", 10 * MB, "MIT"),
        Entry("taef1", "madebyollin/taef1", "small autoencoder", 10 * MB, "MIT"),
        Entry("clip", "openai/clip-vit-base-patch32", "similarity in metrics", 607 * MB, "MIT"),
    )
}


def find(name: str) -> Entry:
    """The entry of a short name or hub id. Raises InputError for a name that is neither."""
    for entry in KNOWN.values():
        if name in (entry.name, entry.source):
            return entry
    if not HUB_ID.fullmatch(name):
        raise InputError(f"{name}: unknown model; use {', '.join(KNOWN)}, or a hub id owner/name")
    return Entry(name, name, "model")


def path_on_disk(name: str) -> Path | None:
    """The folder (hub) or file (torchvision) of a model that is here whole, else None. Raises InputError as `find`."""
    entry = find(name)
    if not entry.on_hub:
        path = checkpoints_folder() / Path(entry.source).name
        return path if path.is_file() else None
    return next((folder for folder in _snapshots(entry.source) if is_whole(folder)), None)


def existing_path(name: str) -> Path:
    """As `path_on_disk`; raises ModelError, naming the command that fetches it, for a model that is not there."""
    if (path := path_on_disk(name)) is None:
        raise ModelError(f"{name}: not on this disk; {how_to_fetch(name)}")
    return path


def how_to_fetch(name: str) -> str:
    """The words of every message about a model that is not there."""
    known = (entry.name for entry in KNOWN.values() if name in (entry.name, entry.source))
    return f"fetch it with `mtransfer models download {next(known, name)}`"


def listing() -> list[Held]:
    """Every known model, and every other one in diffusers' layout that is in the hub's cache."""
    others = sorted(_cached_hub_ids() - {entry.source for entry in KNOWN.values()})
    rows = [_held(entry) for entry in KNOWN.values()]
    found = [_held(find(hub_id)) for hub_id in others if HUB_ID.fullmatch(hub_id)]
    return rows + [held for held in found if held.path and any((held.path / net).is_dir() for net in WITH_WEIGHTS[:2])]


def hub_folder() -> Path:
    """Where the hub's libraries keep models: HF_HUB_CACHE, HF_HOME/hub or XDG_CACHE_HOME/huggingface/hub."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def checkpoints_folder() -> Path:
    """Where torch keeps checkpoints: TORCH_HOME or XDG_CACHE_HOME/torch, then hub/checkpoints."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("TORCH_HOME") or Path(cache) / "torch").expanduser() / "hub" / "checkpoints"


def is_whole(folder: Path) -> bool:
    """A model's folder to which nothing is missing: an interrupted download leaves one that only looks like it."""
    if (folder / "model_index.json").is_file():
        parts = [name for name, value in read_json(folder / "model_index.json").items() if value]
        weights = [folder / part for part in WITH_WEIGHTS if part in parts]
        others = [folder / part for part in WITHOUT_WEIGHTS if part in parts]
        return bool(weights) and all(map(_has_weights, weights)) and all(part.is_dir() for part in others)
    return (folder / "config.json").is_file() and _has_weights(folder)


def variant(folder: Path) -> str | None:
    """`fp16` where a part of the model is there in half precision only, as diffusers must be told; else None."""
    for part in WITH_WEIGHTS:
        names = [path.name for path in (folder / part).glob("*.safetensors")]
        if names and all(".fp16" in name for name in names):
            return "fp16"
    return None


def size_bytes(path: Path) -> int:
    """Bytes of a file, or of the files below a folder, behind links too."""
    files = [path] if path.is_file() else [below for below in path.rglob("*") if below.is_file()]
    return sum(file.stat().st_size for file in files)


def in_words(count: int | None) -> str:
    """A number of bytes as people read it."""
    if count is None:
        return "unknown size"
    amount, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.1f} {units[0]}" if amount < 10 and units[0] != "bytes" else f"{amount:.0f} {units[0]}"


def _held(entry: Entry) -> Held:
    path = path_on_disk(entry.name)
    return Held(entry, path, entry.about_bytes if path is None else size_bytes(path))


def _cached_hub_ids() -> set[str]:
    folders = hub_folder().glob("models--*--*")
    return {folder.name.removeprefix("models--").replace("--", "/", 1) for folder in folders}


def _snapshots(hub_id: str) -> list[Path]:
    """The folders of a hub id's versions on disk, the main one first."""
    home = hub_folder() / f"models--{hub_id.replace('/', '--')}"
    main = home / "refs" / "main"
    commit = main.read_text().strip() if main.is_file() else ""
    return sorted((home / "snapshots").glob("*"), key=lambda folder: (folder.name != commit, folder.name))


def _has_weights(folder: Path) -> bool:
    indexes = list(folder.glob("*.safetensors.index*.json"))
    if not indexes:
        return any(folder.glob("*.safetensors"))
    return any(_is_followed(index) for index in indexes)


def _is_followed(index: Path) -> bool:
    """Whether every file that an index of split weights names is there."""
    names = read_json(index).get("weight_map", {}).values()
    return bool(names) and all((index.parent / name).is_file() for name in set(names))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
