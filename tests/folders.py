"""Folders of small clips and photos, and batches of them."""

import json
import subprocess
import sys
from pathlib import Path

import torch
from pictures import disc_photo, save_clip, save_picture

from mtransfer.manifest import Entry, Manifest

RESULTS = {"edited.png", "preview.png", "flow.npz", "run.json", "thumbnail.jpg"}
QUICK = ("--preset", "draft", "--set", "pair=0:3")
# Whatever is printed by the side, a worker ends with its driver.
MTRANSFER = (sys.executable, "-c", "from mtransfer.cli import main; main()")


def make_folders(home: Path, clips: int, photos: int) -> Path:
    """home/clips/c0.mp4 ... and home/photos/p0.png ..., each different."""
    (home / "clips").mkdir(parents=True)
    (home / "photos").mkdir()
    for index in range(clips):
        save_clip(home / "clips" / f"c{index}.mp4", step_px=3 + index % 5, frames=4)
    for index in range(photos):
        save_picture(home / "photos" / f"p{index}.png", torch.roll(disc_photo(), 5 * index, dims=-1))
    return home


def entries(manifest: Path) -> list[Entry]:
    """What a manifest holds."""
    record = Manifest(manifest, read_only=True)
    try:
        return record.entries()
    finally:
        record.close()


def start(home: Path, *words: str) -> subprocess.Popen[str]:
    """The command, in a process of its own."""
    whole = [*MTRANSFER, "batch", "clips", "photos", "-o", "out", "--json", *words]
    return subprocess.Popen(whole, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_whole(out: Path, count: int) -> None:
    """Every one of `count` items is done, its files are there and whole, and nothing else is."""
    found = entries(out / "manifest.sqlite")
    assert len(found) == count
    assert {entry.state for entry in found} == {"done"}, [entry.error for entry in found if entry.error]
    for entry in found:
        assert {path.name for path in (out / entry.folder).iterdir()} == RESULTS == set(entry.outputs)
        json.loads((out / entry.folder / "run.json").read_text())
    folders = {out / entry.folder for entry in found}
    others = {path.name for path in out.rglob("*") if path.is_file() and path.parent not in folders}
    assert others - {"manifest.sqlite-wal", "manifest.sqlite-shm"} == {"index.html", "manifest.sqlite", ".lock"}
    assert not list(out.glob(".stage/*"))
