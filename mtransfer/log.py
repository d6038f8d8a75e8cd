"""What is said on the way: lines on stderr, the shape of a progress report, and libraries' own bars switched off."""

import contextlib
import contextvars
import sys
from collections.abc import Callable, Iterator

_quiet = contextvars.ContextVar("quiet", default=False)
_listener: contextvars.ContextVar["Callable[[str], object] | None"] = contextvars.ContextVar("listener", default=None)

WARNING = "warning: "
Report = Callable[[str, int, int, float | None], None]  # stage, done, total, energy


def say(message: str) -> None:
    """One line on stderr about what was chosen."""
    listener = _listener.get()
    if listener is None:
        print(message, file=sys.stderr)
    else:
        listener(message)


def one_line(message: str) -> str:
    """What cannot be printed, escaped: a file's name may hold line breaks and a terminal's commands."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "replace").decode() for char in message
    )


def tell(message: str) -> None:
    """As `say`, about what was found on the way; nothing while a quiet command runs."""
    if not _quiet.get():
        say(message)


def warn(message: str) -> None:
    """One line on stderr about what the user gave and what will not be as they may think."""
    say(f"{WARNING}{one_line(message)}")


@contextlib.contextmanager
def lines_to(listener: Callable[[str], object]) -> Iterator[None]:
    """Every line of this thread goes to `listener` meanwhile, and not to stderr."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """`tell` says nothing meanwhile."""
    before = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(before)


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """The progress bars of diffusers and transformers are off meanwhile: what is shown is ours."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    shown = [library for library in (diffusers_logging, transformers_logging) if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()
