"""Files written whole or not at all: beside their place first, then moved into it; one file, or a folder of results."""

import contextlib
import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mtransfer.errors import InputError, MTransferError

PART = ".mtransfer-part"  # the end of what is not whole yet
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
NAMES = (
    *("ablation.png", "edited.png", "generated.png", "preview.png", "flow.npz", "noise.safetensors", "run.json"),
    *("animation.mp4", "animation.gif", "frames", "contact.png", "side_by_side.mp4", "recipe.toml", "report.html"),
)


@contextlib.contextmanager
def staged(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to write results into; they reach `out` only when the block ends without an error.

    Raises InputError at once when `out` cannot be written, or holds results and `overwrite` is off.
    """
    require_free(out, overwrite)
    try:
        stage = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=nearest(out)))
    except OSError as error:
        raise InputError(f"-o {out}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        yield stage
        _move(stage, out)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise MTransferError(f"-o {out}: the disk is full; free some space, nothing was written") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def require_free(out: Path, overwrite: bool) -> None:
    """Raises InputError when `out` cannot be written, or holds results and `overwrite` is off."""
    if out.exists() and not out.is_dir():
        raise InputError(f"-o {out}: is a file; name a folder")
    if out.is_dir() and not os.access(out, os.W_OK):
        raise InputError(f"-o {out}: the folder is read-only; choose another")
    held = [name for name in NAMES if (out / name).exists()]
    if held and not overwrite:
        raise InputError(f"-o {out}: already holds {held[0]}; add --overwrite or choose another folder")


def require_file(path: Path, kind: str, one: str) -> None:
    """Raises InputError when an input is not there or a folder. `kind`: clip or photo; `one`: what to name instead."""
    if not path.exists():
        raise InputError(f"{kind} {path} does not exist; check the name")
    if path.is_dir():
        raise InputError(f"{kind} {path} is a folder; name one {one} in it")


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` only when the block ends without an error."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")
    try:
        yield part
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def nearest(out: Path) -> Path:
    """`out` itself, or the nearest folder above it that is there: on the same disk, so that moving is a rename."""
    home = out.absolute()
    while not home.exists():
        home = home.parent
    return home


def _move(stage: Path, out: Path) -> None:
    """Rename every result into place; if one cannot be, put back what was there."""
    results = sorted(stage.iterdir())
    replaced = stage / "replaced"
    replaced.mkdir()
    with contextlib.ExitStack() as undo:
        for folder in reversed([path for path in (out, *out.parents) if not path.exists()]):
            folder.mkdir()
            undo.callback(folder.rmdir)
        for path in results:
            wanted = out / path.name
            if wanted.exists():
                os.replace(wanted, replaced / path.name)
                undo.callback(os.rename, replaced / path.name, wanted)
            os.replace(path, wanted)
            undo.callback(os.rename, wanted, path)
        undo.pop_all()
