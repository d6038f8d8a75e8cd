"""Folders of small clips and photos, and batches of them."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from pictures import disc_photo, save_clip, save_picture

from mtransfer.batch.items import Item
from mtransfer.batch.local_workers import Event, Workers
from mtransfer.batch.manifest import Entry, Manifest
from mtransfer.batch.plan import Tally, ask
from mtransfer.batch.scheduler import run_batch
from mtransfer.batch.storage import open_out
from mtransfer.batch.task import Task
from mtransfer.batch.worker_process import do

RESULTS = {"edited.png", "preview.png", "flow.npz", "run.json", "thumbnail.jpg"}
QUICK = ("--preset", "draft", "--set", "pair=0:3")
# Whatever is printed by the side, a worker ends with its driver.
MTRANSFER = (sys.executable, "-c", "from mtransfer.ui.cli.main import main; main()")


def make_folders(home: Path, clips: int, photos: int) -> Path:
    """home/clips/c0.mp4 ... and home/photos/p0.png ..., each different."""
    (home / "clips").mkdir(parents=True)
    (home / "photos").mkdir()
    for index in range(clips):
        save_clip(home / "clips" / f"c{index}.mp4", step_px=3 + index % 5, frames=4)
    for index in range(photos):
        save_picture(home / "photos" / f"p{index}.png", torch.roll(disc_photo(), 5 * index, dims=-1))
    return home


def entries(manifest: Path) -> list[Entry]:
    """What a manifest holds."""
    record = Manifest(manifest, read_only=True)
    try:
        return record.entries()
    finally:
        record.close()


def start(home: Path, *words: str) -> subprocess.Popen[str]:
    """The command, in a process of its own."""
    whole = [*MTRANSFER, "batch", "clips", "photos", "-o", "out", "--json", *words]
    return subprocess.Popen(whole, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_whole(out: Path, count: int) -> None:
    """Every one of `count` items is done, its files are there and whole, and nothing else is."""
    found = entries(out / "manifest.sqlite")
    assert len(found) == count
    assert {entry.state for entry in found} == {"done"}, [entry.error for entry in found if entry.error]
    for entry in found:
        assert {path.name for path in (out / entry.folder).iterdir()} == RESULTS == set(entry.outputs)
        json.loads((out / entry.folder / "run.json").read_text())
    folders = {out / entry.folder for entry in found}
    others = {path.name for path in out.rglob("*") if path.is_file() and path.parent not in folders}
    assert others - {"manifest.sqlite-wal", "manifest.sqlite-shm"} == {"index.html", "manifest.sqlite", ".lock"}
    assert not list(out.glob(".stage/*"))


class HereWorkers:
    """One worker in this process, where everything is imported already: what is tested is the driver and the job."""

    says_when_read = True

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self._task: Task | None = None

    def idle(self) -> list[int]:
        return [] if self._task else [0]

    def give(self, worker: int, task: Task) -> None:
        self._task = Task.from_json(json.loads(json.dumps(task.to_json())))
        self.tasks.append(task)

    def wait(self, longest_s: float) -> list[Event]:
        if self._task is None:
            return []
        task, self._task = self._task, None
        return [Event("clip read", task), Event("ended", task, tuple(do(task, lambda message: None)))]

    def close(self) -> None:
        pass


def run_here(
    items: list[Item],
    out: str,
    *,
    workers: Workers | None = None,
    retry_failed: bool = False,
    batch_size: int = 1,
    animate: bool = False,
    **given: Any,
) -> Tally:
    """A draft batch of `items` into `out` with a worker in this process."""
    workers, folder = workers or HereWorkers(), open_out(out)
    chosen = {"preset": "draft"} | ({} if animate else {"pair": "0:3"}) | given
    batch = ask(items, folder, None, chosen, [], animate=animate)
    manifest = Path("manifest.sqlite") if folder.local is None else folder.local / "manifest.sqlite"
    return run_batch(
        batch,
        manifest,
        lambda locks: contextlib.nullcontext(workers),
        lambda *heard: None,
        retry_failed=retry_failed,
        batch_size=batch_size,
    )
