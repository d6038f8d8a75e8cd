"""GIF, side by side and contact sheet, read back from the file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import disc, disc_photo, textured
from PIL import Image, ImageSequence

from mtransfer.media.contact_sheet import contact_sheet, side_by_side
from mtransfer.media.gif import COLOURS, GIF_SIDE_PX, fitted, spread, write_gif
from mtransfer.media.video import ClipReader
from mtransfer.media.video_writer import write_video

STEP_PX = 6


def moving_disc(count: int = 6) -> list[torch.Tensor]:
    """A disc that moves over a ground that stands still."""
    ground = 0.3 + 0.4 * textured(160, 160, seed=5)
    orange = torch.tensor([0.9, 0.5, 0.1]).view(3, 1, 1)
    return [torch.where(disc(STEP_PX * (index % 6)) > 0, orange, ground) for index in range(count)]


def gif(path: Path, frames: list[torch.Tensor], fps: float = 12.0) -> tuple[np.ndarray, list[int], dict]:
    """Frames uint8[T,H,W,3], durations in ms and what else the file says."""
    write_gif(iter(frames), path, [1 / fps] * len(frames), "command = 'animate' 漢")
    with Image.open(path) as picture:
        info = dict(picture.info)
        shown = [(np.asarray(each.convert("RGB")), each.info["duration"]) for each in ImageSequence.Iterator(picture)]
    return np.stack([pixels for pixels, _ in shown]), [duration for _, duration in shown], info


def test_a_gif_repeats_for_ever_and_says_how_it_was_made(tmp_path) -> None:
    pixels, _, info = gif(tmp_path / "a.gif", moving_disc())
    assert pixels.shape == (6, 160, 160, 3)
    assert info["loop"] == 0
    assert info["comment"].decode() == "command = 'animate' 漢"


def test_a_gif_is_near_the_frames_and_has_one_palette(tmp_path) -> None:
    frames = moving_disc()
    pixels, _, _ = gif(tmp_path / "a.gif", frames)
    wanted = np.stack([(255 * frame).round().byte().permute(1, 2, 0).numpy() for frame in frames])
    assert np.abs(pixels.astype(int) - wanted).mean() < 5
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) <= COLOURS


def test_what_stands_still_does_not_flicker_in_a_gif(tmp_path) -> None:
    pixels, _, _ = gif(tmp_path / "a.gif", moving_disc())
    covered = torch.stack([disc(STEP_PX * index) for index in range(6)]).amax(dim=0).numpy() > 0
    assert not np.diff(pixels.astype(int), axis=0)[:, ~covered].any()


@pytest.mark.parametrize("fps", [60.0, 119.88, 240.0, 1000.0])
def test_a_gif_of_a_faster_film_keeps_its_pace(tmp_path, fps) -> None:
    """Browsers show at most 50 frames a second, so not every frame is in it."""
    pixels, durations, _ = gif(tmp_path / "a.gif", moving_disc(120), fps)
    assert set(durations) == {20}
    assert sum(durations) == pytest.approx(1000 * 120 / fps, abs=20)
    assert len(pixels) == len(durations)


@pytest.mark.parametrize("fps", [0.01, 7.0, 12.0, 24.0, 30.0])
def test_a_gif_keeps_the_rate(tmp_path, fps) -> None:
    _, durations, _ = gif(tmp_path / "a.gif", moving_disc(25), fps)
    assert sum(durations) == pytest.approx(1000 * 25 / fps, abs=10)
    assert max(durations) - min(durations) <= 10


def test_a_gif_of_equal_frames_lasts_as_long(tmp_path) -> None:
    write_gif([disc_photo()] * 5, tmp_path / "a.gif", [0.1] * 5)
    with Image.open(tmp_path / "a.gif") as picture:
        assert sum(each.info["duration"] for each in ImageSequence.Iterator(picture)) == 500


def test_a_gif_of_large_frames_is_smaller(tmp_path) -> None:
    large = torch.nn.functional.interpolate(disc_photo()[None], (500, 1000))[0]
    write_gif([large, large.flip(1)], tmp_path / "a.gif", [0.1, 0.1])
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.size == (GIF_SIDE_PX, GIF_SIDE_PX // 2)
    assert torch.equal(fitted(disc_photo(), GIF_SIDE_PX), disc_photo())


def test_a_film_is_written_frame_by_frame_with_even_sides(tmp_path) -> None:
    frames = [frame[:, :91, :123] for frame in moving_disc()]
    write_video(iter(frames), tmp_path / "a.mp4", 12)
    assert ClipReader(tmp_path / "a.mp4").clip.size == (92, 124)
    back = ClipReader(tmp_path / "a.mp4").read(range(6))[..., :91, :123]
    assert (back - torch.stack(frames)).abs().mean() < 0.02


def test_side_by_side_has_the_photos_height() -> None:
    left, right = [torch.rand(3, 90, 160)] * 2, [torch.rand(3, 120, 100)] * 2
    for pair in side_by_side(left, right):
        assert pair.shape[1] == 120
        assert torch.equal(pair[..., -100:], right[0])
    (one,) = side_by_side([torch.rand(3, 90, 160)], [torch.rand(3, 1600, 1000)])
    assert one.shape == (3, 480, 853 + 8 + 300)


def test_a_sheet_shows_frames_from_the_first_to_the_last() -> None:
    assert spread(5, 10) == [0, 1, 2, 3, 4]
    assert spread(100, 5) == [0, 25, 50, 74, 99]
    asked = []

    def frame(index: int) -> torch.Tensor:
        asked.append(index)
        return torch.full((3, 20, 30), 0.5)

    made = contact_sheet(frame, [f"clip {number}" for number in range(10, 110)])
    assert (len(asked), asked[0], asked[-1]) == (48, 0, 99)
    assert made.shape[0] == 3
    assert made.min() < 0.3  # labels
