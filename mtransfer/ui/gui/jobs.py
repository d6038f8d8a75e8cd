"""A job in a thread of its own, told on: stage, step, energy, time left, the picture so far; stopped within a step.

Who cancels is answered at once; the thread ends at its next report.
"""

import base64
import contextlib
import io
import json
import os
import queue
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mtransfer.errors import MTransferError
from mtransfer.jobs.recipe import Recipe
from mtransfer.media.quantize import to_uint8
from mtransfer.ui.gui.sessions import Session, Thing

SEEN_EVERY_S, TOLD_EVERY_S, SEEN_PX = 0.7, 0.1, 512
AT_WORK = threading.Lock()  # the models serve one job at a time, and one that was cancelled goes on to its next step
INPUTS, RESULT = "inputs", "result"
OURS = ("mask.png", "flow.npz", "recipe.toml")


@dataclass(frozen=True)
class Progress:
    """How far a job is. `picture` is a JPEG as a data address, "" before there is one."""

    stage: str = "waiting"
    done: int = 0
    total: int = 1
    energy: float | None = None
    left_s: float | None = None
    picture: str = ""


class Cancelled(Exception):
    """The visitor has had enough."""


class Job:
    """One recipe under way for one session."""

    def __init__(self, session: Session, recipe: Recipe, home: Path, name: str, facts: dict[str, Any]) -> None:
        self.session, self.recipe, self.home, self.name, self.facts = session, recipe, home, name, facts
        self._cancelled = threading.Event()
        self.ended = False
        self._told: queue.SimpleQueue[Progress | Exception | None] = queue.SimpleQueue()
        self._now, self._begun_s, self._seen_s, self._first_step = Progress(), 0.0, 0.0, 0

    def cancel(self) -> None:
        """Ask it to stop, which it does at its next step."""
        self._cancelled.set()

    def follow(self) -> Iterator[Progress]:
        """Do the job, yielding how far it is. Raises Cancelled, MTransferError and what else went wrong."""
        threading.Thread(target=self._work, daemon=True).start()
        try:
            while (told := self._latest()) is not None:
                if isinstance(told, Exception):
                    raise told
                yield told
        finally:
            self.cancel()  # nobody listens any longer

    def _latest(self) -> Progress | Exception | None:
        told = self._next()
        deadline_s = time.monotonic() + TOLD_EVERY_S
        while isinstance(told, Progress):
            try:
                told = self._told.get(timeout=max(0.0, deadline_s - time.monotonic()))
            except queue.Empty:
                break
        return told

    def _next(self) -> Progress | Exception | None:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._told.get(timeout=TOLD_EVERY_S)
            self._check()

    def _work(self) -> None:
        from mtransfer.jobs.run_job import run_to_folder

        told: dict[str, Any] = {"report": self._report, "watch": self._watch}
        try:
            with self._turn():
                run_to_folder(self.recipe, self.home / RESULT, overwrite=False, metadata=True, **told)
            self.session.keep(Thing(self.name, "run", self.home, self._finished()))
            self._told.put(None)
        except Exception as error:
            if os.environ.get("MTRANSFER_DEBUG") == "1":
                traceback.print_exc()
            shutil.rmtree(self.home, ignore_errors=True)
            self._told.put(error)
        finally:
            self.ended = True

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for the jobs before; who is cancelled waits no longer."""
        while not AT_WORK.acquire(timeout=TOLD_EVERY_S):
            self._check()
        try:
            self._check()
            yield
        finally:
            AT_WORK.release()

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def _report(self, stage: str, done: int, total: int, energy: float | None) -> None:
        self._check()
        now_s = time.monotonic()
        if stage.split(":")[0] != self._now.stage.split(":")[0]:
            self._begun_s, self._first_step = now_s, done
        made = done - self._first_step
        left_s = (now_s - self._begun_s) / made * (total - done) if made > 0 else None
        self._now = replace(self._now, stage=stage, done=done, total=total, energy=energy, left_s=left_s)
        self._told.put(self._now)

    def _watch(self, make: Callable[[], Tensor]) -> None:
        now_s = time.monotonic()
        if now_s < self._seen_s + SEEN_EVERY_S:
            return
        self._seen_s = now_s
        with torch.no_grad():
            self._now = replace(self._now, picture=data_address(make()[0]))
        self._told.put(self._now)

    def _finished(self) -> dict[str, Any]:
        from mtransfer.jobs.recipe_file import RECIPE_FILE, carried_text

        result = self.home / RESULT
        names = sorted(path.name for path in result.iterdir() if path.is_file())
        shown = next(name for name in ("edited.png", "animation.mp4", "animation.gif") if name in names)
        text = carried_text(result / shown)
        (self.home / INPUTS / RECIPE_FILE).write_text(text, encoding="utf-8")
        figures = json.loads((result / "run.json").read_text(encoding="utf-8"))
        figures = {"metrics": figures["metrics"], "seconds": figures["seconds"], "seed": self.recipe.seed}
        return {"id": self.name, "shown": shown, "files": names, "preset": self.recipe.preset, **self.facts, **figures}


def data_address(image: Tensor, side_px: int = SEEN_PX) -> str:
    """A picture float32[3,H,W] in [0,1] as a JPEG in an address, no longer than `side_px`."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(image, side_px)).decode()


def jpeg(image: Tensor, side_px: int | None = None, quality: int = 85) -> bytes:
    """A picture float32[3,H,W] in [0,1] as a JPEG, its long side at most `side_px`."""
    picture = Image.fromarray(to_uint8(image))
    if side_px is not None:
        picture.thumbnail((side_px, side_px))
    content = io.BytesIO()
    picture.save(content, "jpeg", quality=quality)
    return content.getvalue()


def copied(path: Path, folder: Path) -> Path:
    """An input beside the others of a job: the same file, by a link where the disk has them."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (f"own-{path.name}" if path.name.lower() in OURS else path.name)
    with contextlib.suppress(OSError):
        os.link(path, target)
        return target
    return Path(shutil.copyfile(path, target))


def reason(session: Session, error: Exception) -> str:
    """What to tell the visitor of an error."""
    if isinstance(error, MTransferError):
        return session.told(error)
    return f"{type(error).__name__}: the job failed; the server's terminal says more with MTRANSFER_DEBUG=1"
