"""Worker processes on this machine: tasks are given to idle ones, and what they say comes back as events."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal, Protocol, runtime_checkable

from mtransfer.batch.task import Record, Task
from mtransfer.errors import MTransferError

READ_BYTES = 2**16
START_S = 300.0  # to import torch on a busy machine
READING = ("start", "photo", "clip")  # the stages up to a clip's flow, which is then kept for the other workers
ENDING_S = 5.0  # from the end of its messages to its own
MEND_STUCK = "re-encode the clip if it is broken, or give it longer with --timeout"
STILLBORN = 3  # workers that end before they are ready: none ever will be


@dataclass(frozen=True)
class Event:
    """What became of a task: its clip was read, it ended with a record of each item, or its worker was lost, and why.

    Of a worker that was lost there are no records, but a reason.
    """

    kind: Literal["clip read", "ended", "lost", "stuck"]
    task: Task
    records: tuple[Record, ...] = ()
    reason: str = ""


@runtime_checkable
class Workers(Protocol):
    """Workers somewhere. `says_when_read`: whether "clip read" events come."""

    says_when_read: bool

    def idle(self) -> list[int]:
        """Workers that can be given a task now."""

    def give(self, worker: int, task: Task) -> None:
        """Let an idle worker do a task."""

    def wait(self, longest_s: float) -> list[Event]:
        """What has happened, as soon as something has, or nothing when that takes too long."""

    def close(self) -> None:
        """End every worker now."""


class _Worker:
    """One process, the task it is at, and when it was last heard of."""

    def __init__(self, threads: int, inherited: Sequence[int]) -> None:
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mtransfer.batch.worker_process", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
            pass_fds=inherited,
        )
        self.ready, self.task, self.stage, self.heard_s = False, None, "start", time.monotonic()
        self._rest = b""

    task: Task | None

    def give(self, task: Task) -> None:
        self.task, self.heard_s, self.stage = task, time.monotonic(), "start"
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its end is read next, which tells of it
            self.process.stdin.write(json.dumps(task.to_json()).encode() + b"\n")
            self.process.stdin.flush()

    def read(self) -> list[dict[str, Any]] | None:
        """The messages that have come; None at the end of the process."""
        assert self.process.stdout is not None
        content = os.read(self.process.stdout.fileno(), READ_BYTES)
        if not content:
            return None
        self.heard_s = time.monotonic()
        *lines, self._rest = (self._rest + content).split(b"\n")
        return [json.loads(line) for line in lines]

    def end(self, *, ended_itself: bool = False) -> str:
        """Kill it, unless it has ended by itself; how it ended, in words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(ENDING_S if ended_itself else 0)
        self.process.kill()
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines() or [""]
        self.errors.close()
        if code < 0:
            return signal.Signals(-code).name
        return f"exit code {code}: {lines[-1][:200]}" if lines[-1] else f"exit code {code}"


class LocalWorkers:
    """So many processes; one that is lost or stuck is replaced.

    `inherited` are open files that every worker holds as long as it lives. A worker of which nothing is heard for
    `timeout_s` is killed.
    """

    says_when_read = True

    def __init__(self, count: int, threads: int, timeout_s: float, inherited: Sequence[int] = ()) -> None:
        self._threads, self._timeout_s, self._inherited = threads, timeout_s, inherited
        self._selector = selectors.DefaultSelector()
        self._stillborn = 0
        self._workers = [self._start(slot) for slot in range(count)]

    def _start(self, slot: int) -> _Worker:
        worker = _Worker(self._threads, self._inherited)
        assert worker.process.stdout is not None
        self._selector.register(worker.process.stdout, selectors.EVENT_READ, slot)
        return worker

    def idle(self) -> list[int]:
        """Ready workers without a task."""
        return [slot for slot, worker in enumerate(self._workers) if worker.ready and worker.task is None]

    def give(self, worker: int, task: Task) -> None:
        """Let an idle worker do a task."""
        self._workers[worker].give(task)

    def wait(self, longest_s: float) -> list[Event]:
        """What has happened within this time. Raises MTransferError when no worker can be started."""
        events = []
        for key, _ in self._selector.select(longest_s):
            events += self._heard(key.data)
        now = time.monotonic()
        for slot, worker in enumerate(self._workers):
            silent_s = now - worker.heard_s
            if worker.task is not None and silent_s > self._timeout_s:
                reason = f"no progress for {self._timeout_s:g} s at the stage {worker.stage}; {MEND_STUCK}"
                events.append(Event("stuck", worker.task, reason=reason))
                self._replace(slot)
            elif not worker.ready and silent_s > START_S:
                worker.process.kill()  # its end is read next
        return events

    def _heard(self, slot: int) -> list[Event]:
        worker = self._workers[slot]
        messages = worker.read()
        if messages is None:
            return self._lost(slot)
        events = []
        for message in messages:
            worker.ready = worker.ready or "ready" in message
            worker.stage = message.get("stage", worker.stage)
            if worker.stage not in READING and worker.task is not None:
                events.append(Event("clip read", worker.task))
            if "records" in message and worker.task is not None:
                events.append(Event("ended", worker.task, tuple(map(Record.from_json, message["records"]))))
                worker.task = None
        return events

    def _lost(self, slot: int) -> list[Event]:
        worker = self._workers[slot]
        reason = self._replace(slot, ended_itself=True)
        self._stillborn = 0 if worker.ready else self._stillborn + 1
        if self._stillborn == STILLBORN:
            raise MTransferError(f"workers end before they can begin ({reason}); see mtransfer doctor")
        return [] if worker.task is None else [Event("lost", worker.task, reason=f"its worker was lost ({reason})")]

    def _replace(self, slot: int, *, ended_itself: bool = False) -> str:
        worker = self._workers[slot]
        self._selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
        reason = worker.end(ended_itself=ended_itself)
        self._workers[slot] = self._start(slot)
        return reason

    def close(self) -> None:
        """End every worker now."""
        for worker in self._workers:
            self._selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
            worker.end()
        self._selector.close()
