"""What is slow to make and made again the same: flows, subjects, shots and inversions, kept on disk within a bound;
and pictures of what was guessed.

A file is named by the hash of what it depends on, and written under another name first, so that two processes at once
only ever see whole files. A cache that cannot be written costs time, never a result.
"""

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtransfer import __version__
from mtransfer.errors import InputError
from mtransfer.files import PART, atomic_write

DEFAULT_GB = 2.0
GB = 10**9
CHUNK_BYTES = 2**20
SURELY_ALTERED_S = 2.0  # so far apart two writes of a file differ in its time, on every file system
ABANDONED_S = 3600.0  # a temporary file this old is of a process that ended in the middle
# Nothing else in the folder is ever touched.
OWN_FILES = "[a-z]*/" + "[0-9a-f]" * 64 + ".safetensors", "guesses/" + "[0-9a-f]" * 16 + ".png"
OWN_PARTS = f"[a-z]*/.*{PART}"


@dataclass(frozen=True)
class CacheInfo:
    """What the cache holds: files and bytes, in all and by kind, and the bound in bytes."""

    folder: Path
    files: int
    size_bytes: int
    limit_bytes: int
    by_kind: dict[str, tuple[int, int]]  # files, bytes


def remember(kind: str, key: dict[str, Any], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors that `make` makes, from disk where they were made before; contiguous, on the CPU.

    `kind` is a lower-case word; `key`, plain values only, holds everything that the tensors depend on. Raises
    InputError for a MTRANSFER_CACHE_GB that is no size.
    """
    path = _place(kind, key)
    if limit_bytes() == 0:
        return _plain(make())
    if (held := _read(path)) is not None:
        return held
    made = _plain(make())
    with suppress(OSError):
        _write(path, lambda part: _save_tensors(part, made))
        _evict(keep=path)
    return made


def keep_guess(png: bytes) -> Path | None:
    """Keep a picture for the eye, named by its content; None where the cache is off or cannot be written.

    Raises InputError for a MTRANSFER_CACHE_GB that is no size.
    """
    path = folder() / "guesses" / f"{hashlib.sha256(png).hexdigest()[:16]}.png"
    if limit_bytes() == 0:
        return None
    try:
        _write(path, lambda part: part.write_bytes(png))
    except OSError:
        return None
    _evict(keep=path)
    return path


def info() -> CacheInfo:
    """What the cache holds now. Raises InputError for a MTRANSFER_CACHE_GB that is no size."""
    by_kind: dict[str, tuple[int, int]] = {}
    for path, size, _ in _files():
        files, total = by_kind.get(path.parent.name, (0, 0))
        by_kind[path.parent.name] = (files + 1, total + size)
    files, total = (sum(figures) for figures in zip(*by_kind.values(), strict=True)) if by_kind else (0, 0)
    return CacheInfo(folder(), files, total, limit_bytes(), by_kind)


def clear() -> tuple[int, int]:
    """Remove every file of the cache, and nothing else; how many files and bytes that were."""
    removed = [(path, size) for path, size, _ in _files() if _remove(path)]
    for part in folder().glob(OWN_PARTS):
        _remove(part)
    for kind in {path.parent for path, _ in removed}:
        with suppress(OSError):
            kind.rmdir()
    return len(removed), sum(size for _, size in removed)


def folder() -> Path:
    """MTRANSFER_CACHE, else XDG_CACHE_HOME/mtransfer, else ~/.cache/mtransfer; it need not be there."""
    if own := os.environ.get("MTRANSFER_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mtransfer"


def limit_bytes() -> int:
    """The bound: MTRANSFER_CACHE_GB (10^9 bytes; 0 turns the cache off), else 2 GB. Raises InputError for no size."""
    given = os.environ.get("MTRANSFER_CACHE_GB") or str(DEFAULT_GB)
    try:
        size = float(given)
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise InputError(f"MTRANSFER_CACHE_GB={given}: not a size; set a number of GB, such as 2 (0: no cache)")
    return round(size * GB)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal; read once a process as long as the file stays as it is."""
    status = path.stat()
    if abs(time.time() - status.st_mtime) < SURELY_ALTERED_S:
        return _read_hash(path)
    return _known_hash(path.absolute(), status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _known_hash(path: Path, *state: int) -> str:
    return _read_hash(path)


def _read_hash(path: Path) -> str:
    """Piece by piece."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _place(kind: str, key: dict[str, Any]) -> Path:
    assert re.fullmatch("[a-z]+", kind), f"{kind!r}: a kind is a lower-case word"
    # Another version may make other tensors of the same key.
    text = json.dumps({"version": __version__, **key}, sort_keys=True, allow_nan=False)
    return folder() / kind / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    places = [tensor.untyped_storage().data_ptr() for tensor in plain.values()]
    # Tensors that share memory cannot be saved; others may be large.
    return {
        name: tensor
        if places.count(place) == 1 and tensor.untyped_storage().nbytes() == tensor.nbytes
        else tensor.clone()
        for (name, tensor), place in zip(plain.items(), places, strict=True)
    }


def _read(path: Path) -> dict[str, Tensor] | None:
    """The tensors of a file that is whole, which is now the last used; None for any other."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()  # not mapped: another process may remove the file meanwhile
        tensors = load(content)
        whole = _written_digest(content) == _digest(tensors)
    except (OSError, SafetensorError, ValueError, KeyError):
        return None
    if not whole:
        return None
    with suppress(OSError):
        os.utime(path)
    return tensors


def _save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, path, {"digest": _digest(tensors)})  # which, unlike save, holds no second copy of them
    except SafetensorError as error:
        raise OSError(str(error)) from error


def _write(path: Path, save: Callable[[Path], object]) -> None:
    """What `save` writes, whole at `path` or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        save(part)


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _written_digest(content: bytes) -> str:
    length = int.from_bytes(content[:8], "little")
    digest: str = json.loads(content[8 : 8 + length])["__metadata__"]["digest"]
    return digest


def _files() -> list[tuple[Path, int, float]]:
    """Path, bytes and time of last use of every file, the least recently used first."""
    found = []
    for path in (path for pattern in OWN_FILES for path in folder().glob(pattern)):
        with suppress(OSError):  # gone meanwhile
            status = path.stat()
            found.append((path, status.st_size, status.st_mtime))
    return sorted(found, key=lambda file: (file[2], file[0]))


def _evict(keep: Path) -> None:
    """Remove the least recently used files until the rest is within the bound, and what a crash left behind."""
    files = _files()
    excess = sum(size for _, size, _ in files) - limit_bytes()
    for path, size, _ in files:
        if excess > 0 and path != keep and _remove(path):
            excess -= size
    for part in folder().glob(OWN_PARTS):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > ABANDONED_S:
                _remove(part)


def _remove(path: Path) -> bool:
    """Whether it was there and is gone."""
    try:
        path.unlink()
    except OSError:
        return False
    return True
