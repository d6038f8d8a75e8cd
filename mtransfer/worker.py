"""What makes a batch's items: one at a time, the models kept between them; also a process of its own.

As a process, tasks come in on stdin and messages go out on stdout, a JSON object a line, so that nothing is unpickled
and what a library prints is no message.
"""

import contextlib
import io
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from mtransfer.errors import MTransferError

HEARTBEAT_S = 1.0  # often enough for any time limit, seldom enough to cost nothing
THUMBNAIL, THUMBNAIL_PX = "thumbnail.jpg", 192
SHOWN = ("edited.png", "contact.png")  # of a picture, of an animation
Say = Callable[[dict[str, Any]], None]


def do(task: dict[str, Any], say: Say) -> dict[str, Any]:
    """Make one item and deliver it: what to record of it. An item that cannot be made is a record too.

    `say` hears now and then that the item goes on, {"stage": name}, and at each new stage.
    """
    started = time.monotonic()
    heard = io.StringIO()
    try:
        with contextlib.redirect_stderr(heard):
            record = _made(task, say)
    except Exception as error:
        if os.environ.get("MTRANSFER_DEBUG") == "1":
            raise
        record = {"state": "failed", "error": _reason(error), "disk_full": _is_disk_full(error)}
    warnings = [line for line in heard.getvalue().splitlines() if line.startswith("warning: ")]
    return record | {"seconds": round(time.monotonic() - started, 3), "warnings": warnings}


def _made(task: dict[str, Any], say: Say) -> dict[str, Any]:
    from mtransfer.delivery import deliver, open_out, stage
    from mtransfer.job import run_to_folder
    from mtransfer.recipe import COMMANDS

    out = open_out(task["out"])
    inputs = {"clip": Path(task["clip"]), "photo": Path(task["photo"])}
    recipe = COMMANDS[task["command"]].build({**task["values"], **inputs}, [])
    with stage(out) as folder:
        result = folder / "result"
        run_to_folder(recipe, result, overwrite=False, metadata=True, report=_reporter(say))
        save_thumbnail(result)
        deliver(result, out, task["place"])
    return {"state": "done"}


def save_thumbnail(folder: Path) -> None:
    """A small picture of the result for the summary page."""
    from PIL import Image

    with Image.open(next(folder / name for name in SHOWN if (folder / name).exists())) as picture:
        small = picture.convert("RGB")
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    small.save(folder / THUMBNAIL, quality=85)


def _reporter(say: Say) -> Callable[[str, int, int, float | None], None]:
    last: tuple[str, float] = ("", 0.0)

    def report(stage: str, done: int, total: int, energy: float | None) -> None:
        nonlocal last
        if stage != last[0] or time.monotonic() > last[1] + HEARTBEAT_S:
            last = stage, time.monotonic()
            say({"stage": stage})

    return report


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return str(error) if isinstance(error, MTransferError) else f"{type(error).__name__}: {lines[0]}"


def _is_disk_full(error: BaseException | None) -> bool:
    from mtransfer.output import DISK_FULL

    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        error = error.__cause__
    return False


def get_ready(threads: int) -> None:
    """Import what a job needs, and let the libraries of this process use so many cores."""
    import cv2
    import torch

    import mtransfer.job  # noqa: F401 - seconds that are no item's

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def main() -> None:
    """The process: until stdin ends, which it does when the driver does, however that ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the driver's to deal with
    _die_with_the_driver()
    channel = _own_stdout()

    def say(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=channel, flush=True)

    tasks: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    get_ready(int(sys.argv[1]))
    say({"ready": True})
    while True:
        say({"record": do(tasks.get(), say)})


def _listen(tasks: "queue.SimpleQueue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        tasks.put(json.loads(line))
    os._exit(0)  # also in the middle of an item, of which nobody would hear


def _die_with_the_driver() -> None:
    """Also where a library holds the interpreter and no thread can notice that stdin has ended."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _own_stdout() -> IO[str]:
    """The real stdout, for messages alone: what anything else prints goes to stderr."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


if __name__ == "__main__":
    main()
