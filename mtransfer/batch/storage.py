"""How an item's results reach OUT: made beside it, then moved into place whole; on this disk or through fsspec."""

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from mtransfer.errors import InputError
from mtransfer.files import atomic_write

LAST = "run.json"  # where folders cannot be renamed, this file says that the others are there
STAGE = ".stage"  # of items under way


@dataclass(frozen=True)
class Out:
    """Where a batch's results go: a folder on this disk, or a folder of another file system."""

    fs: Any
    root: str

    @property
    def local(self) -> Path | None:
        """The folder, if it is on this disk."""
        return Path(self.root) if isinstance(self.fs, LocalFileSystem) else None

    def path(self, place: str) -> str:
        return f"{self.root.rstrip('/')}/{place}"


@dataclass(frozen=True)
class Delivered:
    """Results in their place: the seconds of the job, its metrics, and the files' names."""

    seconds: float
    metrics: dict[str, Any]
    outputs: list[str]


def open_out(out: str) -> Out:
    """A folder, or a URL that fsspec knows. Raises InputError for one it does not."""
    if "://" not in out:
        return Out(LocalFileSystem(), str(Path(out).absolute()))
    try:
        fs, root = fsspec.url_to_fs(out)
    except (ValueError, ImportError, OSError) as error:
        raise InputError(f"-o {out}: cannot be reached ({str(error).splitlines()[0]}); give a folder") from None
    return Out(fs, root)


@contextlib.contextmanager
def stage(out: Out) -> Iterator[Path]:
    """A folder on this disk to make an item in: beside its place where that is a rename away; gone afterwards."""
    home = out.local and out.local / STAGE
    if home is not None:
        home.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="item-", dir=home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clear_stage(out: Out) -> None:
    """Remove what items under way left behind when their workers were killed. Only the one driver may do this."""
    if out.local is not None:
        shutil.rmtree(out.local / STAGE, ignore_errors=True)


def is_delivered(out: Out, place: str) -> bool:
    """Whether an item's results are in their place, which they are whole or not at all."""
    return bool(out.fs.exists(out.path(f"{place}/{LAST}")))


def deliver(made: Path, out: Out, place: str) -> None:
    """Move a folder of results to its place; results already there are its twin's and stay.

    Raises InputError when something else is there.
    """
    if out.local is None:
        _upload(made, out, place)
        return
    wanted = out.local / place
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for path in (*made.rglob("*"), made):
        _to_disk(path)
    try:
        os.rename(made, wanted)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        if not is_delivered(out, place):
            raise InputError(f"{wanted}: holds other files; remove them or use another -o") from None
    _to_disk(wanted.parent)


def _to_disk(path: Path) -> None:
    """Past the operating system's own memory, so that a power cut leaves no empty file under a whole one's name."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _upload(made: Path, out: Out, place: str) -> None:
    if is_delivered(out, place):
        return
    files = [path for path in made.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.name == LAST):
        out.fs.put_file(str(path), out.path(f"{place}/{path.relative_to(made).as_posix()}"))


def look(out: Out, place: str) -> Delivered:
    """What the results in their place say of themselves. Raises InputError for a record that is no longer whole."""
    path = out.path(f"{place}/{LAST}")
    try:
        record = json.loads(out.fs.cat_file(path))
        seconds, metrics = sum(record["seconds"].values()), dict(record["metrics"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise InputError(f"{path}: not a whole record ({type(error).__name__}); remove its folder") from None
    outputs = sorted(Path(name).name for name in out.fs.ls(out.path(place), detail=False))
    return Delivered(seconds, metrics, outputs)


def write_text(out: Out, name: str, text: str) -> None:
    """Write a small file beside the results, whole or not at all."""
    if out.local is None:
        out.fs.pipe_file(out.path(name), text.encode())
        return
    with atomic_write(out.local / name) as part:
        part.write_text(text, encoding="utf-8")
