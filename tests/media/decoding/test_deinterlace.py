"""Interlaced clips: found by what the stream and its frames say, made whole frame for frame."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mtransfer.media.video import ClipReader

HEIGHT, WIDTH, COUNT, STEP_PX = 96, 160, 8, 3  # a field, half a frame's time


def picture(field: int) -> np.ndarray:
    """uint8[H,W,3]: soft blobs, moved on by STEP_PX a field."""
    noise = np.random.default_rng(2).integers(0, 256, (HEIGHT // 8, (WIDTH + 64) // 8), np.uint8)
    wide = cv2.resize(noise, (WIDTH + 64, HEIGHT), interpolation=cv2.INTER_CUBIC)
    start = STEP_PX * field
    return np.repeat(wide[:, start : start + WIDTH, None], 3, axis=2)


def encode(path: Path, *, interlaced: bool, flagged: bool, count: int = COUNT) -> Path:
    """Frames woven of two moments, or of one; flagged as interlaced, bottom field first, or not flagged, top first."""
    with av.open(str(path), "w") as container:
        options = {"crf": "4"} | ({"x264-params": "bff=1"} if flagged else {})
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv444p"
        for index in range(count):
            whole = picture(2 * index)
            if interlaced:
                later = 0 if flagged else 1
                whole[later::2] = picture(2 * index + 1)[later::2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(whole, format="rgb24")))
        container.mux(stream.encode())
    return path


def combing(reader: ClipReader) -> float:
    """How far, in levels of 255, frames are on average from the whole picture at the time of their first field."""
    frames = reader.walk(range(COUNT))
    errors = [np.abs(frame.astype(int) - picture(2 * index))[8:-8].mean() for index, frame in enumerate(frames)]
    assert len(errors) == COUNT
    return float(np.mean(errors[1:-1]))


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_interlaced_frames_are_made_whole(tmp_path: Path, suffix: str):
    path = encode(tmp_path / f"clip.{suffix}", interlaced=True, flagged=True)
    whole, woven = ClipReader(path), ClipReader(path, deinterlace="off")
    assert (whole.deinterlaces, woven.deinterlaces) == (True, False)
    assert whole.facts.interlaced
    assert combing(whole) < 0.4 * combing(woven)


def test_frames_that_do_not_say_so_are_made_whole_when_asked(tmp_path: Path):
    path = encode(tmp_path / "clip.mp4", interlaced=True, flagged=False)
    told, asked = ClipReader(path), ClipReader(path, deinterlace="on")
    assert (told.deinterlaces, asked.deinterlaces) == (False, True)
    assert combing(asked) < 0.4 * combing(told)


def test_progressive_frames_are_left_alone(tmp_path: Path):
    reader = ClipReader(encode(tmp_path / "clip.mp4", interlaced=False, flagged=False))
    assert not reader.deinterlaces
    assert combing(reader) < 3


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_a_frame_is_the_same_however_it_is_reached(tmp_path: Path, suffix: str):
    path = encode(tmp_path / f"clip.{suffix}", interlaced=True, flagged=True)
    in_order = list(ClipReader(path).walk(range(COUNT)))
    for index in range(COUNT):
        np.testing.assert_array_equal(next(ClipReader(path).walk([index])), in_order[index])
