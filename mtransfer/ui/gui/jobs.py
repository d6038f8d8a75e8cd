"""A job in a thread of its own, told on: stage, step, energy, time left, the picture so far; stopped wherever it is.

Who cancels is answered at once; the thread ends at its next look-up (`turns.stopped_by`), which is some tenths later.
"""

import contextlib
import io
import json
import os
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
from mtransfer.log import lines_to
from mtransfer.media.quantize import to_uint8
from mtransfer.ui.gui.editor import THREADS
from mtransfer.ui.gui.sessions import ASKED, Session, Thing
from mtransfer.ui.gui.turns import Line, stopped_by
from mtransfer.ui.gui.words import page_words

SEEN_EVERY_S, TOLD_EVERY_S, SEEN_PX = 0.7, 0.1, 512
LINE = Line()  # the models serve one job at a time
INPUTS, RESULT = "inputs", "result"
OURS = ("mask.png", "flow.npz", "recipe.toml", "photo-mask.png", "clip-mask.png")
WEIGHTS = {  # of a stage in the whole of a job: about what it takes
    **{"prepare": 2, "photo": 3, "clip": 12, "retarget": 2, "warp": 3, "model": 3},
    **{"sample": 10, "plate": 3, "frames": 40, "measure": 3, "files": 6},
}
PICTURE = ("photo", "warp", "model", "sample", "measure")
FILM = ("photo", "model", "plate", "frames", "measure", "files")
STAGES = {
    "edit": ("prepare", *PICTURE),
    "film": ("prepare", *FILM),
    "transfer": ("photo", "clip", "retarget", "warp", "model", "sample", "measure"),
    "animate": ("photo", "clip", "retarget", *FILM[1:]),
}


@dataclass(frozen=True)
class Progress:
    """How far a job is. `picture` is a JPEG, b"" before there is one, `seen` how many there were."""

    stage: str = "waiting"
    done: int = 0
    total: int = 1
    energy: float | None = None
    left_s: float | None = None
    picture: bytes = b""
    seen: int = 0


class Cancelled(BaseException):
    """The visitor has had enough. No Exception, so that no fallback on the way takes it for a failure."""


class Job:
    """One recipe under way for one session. `prepare` makes it, which may take a while, once it is its turn."""

    def __init__(
        self, session: Session, name: str, home: Path, facts: dict[str, Any], prepare: Callable[[], Recipe]
    ) -> None:
        self.session, self.name, self.home, self.facts, self._prepare = session, name, home, facts, prepare
        self.state, self.lines, self.now = "waiting", list[str](), Progress()
        self.tab, self.error = "", ""
        self._cancelled, self._over = threading.Event(), threading.Event()
        self._asked_s, self._begun_s, self._seen_s, self._first_step = time.monotonic(), 0.0, 0.0, 0
        self._raised: BaseException | None = None

    @property
    def ended(self) -> bool:
        """Whether its thread has done all that it will."""
        return self._over.is_set()

    def cancel(self) -> None:
        """Ask it to stop; what has ended stays as it is."""
        self._cancelled.set()
        if not self.ended:
            self.state = "cancelling"

    def start(self) -> None:
        """Take its place in the line."""
        threading.Thread(target=self._work, daemon=True).start()

    def follow(self) -> Iterator[Progress]:
        """Do the job, yielding how far it is. Raises Cancelled, at once, MTransferError and what else went wrong."""
        self.start()
        told = None
        while not self._over.wait(TOLD_EVERY_S):
            self._check()
            if self.now is not told:
                told = self.now
                yield told
        if self._raised is not None:
            raise self._raised
        yield self.now

    def snapshot(self) -> dict[str, Any]:
        """What the page shows of it."""
        now = self.now
        shown = {"stage": now.stage, "done": now.done, "total": now.total, "energy": now.energy, "left_s": now.left_s}
        result = self.session.things.get(self.name)
        return {
            **{"id": self.name, "tab": self.tab, "of": self.facts["of"], "state": self.state, **shown},
            **{"share": self._share(), "elapsed_s": time.monotonic() - self._asked_s, "seen": now.seen},
            **{"ahead": LINE.ahead(self), "lines": self.lines, "error": self.error},
            "result": None if result is None else result.facts,
        }

    def _share(self) -> float:
        """How much of the whole is done: of the stages of its kind, and within the stage by its own count."""
        stages, stage = STAGES[self.facts["plan"]], self.now.stage.split(":")[0]
        if stage not in stages:
            return 0.0
        before = sum(WEIGHTS[each] for each in stages[: stages.index(stage)])
        within = WEIGHTS[stage] * self.now.done / max(1, self.now.total)
        return (before + within) / sum(WEIGHTS[each] for each in stages)

    def _work(self) -> None:
        try:
            with LINE.turn(self, self._check), stopped_by(self._check), lines_to(self._line):
                self._done_by_the_models()
            self.session.keep(Thing(self.name, "run", self.home, self._finished()))
            self.state = "done"
        except BaseException as error:
            self._fell_over(error)
        finally:
            (self.home.parent / ASKED).unlink(missing_ok=True)
            self._over.set()

    def _done_by_the_models(self) -> None:
        from mtransfer.jobs.run_job import run_to_folder

        torch.set_num_threads(THREADS)
        self.state = "running" if self.state == "waiting" else self.state
        self._report("prepare", 0, 1, None)
        told: dict[str, Any] = {"report": self._report, "watch": self._watch}
        run_to_folder(self._prepare(), self.home / RESULT, overwrite=False, metadata=True, **told)
        self._check()

    def _fell_over(self, error: BaseException) -> None:
        if os.environ.get("MTRANSFER_DEBUG") == "1" and not isinstance(error, Cancelled):
            traceback.print_exc()
        shutil.rmtree(self.home.parent, ignore_errors=True)
        self._raised = error
        self.error = "" if isinstance(error, Cancelled) else reason(self.session, error)
        self.state = "cancelled" if isinstance(error, Cancelled) else "failed"

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def _line(self, line: str) -> None:
        if (words := page_words(self.session.told(line))) and words not in self.lines:
            self.lines = [*self.lines, words]

    def _report(self, stage: str, done: int, total: int, energy: float | None) -> None:
        self._check()
        now_s = time.monotonic()
        if stage.split(":")[0] != self.now.stage.split(":")[0]:
            self._begun_s, self._first_step = now_s, done
        made = done - self._first_step
        left_s = (now_s - self._begun_s) / made * (total - done) if made > 0 else None
        self.now = replace(self.now, stage=stage, done=done, total=total, energy=energy, left_s=left_s)

    def _watch(self, make: Callable[[], Tensor]) -> None:
        now_s = time.monotonic()
        if now_s < self._seen_s + SEEN_EVERY_S:
            return
        self._seen_s = now_s
        with torch.no_grad():
            self.now = replace(self.now, picture=jpeg(make()[0], SEEN_PX), seen=self.now.seen + 1)

    def _finished(self) -> dict[str, Any]:
        from mtransfer.evaluation.moved_as_asked import in_words
        from mtransfer.jobs.recipe_file import RECIPE_FILE, carried_text

        result = self.home / RESULT
        names = sorted(path.name for path in result.iterdir() if path.is_file())
        shown = next(name for name in ("edited.png", "animation.mp4", "animation.gif") if name in names)
        text = carried_text(result / shown)
        (self.home / INPUTS / RECIPE_FILE).write_text(text, encoding="utf-8")
        run = json.loads((result / "run.json").read_text(encoding="utf-8"))
        metrics, recipe = run["metrics"], run["recipe"]
        figures = {"metrics": metrics, "seconds": run["seconds"], "seed": recipe["seed"], "preset": recipe["preset"]}
        moved = str(in_words(metrics["moved_as_asked"], metrics["moved_within_px"]))
        named = {"save_as": save_name(self.facts["of"], self.facts["kind"], shown), "moved": moved, "lines": self.lines}
        return {"id": self.name, "shown": shown, "files": names, **self.facts, **figures, **named}


def save_name(of: str, kind: str, shown: str) -> str:
    """What a result is called where it is saved: the photo, and what was done."""
    return f"{Path(of.rpartition(' and ')[2]).stem}-{kind}{Path(shown).suffix}"


def jpeg(image: Tensor, side_px: int | None = None, quality: int = 85) -> bytes:
    """A picture float32[3,H,W] in [0,1] as a JPEG, its long side at most `side_px`."""
    picture = Image.fromarray(to_uint8(image))
    if side_px is not None:
        picture.thumbnail((side_px, side_px))
    content = io.BytesIO()
    picture.save(content, "jpeg", quality=quality)
    return content.getvalue()


def copied(path: Path, folder: Path, name: str = "") -> Path:
    """An input beside the others of a job: the same file, by a link where the disk has them."""
    folder.mkdir(parents=True, exist_ok=True)
    own = f"own-{path.name}" if path.name.lower() in OURS else path.name
    target = folder / (name or own)
    with contextlib.suppress(OSError):
        os.link(path, target)
        return target
    return Path(shutil.copyfile(path, target))


def reason(session: Session, error: BaseException) -> str:
    """What to tell the visitor of an error."""
    if isinstance(error, MTransferError):
        return page_words(session.told(error))
    return f"the job failed ({type(error).__name__}), which it should not; whoever runs this server sees more there"
