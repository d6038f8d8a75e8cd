"""Batches killed with -9 at random, driver and workers, and resumed: is every item done exactly once, and whole?

python -m benchmarks.kills [--kills 20] [--seed 0] [--json FILE]

12 clips x 5 photos in `draft`, then 3 x 3 in `fast`, cut from samples/ to a few small frames. A kill comes after a
random number of items, down to none, and a random part of a second. A killed driver's workers are left to notice it by
themselves; the next driver starts at once.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from mtransfer.batch.manifest import Entry, Manifest
from mtransfer.batch.worker_process import THUMBNAIL
from mtransfer.errors import InputError
from mtransfer.media.video import ClipReader
from mtransfer.media.video_writer import write_video
from mtransfer.strict_json import strict_json

SAMPLES = Path(__file__).parent.parent / "samples"
CLIPS, PHOTOS = ("cup", "bunny", "box"), ("fig.jpg", "goldfish.png", "kite.jpg", "ladybird.jpg", "moss_star.jpg")
SIDE_PX, FRAMES, EVERY = 256, 5, 3
RESULTS = {"edited.png", "preview.png", "flow.npz", "run.json", THUMBNAIL}
LIMIT_S = 3600


@dataclass(frozen=True)
class Run:
    """A batch that was killed again and again: what was killed, and what is wrong with what it left."""

    name: str
    items: int
    driver_kills: int
    worker_kills: int
    starts: int
    seconds: float
    attempts: int
    faults: list[str]


def make_inputs(home: Path, clips: int, photos: int) -> None:
    """Small cuts of the samples: `clips` clips of a few frames, `photos` photos."""
    (home / "clips").mkdir(parents=True)
    (home / "photos").mkdir()
    for index in range(clips):
        name, start = CLIPS[index % len(CLIPS)], 6 * (index // len(CLIPS))
        reader = ClipReader(SAMPLES / f"{name}.mp4")
        wanted = [min(reader.clip.frame_count - 1, start + EVERY * step) for step in range(FRAMES)]
        frames = reader.read(wanted, long_side=SIDE_PX)
        write_video(frames, home / "clips" / f"{name}{index}.mp4", 12)
    for name in PHOTOS[:photos]:
        with Image.open(SAMPLES / name) as picture:
            small = picture.convert("RGB")
        small.thumbnail((SIDE_PX, SIDE_PX))
        small.save(home / "photos" / name, quality=95)


def kill_again_and_again(home: Path, preset: str, kills: int, seed: int) -> Run:
    """Run a batch in `home` to its end through so many kills, each of the driver or of a worker, at random."""
    chance, started = random.Random(seed), time.monotonic()
    killed, items = {"driver": 0, "worker": 0}, len(_names(home, "clips")) * len(_names(home, "photos"))
    driver, starts = _start(home, preset), 1
    while sum(killed.values()) < kills and time.monotonic() - started < LIMIT_S:
        _wait_for_items(home, driver, chance.randint(0, items // kills))
        time.sleep(chance.uniform(0, 1.5))
        if driver.poll() is not None:
            break  # done, before all the kills
        victims = _workers_of(driver.pid)
        kind = "worker" if victims and chance.random() < 0.5 else "driver"
        _kill(chance.choice(victims) if kind == "worker" else driver.pid)
        killed[kind] += 1
        if kind == "driver":
            driver.wait()
            driver, starts = _start(home, preset), starts + 1
    driver.wait(LIMIT_S)
    entries = read(home / "out" / "manifest.sqlite")
    seconds = time.monotonic() - started
    attempts = sum(entry.attempts for entry in entries)
    faults = look(home, entries)
    if driver.returncode:
        faults.append(f"the last run ended with exit code {driver.returncode}")
    return Run(preset, len(entries), killed["driver"], killed["worker"], starts, seconds, attempts, faults)


def _wait_for_items(home: Path, driver: subprocess.Popen[bytes], count: int) -> None:
    wanted = _done(home) + count
    while driver.poll() is None and _done(home) < wanted:
        time.sleep(0.1)


def _done(home: Path) -> int:
    with contextlib.suppress(InputError):  # not made yet
        return sum(entry.state == "done" for entry in read(home / "out" / "manifest.sqlite"))
    return 0


def _names(home: Path, kind: str) -> list[str]:
    return sorted(path.name for path in (home / kind).iterdir())


def _start(home: Path, preset: str) -> subprocess.Popen[bytes]:
    words = ["batch", "clips", "photos", "-o", "out", "--preset", preset, "--set", "pair=0:4", "--workers", "2"]
    main = [sys.executable, "-c", "from mtransfer.ui.cli.main import main; main()"]
    return subprocess.Popen([*main, *words, "--quiet"], cwd=home, stdout=subprocess.DEVNULL)


def _workers_of(driver: int) -> list[int]:
    done = subprocess.run(["pgrep", "-P", str(driver)], capture_output=True, text=True)
    return [int(word) for word in done.stdout.split()]


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it was quicker
        os.kill(process, signal.SIGKILL)


def read(manifest: Path) -> list[Entry]:
    """Every item of a batch."""
    record = Manifest(manifest, read_only=True)
    try:
        return record.entries()
    finally:
        record.close()


def look(home: Path, entries: list[Entry]) -> list[str]:
    """What is not as it should be: items not done, files missing, broken or left over."""
    out = home / "out"
    faults = [f"{entry.folder}: {entry.state}, {entry.error}" for entry in entries if entry.state != "done"]
    wanted = len(_names(home, "clips")) * len(_names(home, "photos"))
    if len(entries) != wanted:
        faults.append(f"{len(entries)} items of {wanted}")
    for entry in entries:
        faults += [f"{entry.folder}: {fault}" for fault in _faults_of(out / entry.folder, entry)]
    known = {entry.folder for entry in entries}
    found = {path.relative_to(out).as_posix() for path in out.glob("*/*") if path.parent.name != ".stage"}
    return faults + [f"left over: {name}" for name in sorted(found - known) + [str(p) for p in out.glob(".stage/*")]]


def _faults_of(folder: Path, entry: Entry) -> list[str]:
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names != RESULTS or names != set(entry.outputs):
        return [f"holds {sorted(names)}, recorded {entry.outputs}"]
    for name in ("edited.png", "preview.png", THUMBNAIL):
        with Image.open(folder / name) as picture:
            picture.load()
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return [] if record["metrics"] == entry.metrics else ["the manifest's metrics are not those of run.json"]


def main() -> None:
    """Print a table, and the exit code says whether anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    runs = []
    few = given.kills // 4
    for preset, clips, photos, kills in (("draft", 12, 5, given.kills - few), ("fast", 3, 3, few)):
        with TemporaryDirectory() as folder:
            make_inputs(Path(folder), clips, photos)
            runs.append(kill_again_and_again(Path(folder), preset, kills, given.seed))
            print(_line(runs[-1]), flush=True)
    if given.json:
        given.json.write_text(strict_json({"runs": [vars(run) for run in runs]}, indent=2) + "\n", encoding="utf-8")
    sys.exit(any(run.faults for run in runs))


def _line(run: Run) -> str:
    kills = f"{run.driver_kills} of the driver, {run.worker_kills} of a worker"
    wrong = "; ".join(run.faults) or "nothing"
    return f"| {run.name} | {run.items} | {kills} | {run.starts} | {run.attempts} | {run.seconds:.0f} | {wrong} |"


if __name__ == "__main__":
    main()
