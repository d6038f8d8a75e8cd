"""Where an item's results go: two folders deep below OUT, whatever its names hold."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from mtransfer.batch.items import Item

LONGEST_BYTES = 80  # of a folder's name: several, and a file's, fit a path
HASH_DIGITS = 12
RESERVED = ("index.html", *(f"manifest.sqlite{end}" for end in ("", "-wal", "-shm")))  # what else OUT holds
PLACE = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")  # what `places` gives; nothing else is believed of a manifest


def places(items: Iterable[Item], taken: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Each item's folder by its key: CLIP/PHOTO, each made of the file's name; no two are alike, even without case.

    `taken` are the folders of items known before, which stay as they are.
    """
    items = list(items)
    clips: dict[str, str] = {}
    photos: dict[str, str] = {}
    for (clip, photo), place in sorted(taken.items()):
        clips[clip], photos[photo] = place.split("/")
    for names, wanted in ((clips, {item.clip.name for item in items}), (photos, {item.photo.name for item in items})):
        _add(names, wanted)
    return {item.key: f"{clips[item.clip.name]}/{photos[item.photo.name]}" for item in items}


def _add(known: dict[str, str], wanted: set[str]) -> None:
    used = {folder.casefold() for folder in (*RESERVED, *known.values())}
    for name in sorted(wanted - known.keys()):
        folder = plain = _plain(name)
        while folder.casefold() in used:
            folder = f"{plain}-{hashlib.sha256((name + folder).encode()).hexdigest()[:HASH_DIGITS]}"
        used.add(folder.casefold())
        known[name] = folder


def _plain(name: str) -> str:
    """A file's name without its suffix as one folder's: letters, digits, `.`, `-` and `_`, no dot first."""
    stem = re.sub(r"\.\w+$", "", unicodedata.normalize("NFC", name))
    plain = re.sub(r"[^\w.-]+", "_", stem.replace("/", "-")).lstrip(".-")
    short = plain.encode()[:LONGEST_BYTES].decode(errors="ignore").rstrip(".")
    return short or "_"


def is_place(text: str) -> bool:
    """Whether this is a folder that `places` could have given: it stays inside OUT."""
    return PLACE.fullmatch(text) is not None
