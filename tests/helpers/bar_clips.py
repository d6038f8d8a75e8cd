"""Clips made by ffmpeg whose frames carry their number as bars: a light patch for each 1 of its bits."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

BITS = 6
HEIGHT, WIDTH = 64, 96  # of the pictures, in pixels: BITS bars of BAR_PX and nothing else
BAR_PX = WIDTH // BITS
DARK, LIGHT = 40, 215

FFMPEG = shutil.which("ffmpeg")
NEEDED = os.environ.get("MTRANSFER_NEEDS_FFMPEG") == "1"
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None and not NEEDED, reason="ffmpeg is not installed")


def bars(number: int) -> np.ndarray:
    """uint8[H,W]: bit 0 is the leftmost bar. The bottom half is the inverse, so that a turn or a shift is noticed."""
    levels = np.where(number >> np.arange(BITS) & 1, LIGHT, DARK).astype(np.uint8)
    top = np.broadcast_to(levels.repeat(BAR_PX), (HEIGHT // 2, WIDTH))
    return np.concatenate([top, DARK + LIGHT - top])


def number_in(picture: np.ndarray) -> int:
    """The number in an upright picture of any size, uint8[H,W,3]; -1 where its two halves disagree."""
    grey = picture.astype(np.float64).mean(axis=-1)
    height, width = grey.shape
    rows = grey[int(0.15 * height) : int(0.35 * height)], grey[int(0.65 * height) : int(0.85 * height)]
    centres = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    top, bottom = (np.array([each[:, at - 1 : at + 2].mean() for at in centres]) > 128 for each in rows)
    return int((top << np.arange(BITS)).sum()) if (top != bottom).all() else -1


def ffmpeg(*words: str | Path, pictures: np.ndarray | None = None) -> bytes:
    """Run ffmpeg; `pictures`, uint8[T,H,W] grey, are its stdin. Returns its stdout."""
    assert FFMPEG is not None, "MTRANSFER_NEEDS_FFMPEG=1 asks for ffmpeg, which is not installed"
    given = None if pictures is None else pictures.tobytes()
    ended = subprocess.run([FFMPEG, "-v", "error", "-y", *map(str, words)], input=given, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode(errors="replace")
    return ended.stdout


def encode(path: Path, *words: str, count: int, rate: str) -> None:
    """Write a clip of `count` numbered frames, at `rate` frames a second."""
    pictures = np.stack([bars(number) for number in range(count)])
    raw = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", rate, "-i", "-"]
    ffmpeg(*raw, *words, path, pictures=pictures)
