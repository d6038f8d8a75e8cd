"""Whole commands of two installed builds, side by side and pair by pair: median ratios of seconds and of peak memory.

python -m benchmarks.speed --against VENV [--pairs 5] [--rows NAME ...] [--json FILE]

Each pair runs the other build's command (VENV/bin/mtransfer) and then this one's, on inputs made from samples/, with an
empty cache unless the row says otherwise. `import torch` alone, in the same runs, is the floor.
"""

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageDraw

from mtransfer.media.video import ClipReader
from mtransfer.media.video_writer import write_video

SAMPLES = Path(__file__).parent.parent / "samples"
THIS = (str(Path(sys.executable).parent / "mtransfer"),)
LOOK_EVERY_S = 0.01
PORT, SERVED_S = 7877, 120.0
TWELVE_MP = (4000, 3000)


@dataclass(frozen=True)
class Row:
    """A command in the folder of inputs, and the ratio of seconds that is wanted."""

    name: str
    arguments: str
    wanted: float
    warm: bool = False  # run once before, so that the cache has what it keeps
    fails: bool = False


ROWS = (
    Row("missing photo", "edit missing.png --translate 40,0", 0.12, fails=True),
    Row("draft, mask", "edit photo.png --subject mask.png --translate 40,0 --preset draft", 0.55),
    Row("draft, automatic", "edit photo.png --translate 40,0 --preset draft", 0.62),
    Row("fast, mask", "edit photo.png --subject mask.png --translate 40,0 --preset fast", 0.55),
    Row("transfer, cached", "transfer clip.mp4 photo.png --pair 0:20 --preset draft", 0.35, warm=True),
    Row("transfer, 140 frames", "transfer long.mp4 photo.png --preset fast", 0.40),
    Row("animate, draft", "animate clip.mp4 photo.png --frames 0:24 --preset draft", 0.45),
    Row("animate, fast", "animate clip.mp4 photo.png --frames 0:24 --preset fast", 0.45),
    Row("batch, 12 x 5", "batch clips photos --preset draft", 0.45),
    Row("12 megapixels", "edit large.png --subject large_mask.png --translate 250,0 --preset fast", 0.6),
)
TOGETHER, AT_ONCE, WANTED_AT_ONCE = "three at once", 3, 2.2
SERVER, WANTED_SERVER = "gui until it serves", 0.5


@dataclass(frozen=True)
class Ratios:
    """What a row came to: the medians of this build's and the other's seconds, and of the pairs' ratios."""

    name: str
    seconds: float
    other_seconds: float
    ratio: float
    wanted: float
    memory_gb: float | None = None
    memory_ratio: float | None = None
    floor_s: float | None = None


def make_inputs(home: Path) -> None:
    """A photo of 640 px and one of 12 megapixels with masks, a clip, one of 140 frames, and a batch's folders."""
    with Image.open(SAMPLES / "goldfish.png") as picture:
        photo = picture.convert("RGB")
    mask = Image.new("L", photo.size)
    ImageDraw.Draw(mask).ellipse((200, 140, 460, 360), fill=255)
    for name, size in (("photo", photo.size), ("large", TWELVE_MP)):
        photo.resize(size, Image.Resampling.BICUBIC).save(home / f"{name}.png")
    for name, size in (("mask", photo.size), ("large_mask", TWELVE_MP)):
        mask.resize(size, Image.Resampling.BILINEAR).save(home / f"{name}.png")
    shutil.copyfile(SAMPLES / "bunny.mp4", home / "clip.mp4")
    frames = ClipReader(SAMPLES / "bunny.mp4").read(range(48))
    order = [*range(48), *range(46, -1, -1), *range(1, 46)]
    write_video(frames[order], home / "long.mp4", 25)
    (home / "clips").mkdir()
    (home / "photos").mkdir()
    for index in range(12):
        write_video(frames[3 * index : 3 * index + 9 : 2], home / "clips" / f"c{index}.mp4", 12)
    for name in ("fig.jpg", "goldfish.png", "kite.jpg", "ladybird.jpg", "wooden_bird.jpg"):
        shutil.copyfile(SAMPLES / name, home / "photos" / name)


def run(command: Sequence[str], row: Row, home: Path, cache: Path, count: int = 1) -> tuple[float, float]:
    """Seconds until `count` of the same command at once have ended, and the peak memory of the first one, in GB."""
    if not row.warm:
        shutil.rmtree(cache, ignore_errors=True)
    outs = [home / f"out{index}" for index in range(count)]
    for out in outs:
        shutil.rmtree(out, ignore_errors=True)
    environment = os.environ | {"MTRANSFER_CACHE": str(cache)}
    started = time.monotonic()
    running = [
        subprocess.Popen(
            [*command, *row.arguments.split(), "-o", str(out)],
            cwd=home,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for out in outs
    ]
    peaks: dict[int, int] = {}
    while any(process.poll() is None for process in running):
        peaks |= peak_memory_kb(running[0].pid)
        time.sleep(LOOK_EVERY_S)
    seconds = time.monotonic() - started
    for process in running:
        if (process.returncode != 0) != row.fails:
            raise RuntimeError(f"{row.name}: exit code {process.returncode}")
    return seconds, sum(peaks.values()) * 1024 / 1e9


def peak_memory_kb(pid: int) -> dict[int, int]:
    """Of a process and those it has started, the most memory each has used so far, in KiB, by its number.

    As the kernel tells it of a running process: what it tells at the end counts the process that started it, too.
    """
    found: dict[int, int] = {}
    with contextlib.suppress(OSError, StopIteration):  # it has ended meanwhile
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        found[pid] = int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found |= peak_memory_kb(int(child))
    return found


def until_served(command: Sequence[str], home: Path) -> float:
    """Seconds until `gui` answers its page."""
    started = time.monotonic()
    arguments = [*command, "gui", "--port", str(PORT)]
    process = subprocess.Popen(arguments, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.monotonic() < started + SERVED_S:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=5):
                    return time.monotonic() - started
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
    finally:
        process.terminate()
        process.wait()
    raise RuntimeError("gui: does not serve")


def import_torch_s() -> float:
    """Seconds of `import torch` in a process of its own."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.monotonic() - started


def compare(other: Path, pairs: int, chosen: Sequence[str], say: Callable[[Ratios], None]) -> list[Ratios]:
    """Every chosen row; `say` hears of each as it is done."""
    found: list[Ratios] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_inputs(home)
        others = (str(other / "bin" / "mtransfer"),)
        for row in ROWS:
            if row.name in chosen:
                found.append(_row(row, others, pairs, home))
                say(found[-1])
        if TOGETHER in chosen:
            found.append(_at_once(pairs, home))
            say(found[-1])
        if SERVER in chosen:
            timed = [(until_served(others, home), until_served(THIS, home)) for _ in range(pairs)]
            found.append(_ratios(SERVER, WANTED_SERVER, timed))
            say(found[-1])
    return found


def _row(row: Row, others: Sequence[str], pairs: int, home: Path) -> Ratios:
    caches = home / "cache_other", home / "cache"
    if row.warm:
        for command, cache in zip((others, THIS), caches, strict=True):
            run(command, row, home, cache)
    seconds, memory, floors = [], [], []
    for _ in range(pairs):
        (before_s, before_gb), (now_s, now_gb) = (
            run(command, row, home, cache) for command, cache in zip((others, THIS), caches, strict=True)
        )
        seconds.append((before_s, now_s))
        memory.append((before_gb, now_gb))
        floors.append(import_torch_s())
    memory_gb, memory_ratio = statistics.median(now for _, now in memory), _ratio(memory)
    made = _ratios(row.name, row.wanted, seconds)
    return replace(made, memory_gb=memory_gb, memory_ratio=memory_ratio, floor_s=statistics.median(floors))


def _at_once(pairs: int, home: Path) -> Ratios:
    """Three drafts at once of this build, against one of it alone."""
    row, cache = ROWS[1], home / "cache"
    timed = [(run(THIS, row, home, cache)[0], run(THIS, row, home, cache, AT_ONCE)[0]) for _ in range(pairs)]
    return _ratios(TOGETHER, WANTED_AT_ONCE, timed)


def _ratios(name: str, wanted: float, timed: Sequence[tuple[float, float]]) -> Ratios:
    before, now = (statistics.median(column) for column in zip(*timed, strict=True))
    return Ratios(name, now, before, _ratio(timed), wanted)


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """The median of what now is of before, pair by pair."""
    return statistics.median(now / before for before, now in pairs)


def line(found: Ratios) -> str:
    """A row of the table."""
    memory = "" if found.memory_gb is None else f"{found.memory_gb:.2f} GB, {found.memory_ratio:.2f}"
    return (
        f"| {found.name} | {found.other_seconds:.2f} | {found.seconds:.2f} | {found.ratio:.2f} | {found.wanted:g} "
        f"| {memory} | {'' if found.floor_s is None else f'{found.floor_s:.2f}'} |"
    )


HEAD = (
    "| command | other build, s | this build, s | ratio | wanted | peak memory, ratio | import torch, s |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)
NAMES = (*(row.name for row in ROWS), TOGETHER, SERVER)
