"""The terminal: progress on stderr, results on stdout, and what an error becomes."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from mtransfer.errors import MTransferError
from mtransfer.log import Report, one_line, say, silence, tell, warn
from mtransfer.strict_json import strict_json

__all__ = ["Report", "one_line", "progress", "run", "say", "show", "tell", "warn"]

REPEAT_S = 5.0  # long enough to tidy up after the first


def run(job: Callable[[], None]) -> None:
    """Run a command's body; an error is one line on stderr and exit code 1 (failed), 2 (usage) or 130 (interrupted)."""
    try:
        with _insistent_interrupt():
            job()
    except KeyboardInterrupt:
        _fail("interrupted; nothing was written", 130)
    except MTransferError as error:
        _fail(str(error), error.exit_code)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        _fail(f"{type(error).__name__}: {lines[0]} (MTRANSFER_DEBUG=1 shows more)", 1)


@contextlib.contextmanager
def _insistent_interrupt() -> Iterator[None]:
    """Repeat an interrupt until the command ends: libraries swallow one that comes while they are being imported."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, REPEAT_S)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _fail(message: str, code: int) -> None:
    if os.environ.get("MTRANSFER_DEBUG") == "1":
        raise
    print(f"error: {one_line(message)}", file=sys.stderr)
    raise SystemExit(code) from None


@contextlib.contextmanager
def progress(*, quiet: bool) -> Iterator[Report]:
    """A bar on stderr that shows stage, step, energy and time left; nothing when quiet."""
    if quiet:
        with silence():
            yield lambda stage, done, total, energy: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[energy]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("", total=1, energy="")

        def report(stage: str, done: int, total: int, energy: float | None) -> None:
            shown = "" if energy is None else f"energy {energy:.2f}"
            # "frames: 3 of 24" goes on where "frames: 2 of 24" was, with its estimate of the time left.
            if bars.tasks[0].description.split(":")[0] != stage.split(":")[0]:
                bars.reset(task, total=total, description=stage, energy=shown)
            bars.update(task, completed=done, total=total, description=stage, energy=shown)

        yield report


def show(lines: dict[str, Any], *, as_json: bool) -> None:
    """Results on stdout: strict JSON, or a line each."""
    if as_json:
        print(strict_json(lines))
        return
    for name, value in lines.items():
        print(f"{name}: {value}")
