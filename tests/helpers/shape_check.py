"""The type checker of the tests: beartype, with an int accepted for a float as type checkers have it."""

from collections.abc import Callable
from typing import Any, Self

from beartype import BeartypeConf, beartype

_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(annotated: Callable[..., Any]) -> Callable[..., Any]:
    """beartype, but for methods that return Self: it must know their class, which nobody tells it here."""
    returns = getattr(annotated, "__annotations__", {}).get("return")
    return annotated if returns is Self else _beartype(annotated)
