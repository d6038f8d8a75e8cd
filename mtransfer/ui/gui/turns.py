"""One job at a time, in the order in which they came, and a thread's work that can be stopped wherever it is."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from torch.overrides import TorchFunctionMode

from mtransfer.interruption import checked_by

LOOKS_UP_S = 0.05
IMPORTING = "<frozen importlib._bootstrap>"


class Line:
    """Who waits for a turn, the first in front: one device, one job at a time."""

    def __init__(self) -> None:
        self._waiting: list[object] = []
        self._changed = threading.Condition()

    def ahead(self, who: object) -> int:
        """How many come before."""
        with self._changed:
            return self._waiting.index(who) if who in self._waiting else 0

    @contextlib.contextmanager
    def turn(self, who: object, check: Callable[[], object]) -> Iterator[None]:
        """Wait for all before to be done; `check` is asked meanwhile, and who raises waits no longer."""
        with self._changed:
            self._waiting.append(who)
        try:
            with self._changed:
                while self._waiting[0] is not who:
                    self._changed.wait(LOOKS_UP_S)
                    check()
            check()
            yield
        finally:
            with self._changed:
                self._waiting.remove(who)
                self._changed.notify_all()


@contextlib.contextmanager
def stopped_by(check: Callable[[], object]) -> Iterator[None]:
    """`check` is asked at checkpoints, and before every operation of torch: that is often, whatever is at work."""

    def safely() -> None:
        # A module that is half imported when it is stopped cannot be imported again.
        if not _is_importing(sys._getframe()):
            check()

    with checked_by(safely), _BeforeEveryOperation(safely):
        yield


class _BeforeEveryOperation(TorchFunctionMode):
    def __init__(self, check: Callable[[], object]) -> None:
        super().__init__()
        self._check = check

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._check()
        return func(*args, **(kwargs or {}))


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            return True
        frame = frame.f_back
    return False
