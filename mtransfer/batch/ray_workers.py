"""The same items on many machines: Ray actors that keep the models, one item in flight each.

Every machine needs mtransfer[cluster], and the clips, photos and OUT under the same paths; OUT may be a URL of fsspec.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from mtransfer.batch.local_workers import MEND_STUCK, Event, Workers
from mtransfer.batch.task import Record, Task
from mtransfer.errors import InputError, MTransferError

THREADS = 1  # a worker: then a cluster's results are to the byte those of one machine's single-threaded workers
START_S = 600.0  # in which one worker must be there, on a busy machine


class Maker:
    """An actor: makes items in its process, which keeps the models."""

    def __init__(self, threads: int) -> None:
        from mtransfer.batch.worker_process import get_ready

        get_ready(threads)

    def ready(self) -> bool:
        """Answers when everything is imported."""
        return True

    def do(self, task: Task) -> list[Record]:
        """Make a task's items; the record of each."""
        from mtransfer.batch.worker_process import do

        return do(task, lambda message: None)


class RayWorkers:
    """So many actors, spread over the machines; one that is lost with its machine is replaced where there is room.

    Ray gives no news of an item under way, so `timeout_s` bounds a whole item here.
    """

    says_when_read = False

    def __init__(self, count: int, timeout_s: float, gpus: int = 0) -> None:
        """`gpus`: of each worker."""
        self._gpus = gpus
        self._timeout_s, self._heard_s = timeout_s, time.monotonic()
        self._actors: dict[int, Any] = {}
        self._starting: dict[Any, int] = {}  # by the future of its answer
        self._running: dict[Any, tuple[int, Task, float]] = {}  # by the future of its records
        for worker in range(count):
            self._start(worker)

    def _start(self, worker: int) -> None:
        import ray

        threads = {name: str(THREADS) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        share: dict[str, Any] = {"num_cpus": THREADS, "num_gpus": self._gpus}
        options = {**share, "scheduling_strategy": "SPREAD", "runtime_env": {"env_vars": threads}}
        self._actors[worker] = ray.remote(Maker).options(**options).remote(THREADS)
        self._starting[self._actors[worker].ready.remote()] = worker

    def idle(self) -> list[int]:
        """Workers that have answered and have no task."""
        busy = {*self._starting.values(), *(worker for worker, _, _ in self._running.values())}
        return sorted(self._actors.keys() - busy)

    def give(self, worker: int, task: Task) -> None:
        """Let an idle worker do a task."""
        self._running[self._actors[worker].do.remote(task)] = worker, task, time.monotonic()

    def wait(self, longest_s: float) -> list[Event]:
        """What has happened within this time. Raises MTransferError when no worker answers for minutes."""
        import ray

        futures = [*self._running, *self._starting]
        finished, _ = ray.wait(futures, num_returns=1, timeout=longest_s) if futures else ([], [])
        events = [event for future in finished for event in self._finished(future)]
        if finished or self._running:
            self._heard_s = time.monotonic()
        elif time.monotonic() - self._heard_s > START_S:
            raise MTransferError(f"--cluster: no worker answered for {START_S:g} s; see `ray status`, and run it again")
        return events + self._overdue()

    def _finished(self, future: Any) -> list[Event]:
        import ray

        try:
            answer = ray.get(future)
        except ray.exceptions.RayActorError as error:
            return self._lost(future, type(error).__name__)
        except ray.exceptions.RayError as error:  # such as one whose Python or mtransfer is another
            raise MTransferError(f"--cluster: a worker cannot work ({_last_line(error)})") from error
        if future in self._starting:
            del self._starting[future]
            return []
        _, task, _ = self._running.pop(future)
        return [Event("ended", task, tuple(answer))]

    def _lost(self, future: Any, reason: str) -> list[Event]:
        if future in self._starting:
            self._start(self._starting.pop(future))
            return []
        worker, task, _ = self._running.pop(future)
        self._start(worker)
        return [Event("lost", task, reason=f"its worker was lost ({reason})")]

    def _overdue(self) -> list[Event]:
        import ray

        events = []
        for future, (worker, task, since_s) in list(self._running.items()):
            if time.monotonic() - since_s > self._timeout_s:
                del self._running[future]
                ray.kill(self._actors[worker])
                self._start(worker)
                events.append(Event("stuck", task, reason=f"not done after {self._timeout_s:g} s; {MEND_STUCK}"))
        return events

    def close(self) -> None:
        """End every worker now."""
        import ray

        for actor in self._actors.values():
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(actor)


def ray_workers(
    address: str, workers: int | None, timeout_s: float, device: str
) -> Callable[[list[int]], contextlib.AbstractContextManager[Workers]]:
    """What makes workers on a cluster: `local` (this machine's own), `auto` (the one that runs here) or an address.

    Where the cluster has GPUs and `device` is not the CPU, each worker has one.

    Raises InputError where Ray is not installed or no cluster answers.
    """
    if find_spec("ray") is None:
        raise InputError("--cluster: Ray is not installed; pip install 'mtransfer[cluster]'")

    @contextlib.contextmanager
    def make(locks: list[int]) -> Iterator[Workers]:
        import ray

        _connect(address)
        try:
            there = ray.cluster_resources()
            gpus = 0 if device == "cpu" else int(there.get("GPU", 0))
            count = workers or gpus or int(there.get("CPU", 1)) // THREADS
            with contextlib.closing(RayWorkers(max(1, count), timeout_s, min(gpus, 1))) as made:
                yield made
        finally:
            ray.shutdown()

    return make


def _connect(address: str) -> None:
    import ray

    try:
        ray.init(
            address=None if address == "local" else address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if address == "local" else None,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"--cluster {address}: no cluster answers ({_last_line(error)}); start one: ray start --head"
        ) from None


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
