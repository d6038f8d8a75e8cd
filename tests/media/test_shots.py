from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import textured

from mtransfer.errors import InputError
from mtransfer.media.shots import Shot, choose_shot, cuts_of, find_shots, padded, scores, warn_of_shots
from mtransfer.media.video import ClipReader
from mtransfer.media.video_writer import write_video

SAMPLES = Path(__file__).parents[2] / "samples"
SIZE = (72, 128)


def panning(seed: int, count: int, step_px: int) -> torch.Tensor:
    """A camera that pans over a textured scene, [count,3,H,W]."""
    scene = textured(SIZE[0], SIZE[1] + step_px * count + 8, seed)[..., : SIZE[1] + step_px * count]
    return torch.stack([scene[:, :, step_px * t : step_px * t + SIZE[1]] for t in range(count)])


@pytest.fixture(scope="module")
def cut_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shots, from frames 0, 9 and 21."""
    path = tmp_path_factory.mktemp("cuts") / "cut.mp4"
    tint = torch.tensor([0.4, 1.0, 0.6]).view(3, 1, 1)
    write_video(torch.cat([panning(0, 9, 4), tint * panning(1, 12, 2), panning(2, 8, 3).flip(1)]), path, 12)
    return path


def test_cuts_are_found(cut_clip) -> None:
    assert find_shots(ClipReader(cut_clip)) == (Shot(1, 0, 9), Shot(2, 9, 21), Shot(3, 21, 29))


@pytest.mark.parametrize("name", ["cup.mp4", "bunny.mp4", "box.mp4"])
def test_motion_alone_is_no_cut(name) -> None:
    assert len(find_shots(ClipReader(SAMPLES / name))) == 1


@pytest.mark.parametrize("step_px", [2, 12, 30])
def test_a_fast_pan_is_no_cut(step_px, tmp_path) -> None:
    write_video(panning(3, 14, step_px), tmp_path / "pan.mp4", 12)
    assert len(find_shots(ClipReader(tmp_path / "pan.mp4"))) == 1


def test_a_flash_and_a_fade_are_no_cuts(tmp_path) -> None:
    frames = panning(4, 16, 2)
    frames[7] = 1
    light = torch.linspace(1, 0.15, 16).view(-1, 1, 1, 1)
    for name, shown in (("flash", frames), ("fade", panning(4, 16, 2) * light)):
        write_video(shown, tmp_path / f"{name}.mp4", 12)
    assert len(find_shots(ClipReader(tmp_path / "fade.mp4"))) == 1
    assert len(find_shots(ClipReader(tmp_path / "flash.mp4"))) <= 2


@pytest.mark.parametrize("size", [(6, 96), (96, 6), (31, 96), (32, 33), (1, 1)])
def test_flow_sees_no_picture_of_few_rows_or_columns(size) -> None:
    grey = np.arange(size[0] * size[1], dtype=np.uint32).reshape(size).astype(np.uint8)
    larger = padded(grey)
    assert min(larger.shape) >= 32
    assert np.array_equal(larger[: size[0], : size[1]], grey)
    assert set(larger[size[0] :, 0]) <= {grey[-1, 0]}


def test_a_strip_of_a_clip_is_searched_for_cuts(tmp_path) -> None:
    strips = torch.cat([panning(5, 9, 3)[:, :, :8], panning(6, 9, 3)[:, :, :8].flip(1)])
    write_video(strips, tmp_path / "strip.mp4", 12)
    assert find_shots(ClipReader(tmp_path / "strip.mp4"))[0].first == 0


def test_only_a_peak_is_a_cut() -> None:
    score = np.full(20, 0.05)
    score[9] = 0.8
    assert cuts_of(score) == [10]
    restless = np.full(20, 0.5)
    restless[9] = 0.8
    assert cuts_of(restless) == []
    twice = score.copy()
    twice[11] = 0.7
    assert cuts_of(twice) == [10]


def test_scores_of_like_frames_are_near_zero() -> None:
    path = SAMPLES / "cup.mp4"
    found = scores(ClipReader(path).walk(range(10), 96))
    assert found.shape == (9,)
    assert found.max() < 0.2


def test_a_shot_is_chosen_by_number_or_by_its_frames(cut_clip) -> None:
    clip = ClipReader(cut_clip)
    assert choose_shot(clip, 0, ()) == Shot(1, 0, 9)
    assert choose_shot(clip, 2, ()) == choose_shot(clip, 0, (12, 20)) == choose_shot(clip, 2, (9,)) == Shot(2, 9, 21)


@pytest.mark.parametrize(
    ("number", "frames", "says"), [(0, (3, 12), "frame 12"), (3, (5,), "frame 5"), (4, (), "has 3")]
)
def test_frames_across_a_cut_and_missing_shots_are_errors_that_name_the_option(cut_clip, number, frames, says) -> None:
    with pytest.raises(InputError, match=says) as error:
        choose_shot(ClipReader(cut_clip), number, frames)
    assert "--shot" in str(error.value)
    assert "\n" not in str(error.value)


def test_of_cuts_one_line_tells(cut_clip, capsys) -> None:
    clip = ClipReader(cut_clip)
    warn_of_shots(clip, choose_shot(clip, 2, ()))
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "3 shots, from frames 0, 9, 21; taken is shot 2" in told
    single = ClipReader(SAMPLES / "cup.mp4")
    warn_of_shots(single, choose_shot(single, 0, ()))
    assert capsys.readouterr().err == ""
