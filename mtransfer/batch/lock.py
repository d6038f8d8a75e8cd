"""One driver at a time: a lock file that the operating system lets go of when its holders end, however they end."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from mtransfer.errors import InputError

ENDING_S = 20.0  # in which the workers of a driver that was killed notice it
ASK_AGAIN_S = 0.1


@contextlib.contextmanager
def sole_driver(path: Path) -> Iterator[int]:
    """Hold the lock file `path`; gives its open file, for workers to hold as well.

    Waits for the workers of a driver that has ended. Raises InputError while a driver lives, or its workers will not
    end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(number, path)
        os.truncate(number, 0)
        os.pwrite(number, str(os.getpid()).encode(), 0)
        yield number
    finally:
        os.close(number)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock."""
    try:
        number = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _try(number)
    finally:
        os.close(number)


def _take(number: int, path: Path) -> None:
    until_s = time.monotonic() + ENDING_S
    while not _try(number):
        driver = os.pread(number, 20, 0).decode(errors="replace")
        if _lives(driver):
            raise InputError(f"{path.parent}: another batch is at work here (process {driver}); wait until it ends")
        if time.monotonic() > until_s:
            raise InputError(f"{path}: workers of a batch that has ended still hold it; end them and try again")
        time.sleep(ASK_AGAIN_S)


def _try(number: int) -> bool:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(driver: str) -> bool:
    try:
        os.kill(int(driver), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
