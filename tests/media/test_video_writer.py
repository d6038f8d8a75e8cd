"""Films: the same frames are the same file, whatever memory holds and however busy the machine is."""

import ctypes
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from mtransfer.errors import InputError
from mtransfer.media.frame_rates import LEAST_FPS, MOST_FPS
from mtransfer.media.video_writer import write_video

FRAMES = 16
COLOURS = [(251.0, 0.0, 0.0), (0.0, 0.0, 0.0), (255.0, 255.0, 255.0), (30.0, 200.0, 90.0), (20.0, 60.0, 220.0)]
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


def test_a_film_is_tagged_and_converted_as_bt709_of_limited_range(tmp_path) -> None:
    flat = [torch.tensor(each).div(255).view(3, 1, 1).expand(3, 32, 48) for each in COLOURS]
    write_video(flat, tmp_path / "film.mp4", 12)
    with av.open(str(tmp_path / "film.mp4")) as film:
        context = film.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        for wanted, frame in zip(COLOURS, film.decode(video=0), strict=True):
            assert shown(frame) == pytest.approx(wanted, abs=3)
            assert (frame.colorspace, frame.color_range) == (1, 1)


def shown(frame: av.VideoFrame) -> list[float]:
    """The middle's R, G, B of 255, by BT.709's own equations."""
    luma, blue, red = (plane_middle(plane) for plane in frame.planes)
    y, cb, cr = (luma - 16) / 219, (blue - 128) / 224, (red - 128) / 224
    r, b = y + 1.5748 * cr, y + 1.8556 * cb
    return [min(max(255 * value, 0), 255) for value in (r, (y - 0.2126 * r - 0.0722 * b) / 0.7152, b)]


def plane_middle(plane: av.video.plane.VideoPlane) -> int:
    levels = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return int(levels[plane.height // 2, plane.width // 2])


def test_a_film_reads_back_with_its_rate_and_its_comment(tmp_path) -> None:
    write_video(grainy(31, 47)[:5], tmp_path / "film.mp4", 12.5, '{"seed": 7}')
    with av.open(str(tmp_path / "film.mp4")) as film:
        stream = film.streams.video[0]
        assert (stream.average_rate, stream.frames, stream.width, stream.height) == (12.5, 5, 48, 32)
        assert (film.metadata["comment"], stream.codec_context.pix_fmt) == ('{"seed": 7}', "yuv420p")
    assert b" threads=1 " in (tmp_path / "film.mp4").read_bytes()  # x264 writes its settings into the stream


def test_odd_sides_are_made_even_by_repeating_the_last_row_and_column(tmp_path) -> None:
    frames = torch.arange(5 * 7).div(35).view(1, 5, 7).expand(2, 3, 5, 7)
    write_video(frames, tmp_path / "film.mp4", 10)
    with av.open(str(tmp_path / "film.mp4")) as film:
        luma = next(film.decode(video=0)).to_ndarray(format="gray")
    assert luma.shape == (6, 8)
    assert np.abs(luma[:5, 7].astype(int) - luma[:5, 6]).max() <= 4
    assert np.abs(luma[5].astype(int) - luma[4]).max() <= 4


@pytest.mark.parametrize("fps", [LEAST_FPS, 0.5, 23.976, 119.88, MOST_FPS])
def test_films_of_any_rate_that_may_be_asked_for_last_as_long_as_they_should(tmp_path, fps) -> None:
    write_video(grainy(16, 16)[:6], tmp_path / "film.mp4", fps)
    with av.open(str(tmp_path / "film.mp4")) as film:
        stream = film.streams.video[0]
        times_s = [float(frame.time) for frame in film.decode(stream)]
    assert np.diff(times_s) == pytest.approx([1 / fps] * 5, rel=2e-3)


@pytest.mark.parametrize(("name", "fps"), [("nowhere/a.mp4", 10), ("taken", 10), ("a.mp4", 0), ("a.mp4", float("nan"))])
def test_what_cannot_be_written_leaves_nothing(tmp_path, name, fps) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match=Path(name).name):
        write_video(grainy(16, 16), tmp_path / name, fps)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
