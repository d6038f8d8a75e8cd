"""Strict JSON: a figure that is not finite is null, a figure in words its value."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Worded:
    """A figure as a program reads it, and in words."""

    value: float | None
    words: str

    def __str__(self) -> str:
        return self.words


def strict_json(values: dict[str, Any], indent: int | None = None) -> str:
    """JSON in which a figure that is not finite is null."""
    return json.dumps(_finite(values), indent=indent, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, Worded):
        return _finite(value.value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save_json(values: dict[str, Any], path: Path) -> None:
    """Write strict JSON."""
    path.write_text(strict_json(values, indent=2) + "\n", encoding="utf-8")
