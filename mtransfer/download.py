"""Fetching a model: what would be fetched is shown first, and it reaches its place whole or not at all."""

import errno
import hashlib
import re
import shutil
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtransfer import catalog
from mtransfer.catalog import Entry, in_words
from mtransfer.errors import ModelError, MTransferError
from mtransfer.files import atomic_write

CHUNK_BYTES = 2**20
TIMEOUT_S = 20.0
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
UNUSED = ("safety_checker", "feature_extractor")
# Of the weights only the plain and the half-precision file, whole or split: not ema, onnx or single-file ones.
WEIGHTS_FILE = re.compile(
    r"(?:diffusion_pytorch_model|model)(?P<half>\.fp16)?(?:-\d+-of-\d+)?(?P<old_half>\.fp16)?\.safetensors"
    r"(?:\.index(?P<index_half>\.fp16)?\.json)?"
)
CONVERTER, CONVERSION = "SFconvertbot", "Adding `safetensors` variant of this model"

Report = Callable[[str, int, int, float | None], None]  # as console.Report: stage, done, total, nothing


@dataclass(frozen=True)
class Plan:
    """What a download would fetch: file names, bytes in all, the folder they reach, and the hub's revision."""

    entry: Entry
    files: tuple[str, ...]
    size_bytes: int
    folder: Path
    revision: str | None = None


def download_model(name: str, confirm: Callable[[Plan], bool], report: Report | None = None) -> Path | None:
    """Fetch a model after `confirm` has agreed to the plan; its folder or file, or None when it has not.

    A model that is here whole is not fetched again, nor asked about. Raises InputError for an unknown name and
    ModelError, in one line, when it cannot be fetched.
    """
    if (path := catalog.path_on_disk(name)) is not None:
        return path
    plan = plan_for(name)
    return carry_out(plan, report) if confirm(plan) else None


def carry_out(plan: Plan, report: Report | None = None) -> Path:
    """Fetch what a plan says; the model's folder or file.

    Without `report` nothing is shown; the hub's libraries show bars of their own. Raises ModelError, in one line,
    when the network, the hub or the disk does not do its part.
    """
    with _disk_errors_in_words(plan):
        if plan.entry.on_hub:
            _fetch_from_hub(plan, quiet=report is None)
        else:
            _fetch_checkpoint(plan, report or (lambda stage, done, total, energy: None))
    return catalog.existing_path(plan.entry.name)


def plan_for(name: str) -> Plan:
    """Ask what a download of `name` would take. Raises InputError for an unknown name, ModelError when nobody answers,
    there is nothing to fetch or no room for it."""
    entry = catalog.find(name)
    if _offline():
        raise ModelError(f"{name}: cannot be fetched while HF_HUB_OFFLINE is set; unset it first")
    plan = _plan_for_hub(entry) if entry.on_hub else _plan_for_checkpoint(entry)
    _check_space(plan)
    return plan


def wanted_files(names: Iterable[str]) -> list[str]:
    """The files of a hub repository that the libraries here load: configurations, vocabularies, safetensors weights.

    Of a pipeline those of its parts, in half precision where a part has it; of any other model those at its top.
    """
    paths = [Path(name) for name in names if not name.startswith(".")]
    pipeline = Path("model_index.json") in paths
    here = [path for path in paths if len(path.parts) == (2 if pipeline else 1) and path.parts[0] not in UNUSED]
    weights = [path for path in here if WEIGHTS_FILE.fullmatch(path.name)]
    halved = {path.parent for path in weights if pipeline and _is_half(path)}
    chosen = [path for path in weights if _is_half(path) == (path.parent in halved)]
    texts = [path for path in here if path.suffix in (".json", ".txt") and ".index." not in path.name]
    return sorted(path.as_posix() for path in {*chosen, *texts, *([Path("model_index.json")] if pipeline else [])})


def _is_half(path: Path) -> bool:
    match = WEIGHTS_FILE.fullmatch(path.name)
    return match is not None and any(match.groups())


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _plan_for_hub(entry: Entry) -> Plan:
    from huggingface_hub import HfApi

    with _hub_errors_in_words(entry):
        return plan_from_hub(entry, HfApi())


def plan_from_hub(entry: Entry, api: Any) -> Plan:
    """What to fetch of a repository, as huggingface_hub's `api` tells; of the hub's own conversion where the main
    version has no safetensors. Raises ModelError where neither has."""
    plan = _plan_at(entry, api, None)
    if plan is None and (revision := _conversion(entry, api)) is not None:
        plan = _plan_at(entry, api, revision)
    if plan is None:
        raise ModelError(f"{entry.source}: holds no safetensors weights that can be used here; choose another model")
    return plan


def _plan_at(entry: Entry, api: Any, revision: str | None) -> Plan | None:
    """What to fetch of one version; None where a part of it has no safetensors weights."""
    info = api.model_info(entry.source, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings}
    files = wanted_files(sizes)
    with_weights = {Path(name).parent for name in files if WEIGHTS_FILE.fullmatch(Path(name).name)}
    parts = {Path(name).parent for name in files if Path(name).parts[0] in catalog.WITH_WEIGHTS}
    if not with_weights or not parts <= with_weights:
        return None
    return Plan(entry, tuple(files), sum(sizes[name] for name in files), catalog.hub_folder(), revision)


def _conversion(entry: Entry, api: Any) -> str | None:
    """The hub's own converter proposes safetensors to repositories that never took them up; as transformers does."""
    for request in api.get_repo_discussions(entry.source, author=CONVERTER, discussion_type="pull_request"):
        if request.title == CONVERSION and request.status != "closed":
            return f"refs/pr/{request.num}"
    return None


@contextmanager
def _hub_errors_in_words(entry: Entry) -> Iterator[None]:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        yield
    except MTransferError:
        raise
    except GatedRepoError as error:
        page = f"https://huggingface.co/{entry.source}"
        raise ModelError(f"{entry.source}: accept its terms at {page}, then log in with `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"{entry.source}: the hub has no such model, or it is private; check the name") from error
    except Exception as error:
        if _is_of_disk(error):
            raise
        raise _unreachable(entry, error) from error


def _unreachable(entry: Entry, error: BaseException) -> ModelError:
    cause = getattr(error, "reason", error)  # which urllib wraps
    reason = (str(cause).strip().splitlines() or [""])[0][:120] or type(error).__name__
    return ModelError(f"{entry.source}: cannot be fetched ({reason}); check the network, then run the command again")


def _fetch_from_hub(plan: Plan, *, quiet: bool) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = quiet and not are_progress_bars_disabled()
    if shown:
        disable_progress_bars()
    try:
        with _hub_errors_in_words(plan.entry):
            snapshot_download(plan.entry.source, revision=plan.revision, allow_patterns=list(plan.files))
    finally:
        if shown:
            enable_progress_bars()


def _plan_for_checkpoint(entry: Entry) -> Plan:
    with _opened(entry) as answer:
        size = int(answer.headers.get("Content-Length") or entry.about_bytes or 0)
    return Plan(entry, (Path(entry.source).name,), size, catalog.checkpoints_folder())


def _fetch_checkpoint(plan: Plan, report: Report) -> None:
    """Into a temporary file beside its place, checked against the hash in its name, then renamed."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    (name,) = plan.files
    with atomic_write(plan.folder / name) as part:
        with part.open("wb") as file, _opened(plan.entry) as answer:
            digest = hashlib.sha256()
            while chunk := answer.read(CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
                report(f"fetch {plan.entry.name}", file.tell(), max(plan.size_bytes, file.tell()), None)
        if not digest.hexdigest().startswith(hash_in_name(name)):
            raise ModelError(f"{plan.entry.source}: what came is not the file it should be; run the command again")


def hash_in_name(name: str) -> str:
    """The start of the SHA-256 that torchvision puts at the end of a checkpoint's name; empty where there is none."""
    found = re.fullmatch(r".*-([0-9a-f]{8,})\.pth", name)
    return found[1] if found else ""


@contextmanager
def _opened(entry: Entry) -> Iterator[Any]:
    try:
        with urllib.request.urlopen(entry.source, timeout=TIMEOUT_S) as answer:
            yield answer
    except MTransferError:
        raise
    except (OSError, ValueError) as error:
        if _is_of_disk(error):
            raise
        raise _unreachable(entry, error) from error


def _check_space(plan: Plan) -> None:
    home = plan.folder.absolute()
    while not home.exists():
        home = home.parent
    free_bytes = shutil.disk_usage(home).free
    if free_bytes < plan.size_bytes:
        need, free = in_words(plan.size_bytes), in_words(free_bytes)
        raise ModelError(f"{plan.entry.name}: needs {need} and {home} has {free} free; free some space")


def _is_of_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (*DISK_FULL, errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def _disk_errors_in_words(plan: Plan) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise ModelError(f"{plan.folder}: the disk is full; free some space, then run the command again") from error
        variable = "HF_HOME" if plan.entry.on_hub else "TORCH_HOME"
        raise ModelError(f"{plan.folder}: cannot be written ({error.strerror}); set {variable} to a folder") from error
