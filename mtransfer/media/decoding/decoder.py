"""A process that decodes clips, as its user sees it: requests in, facts and frames out, one line when it fails."""

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtransfer.errors import InputError
from mtransfer.media.decoding.clip_facts import ClipFacts, Deinterlace
from mtransfer.media.decoding.decoder_process import FRAME, HEADER, REFUSAL

PACKAGES_FOLDER = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "mtransfer.media.decoding.decoder_process"]
MOST_IDLE = 2
PIPE_BYTES = 2**20  # the most that Linux gives a pipe unasked
ADVICE = "re-encode the clip as H.264 mp4"


class DecoderDied(InputError):
    """Native code crashed or stalled in the decoding process."""


class Decoder:
    """One decoding process. Not for several threads at once."""

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, [str(PACKAGES_FOLDER), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": path},
            bufsize=0,
        )
        self._path: Path | None = None
        self._death: DecoderDied | None = None
        self._unread = 0  # answers
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import fcntl

            assert self._process.stdout is not None
            fcntl.fcntl(self._process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def open(self, path: Path, *, deinterlace: Deinterlace, fast: bool) -> ClipFacts:
        """Open a clip in place of the one before. Raises InputError; DecoderDied if that ended the process."""
        self._path = path
        self._ask({"open": str(path), "folder": os.getcwd(), "deinterlace": deinterlace, "fast": fast})
        _, _, _, content = self._answer()
        return ClipFacts.from_json(json.loads(bytes(content)))

    def ask(self, index: int, size: tuple[int, int] | None) -> None:
        """Have a frame decoded; `take` gives frames in the order in which they were asked for."""
        self._ask({"frame": index, "size": size})

    def take(self) -> NDArray[np.uint8]:
        """uint8[H,W,3]. Raises InputError as `open` does."""
        kind, height, width, content = self._answer()
        assert kind == FRAME, kind
        return np.frombuffer(content, np.uint8).reshape(height, width, 3)

    def close(self) -> bool:
        """Let go of the clip, whatever was still asked of it; whether the process can be used for another one."""
        self._ask({"close": True})
        while self._unread and not self._death:
            with contextlib.suppress(InputError):
                self._answer()
        return not self._death

    def end(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self._process.kill()
        self._process.wait()

    def _ask(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        if self._death:
            return
        self._unread += 1
        with contextlib.suppress(OSError):  # it has died, which the answer tells
            self._process.stdin.write(json.dumps(request).encode() + b"\n")

    def _answer(self) -> tuple[bytes, int, int, bytearray]:
        kind, height, width, length = HEADER.unpack(self._read(HEADER.size))
        content = self._read(length)
        self._unread -= 1
        if kind == REFUSAL:
            raise InputError(content.decode())
        return kind, height, width, content

    def _read(self, length: int) -> bytearray:
        content = bytearray(length)
        rest = memoryview(content)
        while rest:
            count = 0 if self._death else self._process.stdout.readinto(rest)  # type: ignore[union-attr]
            if not count:
                self._death = self._death or self._died()
                raise self._death
            rest = rest[count:]
        return content

    def _died(self) -> DecoderDied:
        code = self._process.wait()
        self.end()
        how = "crashes" if code < 0 else "stalls"
        return DecoderDied(f"{self._path} {how} its decoder, so it is broken or of an unknown kind; {ADVICE}")


_idle: list[Decoder] = []
_lock = threading.RLock()  # a reader may be collected, and its process returned, at any moment


def lent() -> Decoder:
    """A decoding process for one user, new or used before."""
    with _lock:
        if _idle:
            return _idle.pop()
    return Decoder()


def returned(decoder: Decoder) -> None:
    """Take back a decoding process; it is ended if enough of them wait already."""
    if decoder.close():
        with _lock:
            if len(_idle) < MOST_IDLE:
                _idle.append(decoder)
                return
    decoder.end()


def end_idle() -> None:
    """End the processes that wait for a user."""
    with _lock:
        while _idle:
            _idle.pop().end()


atexit.register(end_idle)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # two processes cannot share one
