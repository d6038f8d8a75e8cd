"""Work for a second processor: what is begun beforehand, items worked out ahead, tasks done together."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_background(work: Callable[[], R]) -> "Future[R]":
    """What `work` returns or raises, worked out meanwhile; nobody waits for it who does not ask."""
    found: Future[R] = Future()

    def run() -> None:
        try:
            found.set_result(work())
        except BaseException as error:  # of a thread it would only be printed
            found.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return found


def in_order(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """`work` of each item, in their order; at most one item more than there are threads is ahead of what is taken.

    What an item raises is raised in its place. Items that were not begun by then, or when no more are taken, never are.
    """
    ahead: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def all_of(tasks: Sequence[Callable[[threading.Event], object]], threads: int) -> None:
    """Do every task, the first ones first; each is given the event that tells it to end early.

    What one raises is raised when all have ended, and those that were not begun never are.
    """
    stopped, pool = threading.Event(), ThreadPoolExecutor(threads)
    try:
        for each in [pool.submit(task, stopped) for task in tasks]:
            each.result()
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)


def until(stopped: threading.Event, items: Iterable[T]) -> Iterator[T]:
    """The items. Raises CancelledError instead of the next one once `stopped` is set."""
    for item in items:
        if stopped.is_set():
            raise CancelledError
        yield item
