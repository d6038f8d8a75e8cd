"""What the driver asks of a worker, and what a worker answers: plain data, as JSON between processes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class TaskItem:
    """One item of a task: its number in the manifest, its files, its recipe's values, and its place below OUT."""

    item: int
    clip: str
    photo: str
    values: dict[str, Any]
    place: str


@dataclass(frozen=True)
class Task:
    """Items of one clip, to be made in one pass by `command` and delivered below `out`, a folder or URL."""

    command: str
    out: str
    items: tuple[TaskItem, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        return cls(values["command"], values["out"], tuple(TaskItem(**each) for each in values["items"]))


@dataclass(frozen=True)
class Record:
    """What became of one item: why it was not delivered, if it was not, its seconds of work, and its warnings."""

    error: str | None
    seconds: float
    warnings: tuple[str, ...] = ()
    disk_full: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        return cls(**{**values, "warnings": tuple(values["warnings"])})
