"""Clips: frames by number and time, rotation, variable rate, odd sizes, writing, and one-line errors."""

import hashlib
import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from mtransfer import cache
from mtransfer.errors import InputError
from mtransfer.media.clip_position import parse_pair, parse_position, require_pair
from mtransfer.media.video import Clip, ClipReader

SAMPLES = Path(__file__).parents[2] / "samples"
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
LEVEL_STEP = 20


def corners(height: int, width: int) -> np.ndarray:
    """uint8[H,W,3]: a quarter each of red, green / blue, white."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2], picture[: height // 2, width // 2 :] = RED, GREEN
    picture[height // 2 :, : width // 2], picture[height // 2 :, width // 2 :] = BLUE, WHITE
    return picture


def ramp(count: int, height: int = 64, width: int = 96) -> list[np.ndarray]:
    """Grey frames, each LEVEL_STEP levels above the one before, so that a frame tells its number."""
    return [np.full((height, width, 3), LEVEL_STEP * (i + 1), np.uint8) for i in range(count)]


def encode(
    path: Path,
    pictures: list[np.ndarray],
    rotation_deg: int = 0,
    pts: list[int] | None = None,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    rate: int | Fraction = 10,
    aspect: Fraction | None = None,
    gop: int = 0,
) -> Path:
    """A clip at `rate` frames a second, or with pts in units of 1/1000 s; `aspect` of a pixel."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"g": str(gop)} if gop else {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if pts:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation_deg:
            stream.set_display_rotation(rotation_deg)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if pts:
                frame.pts, frame.time_base = pts[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers(frames: Tensor) -> list[int]:
    """The numbers of frames of a `ramp`."""
    return [round(float(frame.mean()) * 255 / LEVEL_STEP) - 1 for frame in frames]


def colours(frame: Tensor) -> list[tuple[int, ...]]:
    """The colours of the four corners, in reading order."""
    spots = frame[:, [5, 5, -6, -6], [5, -6, 5, -6]]
    return [tuple(255 * (spot > 0.5).int().numpy()) for spot in spots.T]


@pytest.fixture
def reader(tmp_path: Path) -> ClipReader:
    return ClipReader(encode(tmp_path / "ramp.mp4", ramp(12)))


@pytest.fixture
def clip(reader: ClipReader) -> Clip:
    return reader.clip


def refusal(call, *args: object) -> str:
    """The one line with which a call refuses its arguments."""
    with pytest.raises(InputError) as caught:
        call(*args)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_clip_tells_size_count_rate_and_times(clip: Clip):
    assert clip.size == (64, 96)
    assert clip.frame_count == 12
    assert clip.average_fps == pytest.approx(10)
    assert clip.duration_s == pytest.approx(1.2)
    assert clip.timestamps_s == pytest.approx([i / 10 for i in range(12)])


@pytest.mark.parametrize("indices", [[0], [11, 0, 5], [3, 3], list(range(12))])
def test_frames_come_as_asked_for(reader: ClipReader, indices: list[int]):
    frames = reader.read(indices)
    assert frames.shape == (len(indices), 3, 64, 96)
    assert frames.dtype == torch.float32
    assert numbers(frames) == indices


@pytest.mark.parametrize(("height", "width"), [(64, 24), (72, 72), (64, 96), (64, 100), (240, 322)])
def test_colours_and_layout_at_widths_with_padded_rows(tmp_path: Path, height: int, width: int):
    reader = ClipReader(encode(tmp_path / "corners.mp4", [corners(height, width)] * 3))
    frame = reader.read([1])[0]
    assert frame.shape == (3, height, width)
    assert colours(frame) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize(("height", "width"), [(63, 97), (65, 64), (64, 65)])
def test_odd_sizes(tmp_path: Path, height: int, width: int):
    reader = ClipReader(encode(tmp_path / "odd.mp4", [corners(height, width)] * 2, pix_fmt="yuv444p"))
    assert reader.clip.size == (height, width)
    assert colours(reader.read([0])[0]) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize(
    ("rotation_deg", "size", "expected"),
    [
        (0, (64, 96), [RED, GREEN, BLUE, WHITE]),
        (90, (96, 64), [GREEN, WHITE, RED, BLUE]),
        (180, (64, 96), [WHITE, BLUE, GREEN, RED]),
        (270, (96, 64), [BLUE, RED, WHITE, GREEN]),
    ],
)
def test_display_rotation_is_applied_once(tmp_path: Path, rotation_deg: int, size: tuple[int, int], expected: list):
    reader = ClipReader(encode(tmp_path / "turned.mp4", [corners(64, 96)] * 3, rotation_deg))
    assert reader.clip.size == size
    frame = reader.read([1])[0]
    assert frame.shape[1:] == size
    assert colours(frame) == expected


@pytest.mark.parametrize("rotation_deg", [0, 90])
def test_resizing_keeps_aspect_and_turn(tmp_path: Path, rotation_deg: int):
    reader = ClipReader(encode(tmp_path / "large.mp4", [corners(96, 192)] * 2, rotation_deg))
    frame = reader.read([0], long_side=64)[0]
    assert frame.shape == ((3, 64, 32) if rotation_deg else (3, 32, 64))
    assert colours(frame)[0] == (GREEN if rotation_deg else RED)


def test_resizing_averages_areas(tmp_path: Path):
    rng = np.random.default_rng(0)
    noise = cv2.resize(rng.integers(0, 256, (16, 24, 3), np.uint8), (192, 128), interpolation=cv2.INTER_CUBIC)
    reader = ClipReader(encode(tmp_path / "noise.mp4", [noise] * 2))
    whole, small = reader.read([1]), reader.read([1], long_side=48)
    torch.testing.assert_close(small, torch.nn.functional.avg_pool2d(whole, 4), atol=1.5 / 255, rtol=0)


def test_small_clips_grow_to_the_long_side(reader: ClipReader):
    assert reader.read([0], long_side=150).shape == (1, 3, 100, 150)


def test_variable_frame_rate(tmp_path: Path):
    pts = [0, 40, 80, 580, 600, 1500]
    reader = ClipReader(encode(tmp_path / "variable.mp4", ramp(6), pts=pts))
    assert reader.clip.timestamps_s == pytest.approx([t / 1000 for t in pts], abs=1e-3)
    assert [parse_position(t, reader.clip) for t in ("0s", "0.05s", "0.3s", "0.58s", "1.4s")] == [0, 1, 2, 3, 4]
    assert numbers(reader.read(range(6))) == list(range(6))


def test_frames_without_times_are_evenly_spaced(tmp_path: Path):
    reader = ClipReader(encode(tmp_path / "clip.avi", ramp(8)))
    assert reader.clip.average_fps == pytest.approx(10)
    assert reader.clip.timestamps_s == pytest.approx([i / 10 for i in range(8)])
    assert parse_position("0.35s", reader.clip) == 3


def test_times_start_at_zero_where_the_container_does_not(tmp_path: Path):
    reader = ClipReader(encode(tmp_path / "late.mkv", ramp(4), pts=[2000, 2100, 2200, 2300]))
    assert reader.clip.timestamps_s == pytest.approx([0, 0.1, 0.2, 0.3], abs=2e-3)


@pytest.mark.parametrize(
    ("text", "index"), [("0", 0), (" 11 ", 11), ("0s", 0), ("0.1s", 1), ("0.19s", 1), (".5s", 5), ("1.2s", 11)]
)
def test_positions(clip: Clip, text: str, index: int):
    assert parse_position(text, clip) == index


@pytest.mark.parametrize("text", ["12", "-1"])
def test_frame_numbers_outside_the_clip(clip: Clip, text: str):
    message = refusal(parse_position, text, clip)
    assert text in message
    assert "0 to 11" in message


@pytest.mark.parametrize("text", ["1.3s", "-0.1s", "nans", "infs"])
def test_times_outside_the_clip(clip: Clip, text: str):
    message = refusal(parse_position, text, clip)
    assert text in message
    assert "0s to 1.200s" in message


@pytest.mark.parametrize("text", ["", "s", "one", "1.5", "1,5s", "0:1"])
def test_what_is_no_position(clip: Clip, text: str):
    assert "no clip position" in refusal(parse_position, text, clip)


def test_pairs(clip: Clip):
    assert parse_pair("0:11", clip) == (0, 11)
    assert parse_pair("0.75s:2", clip) == (7, 2)


@pytest.mark.parametrize(
    ("text", "part"),
    [("3", "A:B"), ("3:3", "frame 3"), ("0.3s:3", "frame 3"), ("0:12", "0 to 11"), ("0:1:2", "1:2"), (":4", "''")],
)
def test_what_is_no_pair(clip: Clip, text: str, part: str):
    assert part in refusal(parse_pair, text, clip)


def test_a_clip_of_one_frame_has_no_pair(tmp_path: Path):
    reader = ClipReader(encode(tmp_path / "one.mp4", ramp(1)))
    assert reader.clip.frame_count == 1
    assert "one.mp4" in refusal(require_pair, reader.clip)
    assert "at least two frames" in refusal(parse_pair, "0:0", reader.clip)


def test_frames_outside_the_clip_are_refused(reader: ClipReader):
    assert "0 to 11" in refusal(reader.read, [0, 12])
    assert "0 to 11" in refusal(reader.read, [-1])
    assert "no frames" in refusal(reader.read, [])


def noise(count: int) -> list[np.ndarray]:
    """Frames that compress badly, so that the pictures fill most of the file."""
    return list(np.random.default_rng(1).integers(0, 256, (count, 64, 96, 3), np.uint8))


def broken_files(folder: Path) -> dict[str, Path]:
    """Files that are no whole clips, by what their refusal must say."""
    junk, empty, sound, still = folder / "junk.mp4", folder / "empty.mp4", folder / "sound.wav", folder / "still.png"
    junk.write_bytes(b"no clip at all " * 99)
    empty.touch()
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    cv2.imwrite(str(still), corners(16, 16))
    return {"no video, or a broken one": junk, "no video": empty, "only other streams": sound, "still picture": still}


def test_files_that_are_no_clips(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    cases = broken_files(tmp_path) | {"does not exist": tmp_path / "none.mp4", "is a folder": tmp_path}
    for part, path in cases.items():
        message = refusal(ClipReader, path)
        assert part in message
        assert path.name in message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("options", [{}, {"movflags": "+faststart"}])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_clips(tmp_path: Path, options: dict[str, str], share: float, capfd: pytest.CaptureFixture[str]):
    path = encode(tmp_path / "cut.mp4", noise(9), options=options)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    capfd.readouterr()
    assert "cut.mp4" in refusal(ClipReader, path)
    assert capfd.readouterr() == ("", "")


def test_damaged_frames_make_no_noise(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    path = encode(tmp_path / "damaged.mp4", noise(9), options={"movflags": "+faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff" * (len(content) - len(content) // 2))
    capfd.readouterr()
    assert "cannot decode frame" in refusal(ClipReader(path).read, range(9))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["bunny.mp4", "box.mp4", "cup.mp4"])
def test_samples_are_clips(name: str, capfd: pytest.CaptureFixture[str]):
    reader = ClipReader(SAMPLES / name)
    require_pair(reader.clip)
    assert max(reader.clip.size) <= 640
    assert 1.5 <= reader.clip.duration_s <= 3
    first, last = reader.read([0, reader.clip.frame_count - 1], long_side=160)
    assert (first - last).abs().mean() > 0.02
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("aspect", "rotation_deg", "size"),
    [
        (Fraction(2), 0, (65, 194)),
        (Fraction(1, 2), 0, (65, 48)),
        (Fraction(2), 90, (194, 65)),
        (Fraction(4, 3), 270, (129, 65)),
    ],
)
def test_pixels_are_square_with_rotation_and_odd_sizes(tmp_path: Path, aspect, rotation_deg: int, size):
    path = encode(tmp_path / "wide.mp4", [corners(65, 97)] * 3, rotation_deg, pix_fmt="yuv444p", aspect=aspect)
    reader = ClipReader(path)
    assert reader.clip.size == size
    upright = {0: [RED, GREEN, BLUE, WHITE], 90: [GREEN, WHITE, RED, BLUE], 270: [BLUE, RED, WHITE, GREEN]}
    for long_side in (None, 60):
        frame = reader.read([1], long_side)[0]
        assert colours(frame) == upright[rotation_deg]
        assert frame.shape[1] / frame.shape[2] == pytest.approx(size[0] / size[1], rel=0.03)
    # Halves stay halves.
    assert int((reader.read([1])[0, :, :, 3] > 0.5).any(dim=0).sum()) == size[0]


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001)])
def test_every_position_in_seconds_of_a_long_clip(tmp_path: Path, rate: Fraction):
    count = 3250
    path = encode(tmp_path / "long.mp4", [corners(16, 16)] * count, rate=rate)
    reader = ClipReader(path)
    assert (reader.by, reader.clip.frame_count) == ("decord", count)
    for digits in (3, 6):
        positions = [parse_position(f"{float(number / rate):.{digits}f}s", reader.clip) for number in range(count)]
        assert positions == list(range(count))


def test_decord_reads_what_it_is_verified_for(tmp_path: Path):
    kinds = {
        "plain.mp4": ("decord", {}),
        "plain.mkv": ("decord", {}),
        "turned.mp4": ("pyav", {"rotation_deg": 90}),
        "deep.mp4": ("pyav", {"pix_fmt": "yuv420p10le"}),
        "stream.ts": ("pyav", {}),
        "old.avi": ("pyav", {}),
    }
    assert {name: ClipReader(encode(tmp_path / name, ramp(6), **told)).by for name, (_, told) in kinds.items()} == {
        name: by for name, (by, _) in kinds.items()
    }


def test_frames_are_found_from_key_frames_on(tmp_path: Path):
    """As PyAV does, since decord does not read this one: groups of 4 frames, far apart in time and near."""
    reader = ClipReader(encode(tmp_path / "keys.mp4", ramp(12) * 5, 180, gop=4))
    assert reader.by == "pyav"
    for index in (59, 0, 31, 30, 7, 58):
        assert numbers(reader.read([index])) == [index % 12]


def test_whole_range_colours_are_stretched(tmp_path: Path):
    """The same grey, once in limited and once in full range, comes out the same."""
    found = [
        float(ClipReader(encode(tmp_path / f"{name}.mp4", ramp(3), pix_fmt=name)).read([2]).mean())
        for name in ("yuv420p", "yuvj420p")
    ]
    assert found[0] == pytest.approx(found[1], abs=0.01)
    assert found[0] == pytest.approx(60 / 255, abs=0.01)


def test_what_was_hashed_is_hashed_again_only_when_it_may_have_changed(clip: Clip, monkeypatch):
    reads = []
    real = cache._read_hash
    monkeypatch.setattr(cache, "_read_hash", lambda path: reads.append(path) or real(path))
    os.utime(clip.path, (1e9, 1e9))
    assert len({cache.file_hash(clip.path) for _ in range(3)}) == 1
    assert len(reads) == 1
    clip.path.write_bytes(b"another")
    assert cache.file_hash(clip.path) == hashlib.sha256(b"another").hexdigest()
