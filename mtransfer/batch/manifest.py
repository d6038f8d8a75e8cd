"""The record of a batch: one sqlite file with a row an item, written by one driver and read by anyone."""

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mtransfer.batch.folder_names import is_place
from mtransfer.errors import InputError, MTransferError
from mtransfer.strict_json import strict_json

SCHEMA_VERSION = 1
APPLICATION_ID = 0x6D747266  # mtrf
LOCKED_S = 30.0  # a reader holds the file for milliseconds
States = Literal["pending", "running", "done", "failed"]
STATES = ("pending", "running", "done", "failed")
SCHEMA = f"""
CREATE TABLE batch (settings TEXT NOT NULL);
CREATE TABLE item (
    id INTEGER PRIMARY KEY,
    clip TEXT NOT NULL,
    photo TEXT NOT NULL,
    folder TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN {STATES}),
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    seconds REAL,
    metrics TEXT NOT NULL DEFAULT '{{}}',
    outputs TEXT NOT NULL DEFAULT '[]',
    UNIQUE (clip, photo)
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
KINDS: tuple[Any, ...] = (int, str, str, str, str, int, str | None, float | None)  # of the columns up to `metrics`
COLUMNS = "id, clip, photo, folder, state, attempts, error, seconds, metrics, outputs"


@dataclass(frozen=True)
class Entry:
    """One item as it is recorded. `folder` is below OUT; `attempts` counts starts, `seconds` the last one's."""

    id: int
    clip: str
    photo: str
    folder: str
    state: States
    attempts: int
    error: str | None
    seconds: float | None
    metrics: dict[str, Any]
    outputs: list[str]


class Manifest:
    """An open manifest. Raises InputError for a file that is none, is broken, or is of another version."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        if read_only and not path.is_file():
            raise InputError(f"{path}: no such manifest; name the folder of a batch, or its --manifest")
        with self._errors():
            self._connection = _connect(path, read_only)
            if not read_only:
                self._create()
            self._check()

    def _create(self) -> None:
        if not self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            self._connection.executescript(f"PRAGMA journal_mode = WAL; BEGIN; {SCHEMA} COMMIT;")

    def _check(self) -> None:
        found = [
            self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        ]
        if found[0] == APPLICATION_ID and found[1] != SCHEMA_VERSION:
            raise InputError(
                f"{self.path}: a manifest of version {found[1]}, this mtransfer writes {SCHEMA_VERSION}; "
                "go on with the mtransfer that began it, or name another with -o or --manifest"
            )
        problem = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found[0] != APPLICATION_ID or problem != "ok":
            raise sqlite3.DatabaseError(problem if found[0] == APPLICATION_ID else "not made by mtransfer")

    def close(self) -> None:
        self._connection.close()

    def settings(self) -> dict[str, Any] | None:
        """What the batch was begun with; None for a new one."""
        with self._errors():
            row = self._connection.execute("SELECT settings FROM batch").fetchone()
            return None if row is None else _object(row[0], dict)

    def begin(self, settings: dict[str, Any], folders: dict[tuple[str, str], str]) -> None:
        """Note the settings of a new batch, and every item, by key, that is not there yet with its folder."""
        with self._errors(), self._connection:
            if self._connection.execute("SELECT count(*) FROM batch").fetchone()[0] == 0:
                self._connection.execute("INSERT INTO batch VALUES (?)", (strict_json(settings),))
            self._connection.executemany(
                "INSERT OR IGNORE INTO item (clip, photo, folder) VALUES (?, ?, ?)",
                [(*key, folder) for key, folder in folders.items()],
            )

    def entries(self) -> list[Entry]:
        """Every item, by clip and photo."""
        with self._errors():
            rows = self._connection.execute(f"SELECT {COLUMNS} FROM item ORDER BY clip, photo").fetchall()
            return [_entry(row) for row in rows]

    def start(self, item: int) -> None:
        """Note that an item is under way."""
        self._set(item, "state = 'running', attempts = attempts + 1, error = NULL, seconds = NULL")

    def put_back(self, items: Iterable[int]) -> None:
        """Note that items are to be done again."""
        with self._errors(), self._connection:
            self._connection.executemany(
                "UPDATE item SET state = 'pending', error = NULL WHERE id = ?", [(item,) for item in items]
            )

    def finish(self, item: int, seconds: float | None, metrics: dict[str, Any], outputs: list[str]) -> None:
        """Note that an item's results are in place."""
        text = strict_json(metrics), json.dumps(outputs)
        self._set(item, "state = 'done', error = NULL, seconds = ?, metrics = ?, outputs = ?", seconds, *text)

    def fail(self, item: int, error: str, seconds: float | None) -> None:
        """Note why an item failed."""
        self._set(item, "state = 'failed', error = ?, seconds = ?", error, seconds)

    def _set(self, item: int, changes: str, *values: Any) -> None:
        with self._errors(), self._connection:
            self._connection.execute(f"UPDATE item SET {changes} WHERE id = ?", (*values, item))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise MTransferError(f"{self.path}: the disk is full; free some space and run it again") from error
            raise InputError(
                f"{self.path}: no manifest, or a broken one ({str(error).splitlines()[0]}); move it away to begin "
                "anew, or name another with --manifest"
            ) from None


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=LOCKED_S)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _entry(row: tuple[Any, ...]) -> Entry:
    *plain, metrics, outputs = row
    if not all(isinstance(value, kind) for value, kind in zip(plain, KINDS, strict=True)) or not is_place(plain[3]):
        raise sqlite3.DatabaseError(f"item {plain[0]!r} cannot be understood")
    number, clip, photo, folder, state, attempts, error, seconds = plain
    figures, names = _object(metrics, dict), _object(outputs, list)
    return Entry(number, clip, photo, folder, state, attempts, error, seconds, figures, names)


def _object(text: Any, kind: type) -> Any:
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        value = None
    if not isinstance(value, kind):
        raise sqlite3.DatabaseError(f"{str(text)[:40]!r} is no {kind.__name__}")
    return value
