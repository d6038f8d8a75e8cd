"""What each visitor of the editor has on the server: a folder of their own, and names for what lies in it.

A page never says a path: it says the name of a thing, and only names of the visitor's own session are known. What a
session has is noted in its folder, so that a server that is started again on it knows it still.
"""

import contextlib
import hashlib
import json
import re
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtransfer.errors import InputError
from mtransfer.files import atomic_write
from mtransfer.media.clip_formats import CLIP_SUFFIXES
from mtransfer.media.photo.formats import PHOTO_SUFFIXES

MB = 2**20
SUFFIXES = {"photo": PHOTO_SUFFIXES, "clip": CLIP_SUFFIXES, "mask": PHOTO_SUFFIXES}
LIMITS = {"photo": 64 * MB, "clip": 512 * MB, "mask": 64 * MB}
MOST_IN_ALL = 2048 * MB  # of one session
MOST_SESSIONS = 256
STAGES_KEPT = 8
ENDED_KEPT = 8  # jobs
DIGEST = re.compile("[0-9a-f]{32}")
NOTE, DESK, ASKED = "thing.json", "desk.json", "asked.json"


@dataclass(frozen=True)
class Thing:
    """A file of a session, what it is, and what the page may know of it."""

    name: str
    kind: str  # photo | clip | mask | run
    path: Path
    facts: dict[str, Any]


@dataclass(eq=False)
class Session:
    """One visitor."""

    folder: Path
    things: dict[str, Thing] = field(default_factory=dict)
    stages: "OrderedDict[tuple[str, ...], Any]" = field(default_factory=OrderedDict)
    lock: Any = field(default_factory=threading.Lock)
    jobs: dict[str, Any] = field(default_factory=dict)  # those of this run of the server, by name
    shared: set[Path] = field(default_factory=set)  # files that Gradio keeps elsewhere
    hashes: set[str] = field(default_factory=set)  # Gradio's own names of this session

    def place(self, file_name: str) -> tuple[str, Path]:
        """A new name, and an empty folder's path for a file of that name. The file's own name is stripped bare."""
        name = secrets.token_hex(8)
        bare = "".join(char for char in Path(file_name.replace("\\", "/")).name if char.isalnum() or char in "._- ")
        home = self.folder / name
        home.mkdir(parents=True)
        return name, home / (bare.lstrip(".")[-80:] or "file")

    def begin(self, job: Any) -> None:
        """Make a job known; of those that have ended the last few are."""
        with self.lock:
            ended = [name for name, each in self.jobs.items() if each.ended]
            self.jobs = {name: each for name, each in self.jobs.items() if name not in ended[:-ENDED_KEPT]}
            self.jobs[job.name] = job

    def keep(self, thing: Thing) -> Thing:
        """Make a thing known, and note it."""
        path = str(thing.path.relative_to(self.folder))
        note = {"at": time.time_ns(), "name": thing.name, "kind": thing.kind, "path": path, "facts": thing.facts}
        _write(self.folder / thing.name / NOTE, note)
        self.things[thing.name] = thing
        return thing

    def recall(self) -> None:
        """Know again what is noted in the folder."""
        notes = sorted((_read(path) for path in self.folder.glob(f"*/{NOTE}")), key=lambda note: note.get("at", 0))
        for note in notes:
            with contextlib.suppress(KeyError):
                path = self.folder / note["path"]
                self.things[note["name"]] = Thing(note["name"], note["kind"], path, note["facts"])

    @property
    def desk(self) -> dict[str, Any]:
        """What stands in each tab of the page, as the page last said."""
        return _read(self.folder / DESK)

    def put_on_desk(self, tab: str, state: Any) -> None:
        """Note what stands in a tab."""
        with self.lock:
            _write(self.folder / DESK, {**self.desk, tab: state})

    def asked(self, name: str, asked: dict[str, Any]) -> None:
        """Note what a job was asked, until it has ended."""
        _write(self.folder / name / ASKED, asked)

    def unfinished(self) -> list[dict[str, Any]]:
        """What jobs were asked that had not ended when the server did; each is told once."""
        found = sorted(self.folder.glob(f"*/{ASKED}"), key=lambda path: path.stat().st_mtime_ns)
        asked = [_read(path) for path in found]
        for path in found:
            shutil.rmtree(path.parent)
        return asked

    def find(self, name: Any, kind: str) -> Thing:
        """The thing of that name and kind. Raises InputError for one that this session does not have."""
        found = self.things.get(name) if isinstance(name, str) else None
        if found is None or found.kind != kind:
            raise InputError(f"no such {kind} here; choose it again")
        return found

    def stage(self, key: tuple[str, ...], make: Any) -> Any:
        """What `make` makes for a key, made once; a few are kept."""
        with self.lock:
            found = self.stages.get(key)
        # Made outside the lock, for a quick stage must not wait for a slow one.
        made = make() if found is None else found
        with self.lock:
            self.stages[key] = made
            self.stages.move_to_end(key)
            while len(self.stages) > STAGES_KEPT:
                self.stages.popitem(last=False)
        return made

    def owns(self, path: str) -> bool:
        """Whether a file is this session's own. Links are followed first."""
        real = Path(path).resolve()
        return real in self.shared or (real.is_file() and real.is_relative_to(self.folder.resolve()))

    def used_bytes(self) -> int:
        """What its files take."""
        paths = (*self.folder.rglob("*"), *self.shared)
        return sum(path.stat().st_size for path in paths if path.is_file())

    def remove(self) -> None:
        """Remove all its files."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in self.shared:
            path.unlink(missing_ok=True)

    def require_room(self, size: int) -> None:
        """Raises InputError when so many bytes more would be too much for one session."""
        if self.used_bytes() + size > MOST_IN_ALL:
            raise InputError(f"this session already holds {MOST_IN_ALL // MB} MB; reload the page to start another")

    def told(self, line: object) -> str:
        """A line, or an error's, without where the server keeps things."""
        return re.sub(rf"{re.escape(str(self.folder))}/(?:[\w-]+/)*", "", str(line))


class Sessions:
    """All visitors, by the secret in their cookie; who was idle for longest goes first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_digest: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()
        root.mkdir(parents=True, exist_ok=True)
        known = [path for path in root.iterdir() if path.is_dir() and DIGEST.fullmatch(path.name)]
        for path in sorted(known, key=lambda path: path.stat().st_mtime_ns):
            session = self._by_digest[path.name] = Session(path)
            session.recall()

    @property
    def all(self) -> list[Session]:
        """Every session, who was idle for longest first."""
        with self._lock:
            return list(self._by_digest.values())

    def of(self, secret: str) -> Session:
        """The session of a secret, new or known."""
        digest = hashlib.sha256(secret.encode()).hexdigest()[:32]
        with self._lock:
            session = self._by_digest.get(digest)
            if session is None:
                session = self._by_digest[digest] = Session(self.root / digest)
                session.folder.mkdir(parents=True, exist_ok=True)
            self._by_digest.move_to_end(digest)
            if len(self._by_digest) > MOST_SESSIONS:
                idle = (key for key, one in self._by_digest.items() if all(job.ended for job in one.jobs.values()))
                if (oldest := next(idle, digest)) != digest:
                    self._by_digest.pop(oldest).remove()
            return session

    def holder_of(self, session_hash: str) -> Session | None:
        """Whose Gradio session that is."""
        with self._lock:
            return next((one for one in self._by_digest.values() if session_hash in one.hashes), None)


def _write(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        part.write_text(json.dumps(values), encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def require_suffix(file_name: str, kind: str) -> None:
    """Raises InputError for a file name that is not one of a photo or clip."""
    if Path(file_name).suffix.lower() not in SUFFIXES[kind]:
        known = " ".join(SUFFIXES[kind])
        raise InputError(f"{Path(file_name).name}: no {kind} by its name; give one of {known}")


def look_at(session: Session, name: str, path: Path, kind: str) -> Thing:
    """An uploaded file, read to see that it is what its name says. Raises InputError when it is not."""
    if kind == "clip":
        from mtransfer.media.video import ClipReader

        clip = ClipReader(path).clip
        height, width = clip.size
        facts = {"width": width, "height": height, "frames": clip.frame_count, "fps": round(clip.average_fps, 3)}
    else:
        from mtransfer.media.photo.photo import read_photo

        height, width = read_photo(path).size
        facts = {"width": width, "height": height}
    return session.keep(Thing(name, kind, path, {"id": name, "name": path.name, **facts}))
