"""Films: the same frames are the same file, whatever memory holds and however busy the machine is."""

import ctypes
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from mtransfer.media.video_writer import write_video

FRAMES = 16
M_PERTURB = -6  # glibc's mallopt: fill what is allocated and freed with this byte
UNEVEN = [(34, 46), (160, 160), (90, 123)]  # widths that x264's vectors do not divide
OF_ONE_PROCESS = """
import sys
sys.path.insert(0, sys.argv[1])
from test_video_writer import grainy, hashes
print(*hashes(grainy(144, 328), 2, sys.argv[2]))
"""


def grainy(height: int, width: int) -> torch.Tensor:
    return torch.rand(FRAMES, 3, height, width, generator=torch.Generator().manual_seed(height))


def hashes(frames: torch.Tensor, times: int, folder: str | Path) -> list[str]:
    """Of one film written again and again, each time into memory that holds something else."""
    found, libc = [], ctypes.CDLL(None)
    for index in range(times):
        if hasattr(libc, "mallopt"):
            libc.mallopt(M_PERTURB, 1 + 37 * index % 255)
        write_video(frames, Path(folder) / "film.mp4", 12, "grain")
        found.append(hashlib.sha256((Path(folder) / "film.mp4").read_bytes()).hexdigest())
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_PERTURB, 0)
    return found


@contextmanager
def busy_core() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("size", UNEVEN)
def test_grainy_frames_are_one_film_whatever_memory_holds(tmp_path, size) -> None:
    assert len(set(hashes(grainy(*size), 8, tmp_path))) == 1


@pytest.mark.slow
def test_fifty_films_beside_a_busy_core_are_one(tmp_path) -> None:
    with busy_core():
        for size in UNEVEN:
            assert len(set(hashes(grainy(*size), 50, tmp_path))) == 1, size


@pytest.mark.slow
def test_films_of_many_processes_are_one(tmp_path) -> None:
    with busy_core():
        found = set()
        for byte in range(4):
            words = [sys.executable, "-c", OF_ONE_PROCESS, str(Path(__file__).parent), str(tmp_path)]
            environment = os.environ | {"MALLOC_PERTURB_": str(60 * byte), "OMP_NUM_THREADS": str(1 + byte % 2)}
            found |= set(
                subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout.split()
            )
    assert len(found) == 1
