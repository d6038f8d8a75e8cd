"""Where results go: written whole into a folder beside the wanted one, then moved into place, or not at all."""

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mtransfer.errors import InputError, MTransferError

NAMES = ("edited.png", "preview.png", "flow.npz", "run.json")


@contextlib.contextmanager
def staged(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to write results into; they reach `out` only when the block ends without an error.

    Raises InputError at once when `out` cannot be written, or holds results and `overwrite` is off.
    """
    _check(out, overwrite)
    try:
        home = _existing_parent(out)
        stage = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=home))
    except OSError as error:
        raise InputError(f"-o {out}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        yield stage
        _move(stage, out)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise MTransferError(f"-o {out}: the disk is full; free some space, nothing was written") from error
        raise MTransferError(f"-o {out}: {error.strerror or error}; nothing was written") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _check(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"-o {out}: is a file; name a folder")
    if out.is_dir() and not os.access(out, os.W_OK):
        raise InputError(f"-o {out}: the folder is read-only; choose another")
    held = [name for name in NAMES if (out / name).exists()]
    if held and not overwrite:
        raise InputError(f"-o {out}: already holds {held[0]}; add --overwrite or choose another folder")


def _existing_parent(out: Path) -> Path:
    """The nearest folder above `out` that is there: on the same disk, so that moving is a rename."""
    parent = out.absolute().parent
    while not parent.exists():
        parent = parent.parent
    return parent


def _move(stage: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(stage.iterdir()):
        os.replace(path, out / path.name)


def save_png(image: Float[Tensor, "3 H W"], path: Path, icc_profile: bytes | None = None) -> None:
    """Write an image in [0,1] as an 8-bit PNG."""
    pixels = (255 * image.detach().clamp(0, 1)).round().byte().permute(1, 2, 0).cpu().numpy()
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, icc_profile=icc_profile)


def save_json(values: dict[str, Any], path: Path) -> None:
    """Write strict JSON: a figure that is not finite is null."""
    path.write_text(json.dumps(_finite(values), indent=2, allow_nan=False, default=str) + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
