"""Which clip goes with which photo: folders, globs, files and lists become items."""

import csv
import glob
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mtransfer.errors import InputError
from mtransfer.log import warn
from mtransfer.media.clip_formats import CLIP_SUFFIXES
from mtransfer.media.photo.formats import PHOTO_SUFFIXES

LIST_SUFFIXES = (".csv", ".jsonl")
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
KINDS_NAMED = 5
Match = Literal["all", "zip", "name"]


@dataclass(frozen=True)
class Source:
    """A clip or a photo: its path below the folder, glob or list it was found by, and where it is."""

    name: str
    path: Path


@dataclass(frozen=True)
class Item:
    """One clip onto one photo. The two names are its key; `settings` are its row's own, over the batch's.

    What these name is relative to `home`.
    """

    clip: Source
    photo: Source
    settings: dict[str, Any] = field(default_factory=dict)
    home: Path = Path()

    @property
    def key(self) -> tuple[str, str]:
        return self.clip.name, self.photo.name


def find_items(clips: str, photos: str | None, match: Match, skipped: Path | None = None) -> list[Item]:
    """Every item, those of one clip together, in the order of their names; of a list of pairs, in its order of clips.

    `photos` is left out where `clips` is a list with both. `skipped` is a folder that is no source: the results'. What
    is left out of a folder or glob is counted, by kind, in a warning. Raises InputError when there is nothing to do, a
    list is broken, or two items have one key.
    """
    if photos is None:
        items = _listed_pairs(Path(clips))
    else:
        left_out: set[Path] = set()
        found_clips = _find(clips, "clip", CLIP_SUFFIXES, skipped, left_out)
        moving = {clip.path for clip in found_clips}  # of one folder with both, a GIF is a clip
        found_photos = [
            photo
            for photo in _find(photos, "photo", PHOTO_SUFFIXES, skipped, left_out)
            if photo.path not in moving or photos != clips
        ]
        _warn_of_left_out(left_out - moving - {photo.path for photo in found_photos})
        items = [Item(clip, photo) for clip, photo in _matched(found_clips, found_photos, match)]
    if twice := [key for key, count in Counter(item.key for item in items).items() if count > 1]:
        raise InputError(f"{clips}: {twice[0][0]} with {twice[0][1]} is there twice; name it once")
    return sorted(items, key=lambda item: item.key)


def _warn_of_left_out(paths: set[Path]) -> None:
    if paths:
        files = "1 file" if len(paths) == 1 else f"{len(paths)} files"
        warn(f"{files} skipped, of kinds that are not read: {_by_kind(paths)}")


def _by_kind(paths: set[Path]) -> str:
    """Numbers of files by suffix, most first."""
    kinds = Counter(path.suffix.lower() or "without a suffix" for path in paths)
    ordered = sorted(kinds, key=lambda kind: (-kinds[kind], kind))
    rest = sum(kinds[kind] for kind in ordered[KINDS_NAMED:])
    return ", ".join([f"{kinds[kind]} {kind}" for kind in ordered[:KINDS_NAMED]] + [f"{rest} others"] * bool(rest))


def _find(given: str, kind: str, suffixes: tuple[str, ...], skipped: Path | None, left_out: set[Path]) -> list[Source]:
    path, others = Path(given), set[Path]()
    if path.is_dir():
        found = [Source(_name(each, path), each) for each in _sorted_out(_walk(path, skipped), suffixes, others)]
    elif path.is_file() and path.suffix.lower() in LIST_SUFFIXES:
        found = [_source(row, kind, path) for row in _rows(path, {kind})]
    elif path.is_file():
        found = [Source(path.name, path)]
    else:
        found = _globbed(given, suffixes, skipped, others)
    if not found:
        instead = f", but {_by_kind(others)}" if others else ""
        raise InputError(
            f"{given}: no {kind}s there{instead}; give a folder, a glob or a list, of {' '.join(suffixes)}"
        )
    left_out |= others
    return sorted(found, key=lambda source: source.name)


def _sorted_out(paths: Iterable[Path], suffixes: tuple[str, ...], others: set[Path]) -> list[Path]:
    """Those of these suffixes; the rest goes to `others`."""
    found = []
    for path in paths:
        if path.name.lower().endswith(suffixes):
            found.append(path)
        else:
            others.add(path)
    return found


def _walk(folder: Path, skipped: Path | None) -> Iterator[Path]:
    for home, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and not _same(Path(home, name), skipped)]
        for name in files:
            if not name.startswith("."):
                yield Path(home, name)


def _globbed(pattern: str, suffixes: tuple[str, ...], skipped: Path | None, others: set[Path]) -> list[Source]:
    if not glob.has_magic(pattern):
        raise InputError(f"{pattern}: no such file or folder; check the name")
    base = Path(pattern)
    while glob.has_magic(str(base)):
        base = base.parent
    found = [Path(each) for each in glob.glob(pattern, recursive=True)]
    files = [each for each in found if each.is_file() and not any(_same(parent, skipped) for parent in each.parents)]
    return [Source(_name(each, base), each) for each in _sorted_out(files, suffixes, others)]


def _same(folder: Path, skipped: Path | None) -> bool:
    return skipped is not None and folder.resolve() == skipped.resolve()


def _name(path: Path, base: Path) -> str:
    """The path below `base` as text; bytes that are none are escaped."""
    return _text(path.relative_to(base).as_posix())


def _text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _matched(clips: list[Source], photos: list[Source], match: Match) -> list[tuple[Source, Source]]:
    if match == "all":
        return [(clip, photo) for clip in clips for photo in photos]
    if match == "zip":
        if len(clips) != len(photos):
            raise InputError(f"--match zip: {len(clips)} clips and {len(photos)} photos; it takes as many of both")
        return list(zip(clips, photos, strict=True))
    pairs = [(clip, photo) for clip in clips for photo in photos if _stem(clip) == _stem(photo)]
    if not pairs:
        raise InputError(f"--match name: no photo is named like a clip, such as {_stem(clips[0])}; see --match all")
    return pairs


def _stem(source: Source) -> str:
    return os.path.splitext(source.name)[0]


def _listed_pairs(path: Path) -> list[Item]:
    if path.suffix.lower() not in LIST_SUFFIXES:
        raise InputError(f"{path}: no photos to go with it; name them too, or give a list (.csv .jsonl) of both")
    items = []
    for row in _rows(path, {"clip", "photo"}):
        settings = {
            key: value for key, value in row.items() if key not in ("clip", "photo") and value not in ("", None)
        }
        items.append(Item(_source(row, "clip", path), _source(row, "photo", path), settings, path.parent))
    if not items:
        raise InputError(f"{path}: an empty list; give a clip and a photo a line")
    return items


def _source(row: dict[str, Any], kind: str, home: Path) -> Source:
    """What a row names, relative to the list's own folder; its name is the text of the row."""
    name = str(row[kind])
    return Source(_text(name), home.parent / name)


def _rows(path: Path, needed: set[str]) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list ({str(error).splitlines()[0]}); save it as UTF-8") from None
    rows = _csv_rows(text, path, needed) if path.suffix.lower() == ".csv" else _json_rows(text, path)
    for number, row in enumerate(rows, 1):
        for key in needed:
            if not _is_name(row.get(key)):
                raise InputError(f"{path}, row {number}: no {key}; give every row a {' and a '.join(sorted(needed))}")
    return rows


def _is_name(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(value) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _csv_rows(text: str, path: Path, needed: set[str]) -> list[dict[str, Any]]:
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        _require_commas(reader.fieldnames or [], path, needed)
        rows = list(reader)
    except csv.Error as error:
        raise InputError(
            f"{path}: not a list ({error}); give columns clip and photo, with their names on top"
        ) from None
    for number, row in enumerate(rows, 1):
        if None in row:
            raise InputError(f"{path}, row {number}: more cells than column names; quote a name that holds a comma")
        for name in filter(None, map(row.get, needed)):
            if name != name.strip() and not (path.parent / name).exists():
                raise InputError(
                    f"{path}, row {number}: spaces around {name.strip()!r}; part the cells by commas alone"
                )
    return rows


def _require_commas(names: Sequence[str], path: Path, needed: set[str]) -> None:
    """Raises InputError for column names that anything else than a comma parts, or that are others than needed."""
    if not names or needed <= set(names):
        return
    for mark, called in OTHER_SEPARATORS.items():
        parts = [part.strip() for name in names for part in name.split(mark)]
        if any(mark in name for name in names) and needed <= set(parts):
            wanted = ",".join(filter(None, parts))
            raise InputError(f"{path}: {called} in its column names; part them by commas alone, {wanted}")


def _json_rows(text: str, path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise InputError(f'{path}, line {number}: not a JSON object; write {{"clip": "a.mp4", "photo": "b.jpg"}}')
        rows.append(row)
    return rows
