"""The driver of a batch: gives items to workers and records what becomes of them. It alone writes the manifest."""

import contextlib
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mtransfer.batch.index_page import write_page
from mtransfer.batch.local_workers import Event, Workers
from mtransfer.batch.lock import sole_driver
from mtransfer.batch.manifest import Entry, Manifest
from mtransfer.batch.plan import Batch, Tally, finish, settle
from mtransfer.batch.storage import clear_stage, is_delivered
from mtransfer.batch.task import Record, Task, TaskItem
from mtransfer.errors import MTransferError

LOSSES = 3  # workers that one item may cost: then it is the item's fault
TICK_S = 0.5
PAGE_S = 30.0  # between two editions of the summary page
MANIFEST, LOCK = "manifest.sqlite", ".lock"
Hear = Callable[[Entry, Tally, list[str]], None]  # an item that was finished, how far it all is, warnings
# From files that workers are to hold open.
MakeWorkers = Callable[[list[int]], contextlib.AbstractContextManager[Workers]]


def run_batch(
    batch: Batch, manifest_path: Path, make_workers: MakeWorkers, hear: Hear, *, retry_failed: bool, batch_size: int = 1
) -> Tally:
    """Do what of the batch is not done yet. Raises InputError while another driver is at work on it.

    A worker gets up to `batch_size` items of one clip at a time, to be sampled together. The workers hold the locks
    too, so that none of an ended driver is still at work when the next one begins.
    """
    with contextlib.ExitStack() as held:
        homes = {manifest_path.absolute().parent, *([batch.out.local] if batch.out.local else [])}
        locks = [held.enter_context(sole_driver(home / LOCK)) for home in sorted(homes)]
        manifest = held.enter_context(contextlib.closing(Manifest(manifest_path)))
        entries = settle(batch, manifest, retry_failed=retry_failed)
        try:
            if not any(entry.state == "pending" for entry in entries):
                return tally_of(entries)
            with make_workers(locks) as workers:
                return Scheduler(batch, manifest, entries, workers, hear, batch_size).run()
        finally:
            clear_stage(batch.out)  # what workers that were lost left behind
            _write_page(batch, manifest)


def _write_page(batch: Batch, manifest: Manifest) -> None:
    """The summary, where it can be written: a disk that is full is told of by the items."""
    with contextlib.suppress(OSError):
        write_page(batch.out, manifest.entries())


def tally_of(entries: list[Entry]) -> Tally:
    """How far a batch is that has these items."""
    states = Counter(entry.state for entry in entries)
    done, failed = states["done"], states["failed"]
    return Tally(len(entries), done, failed, done + failed, time.monotonic())


class Scheduler:
    """One run over the items that are pending."""

    def __init__(
        self, batch: Batch, manifest: Manifest, entries: list[Entry], workers: Workers, hear: Hear, batch_size: int
    ) -> None:
        self._batch, self._manifest, self._workers, self._hear = batch, manifest, workers, hear
        self._batch_size = batch_size
        self._items = {item.key: item for item in batch.items}
        self._pending: dict[str, list[Entry]] = defaultdict(list)  # by clip
        for entry in reversed(entries):
            if entry.state == "pending":
                self._pending[entry.clip].append(entry)
        self._running: dict[int, Entry] = {}
        self._losses: Counter[int] = Counter()
        self._unread: set[str] = set()  # clips whose flow is being read for the first time
        self._read: set[str] = set()
        self._last_clip: dict[int, str] = {}
        self.tally = tally_of(entries)
        self._page_s = time.monotonic()

    def run(self) -> Tally:
        """Do every pending item. Raises MTransferError when the disk is full or no worker can work."""
        while any(self._pending.values()) or self._running:
            for worker in self._workers.idle():
                self._give_next(worker)
            for event in self._workers.wait(TICK_S):
                self._handle(event)
            if time.monotonic() > self._page_s + PAGE_S:
                _write_page(self._batch, self._manifest)
                self._page_s = time.monotonic()
        return self.tally

    def _give_next(self, worker: int) -> None:
        clip = self._choose_clip(self._last_clip.get(worker))
        if clip is None:
            return
        taken = [entry for entry in self._take(clip) if self._is_free(entry)]
        if not taken:
            return
        if clip not in self._read:
            self._unread.add(clip)
        self._last_clip[worker] = clip
        for entry in taken:
            self._manifest.start(entry.id)
            self._running[entry.id] = replace(entry, state="running", attempts=entry.attempts + 1)
        self._workers.give(worker, self._task(taken))

    def _take(self, clip: str) -> list[Entry]:
        """The next items of a clip; one that was lost before goes alone, so that it takes no others along."""
        pending = self._pending[clip]
        taken = [pending.pop()]
        while (
            pending and len(taken) < self._batch_size and not self._losses[taken[0].id] + self._losses[pending[-1].id]
        ):
            taken.append(pending.pop())
        return taken

    def _is_free(self, entry: Entry) -> bool:
        if entry.attempts or not is_delivered(self._batch.out, entry.folder):
            return True
        self._fail(entry, f"{entry.folder}: holds results of another batch; remove them or use another -o", None)
        return False

    def _choose_clip(self, last: str | None) -> str | None:
        """The worker's own clip again, else one nobody is at, else one whose flow is already kept, else none yet."""
        waiting = [clip for clip, entries in self._pending.items() if entries and clip not in self._unread]
        busy = {entry.clip for entry in self._running.values()}
        if not waiting and not self._workers.says_when_read:
            waiting = [clip for clip, entries in self._pending.items() if entries]
        return min(waiting, key=lambda clip: (clip != last, clip in busy), default=None)

    def _task(self, entries: list[Entry]) -> Task:
        out = str(self._batch.out.local or self._batch.out.fs.unstrip_protocol(self._batch.out.root))
        return Task(self._batch.command, out, tuple(self._task_item(entry) for entry in entries))

    def _task_item(self, entry: Entry) -> TaskItem:
        item = self._items[entry.clip, entry.photo]
        clip, photo = (os.path.abspath(source.path) for source in (item.clip, item.photo))
        return TaskItem(entry.id, clip, photo, {**self._batch.values, **item.settings}, entry.folder)

    def _handle(self, event: Event) -> None:
        entries = [self._running[item.item] for item in event.task.items]
        self._unread.discard(entries[0].clip)
        if event.kind == "clip read":
            self._read.add(entries[0].clip)
            return
        together = len(entries) > 1
        records = event.records or (None,) * len(entries)  # of a worker that was lost there are none
        for entry, record in zip(entries, records, strict=True):
            del self._running[entry.id]
            self._settle(entry, record, event, together=together)

    def _settle(self, entry: Entry, record: Record | None, event: Event, *, together: bool) -> None:
        seconds, warnings = (None, ()) if record is None else (record.seconds, record.warnings)
        error = event.reason if record is None else record.error
        if error is None or is_delivered(self._batch.out, entry.folder):
            self._note(finish(self._batch.out, self._manifest, entry, seconds), list(warnings))
        elif record is not None and record.disk_full:
            self._manifest.put_back([entry.id])
            raise MTransferError(f"-o {self._batch.out.root}: {error}; then run the same command again")
        elif event.kind == "lost" or (event.kind == "stuck" and together):
            self._again_or_fail(entry, event.reason)
        else:
            self._fail(entry, error, seconds)

    def _again_or_fail(self, entry: Entry, reason: str) -> None:
        self._losses[entry.id] += 1
        if self._losses[entry.id] < LOSSES:
            self._manifest.put_back([entry.id])
            self._pending[entry.clip].append(entry)
        else:
            self._fail(entry, f"{reason}, {LOSSES} times; try the clip and the photo alone", None)

    def _fail(self, entry: Entry, error: str, seconds: float | None) -> None:
        self._manifest.fail(entry.id, error, seconds)
        self._note(replace(entry, state="failed", error=error, seconds=seconds), [])

    def _note(self, entry: Entry, warnings: list[str]) -> None:
        done = entry.state == "done"
        self.tally = replace(self.tally, done=self.tally.done + done, failed=self.tally.failed + (not done))
        self._hear(entry, self.tally, warnings)
