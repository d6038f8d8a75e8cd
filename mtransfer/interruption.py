"""Long work that another thread may stop: it looks up, at its checkpoints, whether it is to go on."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

_check: contextvars.ContextVar[Callable[[], object] | None] = contextvars.ContextVar("check", default=None)


def checkpoint() -> None:
    """Raise whatever the check of this thread raises; nothing where none is set."""
    check = _check.get()
    if check is not None:
        check()


@contextlib.contextmanager
def checked_by(check: Callable[[], object]) -> Iterator[None]:
    """`check` is asked at every checkpoint of this thread meanwhile; it stops the work by what it raises."""
    before = _check.set(check)
    try:
        yield
    finally:
        _check.reset(before)
