"""What makes a batch's items, the models kept between them; also a process of its own.

As a process, tasks come in on stdin and messages go out on stdout, a JSON object a line, so that nothing is unpickled
and what a library prints is no message.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mtransfer.batch.task import Record, Task, TaskItem
from mtransfer.errors import MTransferError
from mtransfer.log import WARNING, lines_to

if TYPE_CHECKING:
    from mtransfer.jobs.render import Prepared, TransferOutput

HEARTBEAT_S = 1.0  # often enough for any time limit, seldom enough to cost nothing
THUMBNAIL, THUMBNAIL_PX = "thumbnail.jpg", 192
SHOWN = ("edited.png", "contact.png")  # of a picture, of an animation
Say = Callable[[dict[str, Any]], None]


def do(task: Task, say: Say) -> list[Record]:
    """Make a pass of items and deliver them: the record of each, of one that cannot be made too.

    `say` hears now and then that it goes on, {"stage": name}, and at each new stage. Photos are sampled together.
    """
    makers = [_Maker(task, item, say) for item in task.items]
    for maker in makers:
        maker.attempt(maker.animate if task.command == "animate" else maker.prepare)
    _sample([maker for maker in makers if maker.prepared is not None])
    return [maker.record() for maker in makers]


class _Maker:
    """One item under way, and what its record will tell."""

    def __init__(self, task: Task, item: TaskItem, say: Say) -> None:
        self.prepared: Prepared | None = None
        self._task, self._item, self._report = task, item, _reporter(say)
        self._error: Exception | None = None
        self._seconds, self._lines = 0.0, list[str]()

    def record(self) -> Record:
        """What became of it, once it was delivered or has failed."""
        warnings = tuple(line for line in self._lines if line.startswith(WARNING))
        reason = None if self._error is None else _reason(self._error)
        return Record(reason, round(self._seconds, 3), warnings, _is_disk_full(self._error))

    def attempt(self, make: Callable[[], None]) -> None:
        """Do it, and note how long it took, its warnings and why it failed, if it did."""
        started = time.monotonic()
        try:
            with lines_to(self.heard):
                make()
        except Exception as error:
            self.fail(error)
        self.took(time.monotonic() - started)

    def heard(self, line: str) -> None:
        self._lines.append(line)

    def fail(self, error: Exception) -> None:
        if os.environ.get("MTRANSFER_DEBUG") == "1":
            raise error
        self._error = error

    def took(self, seconds: float) -> None:
        self._seconds += seconds

    def _recipe(self) -> Any:
        from mtransfer.jobs.recipe import COMMANDS

        files = {"clip": Path(self._item.clip), "photo": Path(self._item.photo)}
        return COMMANDS[self._task.command].build({**self._item.values, **files}, [])

    def prepare(self) -> None:
        from mtransfer.jobs.transfer import prepare_transfer

        self.prepared = prepare_transfer(self._recipe(), report=self._report)

    def animate(self) -> None:
        from mtransfer.jobs.run_job import run_to_folder

        recipe = self._recipe()
        self._deliver(lambda folder: run_to_folder(recipe, folder, overwrite=False, metadata=True, report=self._report))

    def write(self, output: "TransferOutput") -> None:
        from mtransfer.files import staged
        from mtransfer.jobs.run_job import write_moved

        def fill(folder: Path) -> None:
            with staged(folder, overwrite=False) as stage:
                write_moved(output, stage, metadata=True)

        self._deliver(fill)

    def _deliver(self, fill: Callable[[Path], object]) -> None:
        from mtransfer.batch.storage import deliver, open_out, stage

        out = open_out(self._task.out)
        with stage(out) as folder:
            fill(folder / "result")
            save_thumbnail(folder / "result")
            deliver(folder / "result", out, self._item.place)


def _sample(makers: list[_Maker]) -> None:
    """Finish what is prepared; of a pass that fails, each item tells why."""
    from mtransfer.jobs.render import finish

    if not makers:
        return
    started, said = time.monotonic(), list[str]()
    try:
        with lines_to(said.append):
            outputs = finish([maker.prepared for maker in makers if maker.prepared])
    except Exception as error:
        for maker in makers:
            maker.fail(error)
        return
    share_s = (time.monotonic() - started) / len(makers)
    for maker, output in zip(makers, outputs, strict=True):
        for line in said:
            maker.heard(line)
        maker.took(share_s)
        maker.attempt(partial(maker.write, output))


def save_thumbnail(folder: Path) -> None:
    """A small picture of the result for the summary page."""
    from PIL import Image

    from mtransfer.media.photo.photo import read_photo, to_levels

    found = next(folder / name for name in SHOWN if (folder / name).exists())
    small = Image.fromarray(to_levels(read_photo(found).image))
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
    from mtransfer.files import DISK_FULL

    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        error = error.__cause__
    return False


def get_ready(threads: int) -> None:
    """Import what a job needs, and let the libraries of this process use so many cores."""
    import cv2
    import torch

    import mtransfer.jobs.run_job  # noqa: F401 - seconds that are no item's

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def main() -> None:
    """The process: until stdin ends, which it does when the driver does, however that ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the driver's to deal with
    _die_with_the_driver()
    channel = _own_stdout()

    def say(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=channel, flush=True)

    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    get_ready(int(sys.argv[1]))
    say({"ready": True})
    while True:
        say({"records": [record.to_json() for record in do(tasks.get(), say)]})


def _listen(tasks: "queue.SimpleQueue[Task]") -> None:
    for line in sys.stdin:
        tasks.put(Task.from_json(json.loads(line)))
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
