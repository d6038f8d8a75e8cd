"""A batch: its items, its settings, and how its record and its results are brought together after any end.

An item is done when its results are in their place, which they are whole or not at all; so the places and the manifest
together always say what is left to do.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mtransfer.batch.folder_names import places
from mtransfer.batch.items import Item
from mtransfer.batch.manifest import Entry, Manifest
from mtransfer.batch.storage import Out, clear_stage, is_delivered, look
from mtransfer.errors import InputError
from mtransfer.jobs.recipe import COMMANDS
from mtransfer.jobs.recipe_file import StoredRecipe, find_inputs, input_files, read_stored, with_files

ROW_SETTINGS = {"pair", "subject", "clip_subject", "strength", "seed", "prompt", "negative_prompt"}


@dataclass(frozen=True)
class Batch:
    """What is asked for: items, the job they all are, and where the results go."""

    items: list[Item]
    command: str
    values: dict[str, Any]
    out: Out

    def settings(self) -> dict[str, Any]:
        """What must not change between a batch's beginning and its end."""
        return {"command": self.command, **self.values}


def ask(
    items: list[Item], out: Out, recipe: str | None, given: dict[str, Any], overrides: list[str], *, animate: bool
) -> Batch:
    """The batch of these items: a recipe, overrides and named values as for one item, checked for each of them.

    Raises InputError for settings that do not fit.
    """
    default = "short_animation" if animate else "folder_batch"
    stored = _without_pair(read_stored(recipe or default))
    command = "animate" if animate else stored.command
    if command not in ("transfer", "animate"):
        raise InputError(f"--recipe {recipe}: is of the command {command}; a batch's moves photos with clips")
    nameless = {"clip": "clip", "photo": "photo"}
    built = COMMANDS[command].build({**given, **nameless}, overrides, find_inputs(stored, {}))
    values = _absolute(built.model_dump(mode="json", exclude=set(nameless)), Path())
    rows = [replace(item, settings=_absolute(item.settings, item.home)) for item in items]
    for settings in {str(row.settings): row.settings for row in rows}.values():
        if unknown := settings.keys() - ROW_SETTINGS:
            raise InputError(f"the list's column {sorted(unknown)[0]}: unknown; use {', '.join(sorted(ROW_SETTINGS))}")
        COMMANDS[command].build({**values, **settings, **nameless}, [])
    return Batch(rows, command, values, out)


def _without_pair(stored: StoredRecipe) -> StoredRecipe:
    """A recipe that may be of one result, without the clip and the photo that were its own."""
    values, hashes = (
        {key: value for key, value in table.items() if key not in ("clip", "photo")}
        for table in (stored.values, stored.hashes)
    )
    return replace(stored, values=values, hashes=hashes)


def _absolute(values: dict[str, Any], home: Path) -> dict[str, Any]:
    """Values that name files, such as a mask, from wherever a worker is."""
    return with_files(values, {key: str((home / path).absolute()) for key, path in input_files(values).items()})


@dataclass(frozen=True)
class Tally:
    """How far a batch is. `before` of the done ones were done before this run, which began at `started_s`."""

    total: int
    done: int
    failed: int
    before: int
    started_s: float

    @property
    def left(self) -> int:
        return self.total - self.done - self.failed

    @property
    def rate_per_s(self) -> float:
        """Items finished a second, of this run."""
        return (self.done + self.failed - self.before) / max(time.monotonic() - self.started_s, 1e-3)

    @property
    def left_s(self) -> float | None:
        """Seconds left at this rate; None before the first."""
        return self.left / self.rate_per_s if self.rate_per_s else None


def plan(batch: Batch, manifest: Manifest | None) -> dict[tuple[str, str], str]:
    """Each item's folder, by its key. Raises InputError when the manifest is of a batch with other settings."""
    entries = manifest.entries() if manifest else []
    if manifest and (before := manifest.settings()) is not None:
        _require_same(before, batch.settings(), manifest.path)
    return places(batch.items, {(entry.clip, entry.photo): entry.folder for entry in entries})


def _require_same(before: dict[str, Any], now: dict[str, Any], path: Path) -> None:
    for key in sorted(before.keys() & now.keys()):  # a newer mtransfer may have others besides
        if before[key] != now[key]:
            raise InputError(
                f"{path}: begun with {key} = {before[key]!r}, not {now[key]!r}; "
                "use the settings it was begun with, or another -o"
            )


def settle(batch: Batch, manifest: Manifest, *, retry_failed: bool) -> list[Entry]:
    """Bring manifest and places together after whatever stopped the last driver; the batch's items as they now are."""
    clear_stage(batch.out)
    manifest.begin(batch.settings(), plan(batch, manifest))
    for entry in manifest.entries():
        started = entry.state == "running" or (entry.state == "pending" and entry.attempts > 0)
        if started and is_delivered(batch.out, entry.folder):
            finish(batch.out, manifest, entry, None)
        elif entry.state == "running" or (entry.state == "failed" and retry_failed):
            manifest.put_back([entry.id])
    keys = {item.key for item in batch.items}
    return [entry for entry in manifest.entries() if (entry.clip, entry.photo) in keys]


def finish(out: Out, manifest: Manifest, entry: Entry, seconds: float | None) -> Entry:
    """Record the results in an item's place, or that they are broken."""
    try:
        found = look(out, entry.folder)
    except InputError as error:
        manifest.fail(entry.id, str(error), seconds)
        return replace(entry, state="failed", error=str(error))
    seconds = found.seconds if seconds is None else seconds
    manifest.finish(entry.id, seconds, found.metrics, found.outputs)
    return replace(entry, state="done", seconds=seconds, metrics=found.metrics, outputs=found.outputs)
