"""What is installed, what is on this disk, what would be used, and what is broken with the way to fix it."""

import importlib
import os
import platform
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from mtransfer import __version__, cache, catalog
from mtransfer.catalog import in_words
from mtransfer.errors import MTransferError

# What is imported, and as what it is installed.
PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "diffusers": "diffusers",
    "transformers": "transformers",
    "decord": "decord2",
    "av": "av",
    "cv2": "opencv-python",
    "PIL": "pillow",
    "numpy": "numpy",
}
OLDEST_PYTHON = (3, 11)
LITTLE_SPACE_BYTES = 200 * 10**6


@dataclass(frozen=True)
class Finding:
    """One thing looked at: its name, its state, what was found in one line, and how to fix it (empty: no need).

    `missing` is something that can be had and is not needed; only `broken` is a failure.
    """

    name: str
    state: Literal["ok", "missing", "broken"]
    text: str
    fix: str = ""


def examine() -> list[Finding]:
    """Look at everything; a part that cannot even be looked at is a broken one, never an error."""
    parts = (_python, _packages, _clip_readers, _devices, _embedded, _recipes, _models, _chosen, _cache, _disk)
    return [finding for part in parts for finding in _guarded(part)]


def _guarded(part: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from part()
    except MTransferError as error:
        yield Finding(part.__name__.strip("_"), "broken", str(error))  # which says the fix
    except Exception as error:
        fix = "install mtransfer again; MTRANSFER_DEBUG=1 shows more of other commands"
        yield Finding(part.__name__.strip("_"), "broken", _in_a_line(error), fix)


def _python() -> Iterator[Finding]:
    system = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        yield Finding("python", "broken", system, "install Python 3.11 or newer")
    else:
        yield Finding("python", "ok", system)
    yield Finding("mtransfer", "ok", f"{__version__} in {Path(__file__).parents[2]}")


def _packages() -> Iterator[Finding]:
    wanted = _requirements()
    for module, package in PACKAGES.items():
        yield _package(module, package, wanted.get(package, ""))


def _package(module: str, package: str, specifier: str) -> Finding:
    from packaging.specifiers import SpecifierSet

    fix = f"pip install --force-reinstall '{package}{specifier}'"
    try:
        found = importlib.import_module(module)
    except Exception as error:
        return Finding(package, "broken", f"cannot be imported ({_in_a_line(error)})", fix)
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:  # another build of it under another name
        version = str(getattr(found, "__version__", "unknown"))
    if version != "unknown" and not SpecifierSet(specifier).contains(version, prereleases=True):
        return Finding(package, "broken", f"{version}, but mtransfer needs {specifier}", fix)
    return Finding(package, "ok", version)


def _clip_readers() -> Iterator[Finding]:
    import av

    from mtransfer.media.decoding.decord_source import PLAIN

    versions = av.library_versions
    libav = ", ".join(f"{name} {'.'.join(map(str, versions[name]))}" for name in ("libavformat", "libavcodec"))
    yield Finding("clip readers", "ok", f"decord where verified ({PLAIN}), else PyAV with {libav}, Pillow for WebP")


def _requirements() -> dict[str, str]:
    """The versions mtransfer asks for, by package."""
    from packaging.requirements import Requirement

    try:
        asked = [Requirement(line) for line in metadata.requires("mtransfer") or []]
    except metadata.PackageNotFoundError:  # run from its sources
        return {}
    return {one.name: str(one.specifier) for one in asked if one.marker is None}


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("cpu", "ok", f"{torch.get_num_threads()} threads of {os.cpu_count()} cores")
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        yield Finding("cuda", "ok", f"{properties.name}, {in_words(properties.total_memory)}")
    else:
        yield Finding("cuda", "missing", "no usable NVIDIA GPU", _mend_cuda(torch.version.cuda))
    if torch.backends.mps.is_available():
        yield Finding("mps", "ok", "Apple GPU")


def _mend_cuda(built_with: str | None) -> str:
    if shutil.which("nvidia-smi") is None:
        return ""
    built = "a build of torch with CUDA" if built_with is None else "an NVIDIA driver for torch's CUDA " + built_with
    return f"nvidia-smi is here: install {built}"


def _embedded() -> Iterator[Finding]:
    import torch

    from mtransfer.flow.loading import load_flow_model
    from mtransfer.sampling.loading import load_pipeline
    from mtransfer.subject.detection.mobile_sam import load_nets
    from mtransfer.subject.detection.saliency import load_net

    cpu = torch.device("cpu")
    loads: dict[str, Callable[[], object]] = {
        "embedded model": lambda: load_pipeline("embedded", cpu, torch.float32),
        "embedded flow net": lambda: load_flow_model("embedded", 1, 1, cpu),
        "embedded saliency net": load_net,
        "embedded MobileSAM": load_nets,
    }
    for name, load in loads.items():
        try:
            load()
        except MTransferError as error:
            yield Finding(name, "broken", str(error), "pip install --force-reinstall --no-deps mtransfer")
        else:
            yield Finding(name, "ok", "loads")


def _recipes() -> Iterator[Finding]:
    from mtransfer.sampling.settings import pipelines_folder

    folder = pipelines_folder()
    paths = sorted(folder.rglob("*.toml"))
    for path in paths:
        try:
            tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            yield Finding("recipes", "broken", f"{path}: {_in_a_line(error)}", "install mtransfer again")
    presets = [path for path in paths if path.parent.name == "presets"]
    if not presets:
        yield Finding("recipes", "broken", f"{folder}: no presets", "install mtransfer again")
    else:
        yield Finding("recipes", "ok", f"{len(presets)} presets, {len(paths) - len(presets)} recipes in {folder}")


def _models() -> Iterator[Finding]:
    from huggingface_hub import constants

    offline = ", HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else ""
    yield Finding("hub cache", "ok", f"{catalog.hub_folder()}{offline}")
    yield Finding("torch cache", "ok", str(catalog.checkpoints_folder()))
    for held in catalog.listing():
        name, size = held.entry.name, in_words(held.size_bytes)
        if held.path is None:
            text = f"{held.entry.role}, not on this disk; about {size}"
            yield Finding(name, "missing", text, f"mtransfer models download {name}")
        elif _is_altered(held.path):
            fix = f"remove it, then: mtransfer models download {name}"
            yield Finding(name, "broken", f"{held.path}: not what its name says", fix)
        else:
            yield Finding(name, "ok", f"{held.entry.role}, {size} in {held.path}")


def _is_altered(path: Path) -> bool:
    """A checkpoint whose content has not the hash in its name; a hub's folder is not read through."""
    from mtransfer.download import hash_in_name

    return path.is_file() and not cache.file_hash(path).startswith(hash_in_name(path.name))


def _chosen() -> Iterator[Finding]:
    from mtransfer.devices import choose_device, choose_dtype
    from mtransfer.flow.loading import resolve_flow_model
    from mtransfer.sampling.model_folder import auto_in_words

    device = choose_device("auto")
    dtype = str(choose_dtype("auto", device)).removeprefix("torch.")
    yield Finding("--device auto", "ok", f"{device}, {dtype}")
    yield Finding("--model auto", "ok", auto_in_words())
    yield Finding("--flow-model auto", "ok", resolve_flow_model("auto"))


def _cache() -> Iterator[Finding]:
    held = cache.info()
    text = f"{held.files} files, {in_words(held.size_bytes)} of {in_words(held.limit_bytes)} in {held.folder}"
    if _is_writable(held.folder):
        yield Finding("cache", "ok", text)
    else:
        yield Finding("cache", "missing", f"{held.folder}: cannot be written, nothing is kept", "set MTRANSFER_CACHE")


def _is_writable(folder: Path) -> bool:
    """Without making it: the nearest folder above that is there decides."""
    home = _nearest(folder)
    return home.is_dir() and os.access(home, os.W_OK)


def _nearest(folder: Path) -> Path:
    home = folder.absolute()
    while not home.exists():
        home = home.parent
    return home


def _disk() -> Iterator[Finding]:
    places = {"disk here": Path.cwd(), "disk of models": catalog.hub_folder(), "disk of temporary files": _temporary()}
    for name, folder in places.items():
        home = _nearest(folder)
        free_bytes = shutil.disk_usage(home).free
        text = f"{in_words(free_bytes)} free at {home}"
        full = free_bytes < LITTLE_SPACE_BYTES
        yield Finding(name, "broken" if full else "ok", text, "free some space" if full else "")


def _temporary() -> Path:
    return Path(tempfile.gettempdir())


def _in_a_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]
