"""The process in which clips are decoded: native code that stalls or crashes takes nothing else with it.

It reads requests from stdin, a JSON line each, and answers each on stdout with a header and its bytes:

    {"open": path, "folder": where it is relative to, "deinterlace": "auto", "fast": true}  ->  facts, as JSON
    {"frame": index, "size": [H, W] | null}            ->  uint8[H,W,3]
    {"close": true}                                    ->  nothing

A refusal is answered by its line. The process ends with its parent's pipe, and by itself when nothing has moved for
STALLED_S. It imports neither torch nor OpenCV, so that it starts in a tenth of a second.
"""

import faulthandler
import json
import os
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

from mtransfer.errors import InputError

HEADER = struct.Struct("<cIIQ")  # kind, H, W, length
FACTS, FRAME, REFUSAL = b"j", b"f", b"e"
STALLED_S = 9.0
AGAIN_S = 0.5


class Watchdog:
    """Ends this process when `alive` has not been called for STALLED_S, even inside native code."""

    def __init__(self, quiet: BinaryIO) -> None:
        self._quiet, self._told_s = quiet, 0.0

    def alive(self) -> None:
        """Something has moved."""
        now = time.monotonic()
        if now - self._told_s > AGAIN_S:
            self._told_s = now
            faulthandler.dump_traceback_later(STALLED_S, exit=True, file=self._quiet)

    def rest(self) -> None:
        """Nothing is under way: whoever asked may take their time."""
        self._told_s = 0.0
        faulthandler.cancel_dump_traceback_later()


def main() -> None:
    """Answer requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to deal with, which closes stdin then
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    nowhere = open(os.devnull, "wb")  # noqa: SIM115 - as long as the process
    for noisy in (sys.stdout, sys.stderr):  # libraries write there as they like
        os.dup2(nowhere.fileno(), noisy.fileno())
    watchdog = Watchdog(nowhere)
    source: Any = None
    for line in sys.stdin.buffer:
        watchdog.alive()
        request = json.loads(line)
        try:
            if "close" in request:
                source, answer = None, (FACTS, 0, 0, b"")
            elif "open" in request:
                source = _opened(request, watchdog)
                answer = FACTS, 0, 0, json.dumps(source.facts.to_json()).encode()
            else:
                size = tuple(request["size"]) if request["size"] else None
                picture = source.frame(request["frame"], size)
                answer = FRAME, *picture.shape[:2], memoryview(picture).cast("B")
        except Exception as error:
            answer = REFUSAL, 0, 0, _line(error, request).encode()
        watchdog.rest()
        _send(answers, answer)


def _opened(request: dict[str, Any], watchdog: Watchdog) -> Any:
    from mtransfer.media.decoding.decoder_selection import open_source

    os.chdir(request["folder"])  # of the process that asks, so that both call the file the same
    path = Path(request["open"])
    return open_source(path, deinterlace=request["deinterlace"], fast=request["fast"], progress=watchdog.alive)


def _line(error: Exception, request: dict[str, Any]) -> str:
    if isinstance(error, InputError):
        return str(error)
    what = request.get("open", "the clip")
    return f"cannot decode {what} ({type(error).__name__}: {error}); re-encode the clip as H.264 mp4".replace("\n", " ")


def _send(answers: BinaryIO, answer: tuple[bytes, int, int, bytes | memoryview]) -> None:
    kind, height, width, content = answer
    answers.write(HEADER.pack(kind, height, width, len(content)))
    rest = memoryview(content)
    while rest:
        rest = rest[answers.write(rest) :]


if __name__ == "__main__":
    main()
