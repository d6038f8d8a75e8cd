"""Photos that are not opaque: alpha moves with the subject, and all else stays what it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import disc, disc_photo, save_clip

from mtransfer.jobs.recipe import AnimateRecipe, EditRecipe, TransferRecipe
from mtransfer.jobs.results import read_result
from mtransfer.jobs.run_job import run_to_folder
from mtransfer.jobs.transfer import edit
from mtransfer.media.photo.photo import read_photo, to_levels
from mtransfer.media.photo.png import write_png

RIGHT_PX = 20
MODES = {"RGBA": (4, 8), "LA": (2, 8), "RGBA of 16 bits": (4, 16), "LA of 16 bits": (2, 16)}


def soft_disc(right_px: int = 0) -> torch.Tensor:
    """The disc's mask float32[1,H,W] with a soft edge."""
    return torch.nn.functional.avg_pool2d(disc(right_px)[None, None], 3, stride=1, padding=1)[0]


def save_cutout(path: Path, channels: int = 4, depth: int = 8) -> np.ndarray:
    """The disc of the disc photo alone, on white of which nothing shows; returns its pixels."""
    colours = torch.where(soft_disc() > 0, disc_photo(), torch.ones(3, 1, 1))
    parts = [colours if channels == 4 else colours.mean(dim=0, keepdim=True), soft_disc()]
    pixels = to_levels(torch.cat(parts), depth)
    write_png(pixels, path)
    return pixels


def moved_right(path: Path, out: Path, **options) -> np.ndarray:
    """The pixels of edited.png."""
    given = {"photo": path, "translate": f"{RIGHT_PX},0", "preset": "draft", "device": "cpu", **options}
    run_to_folder(EditRecipe.build(given, []), out, overwrite=True, metadata=True, report=lambda *told: None)
    return read_photo(out / "edited.png").pixels


@pytest.mark.parametrize("mode", MODES)
def test_a_cutout_is_still_one_when_it_has_moved(tmp_path: Path, mode: str) -> None:
    channels, depth = MODES[mode]
    own = save_cutout(tmp_path / "a.png", channels, depth)
    made = moved_right(tmp_path / "a.png", tmp_path / "out")
    wanted, most = np.roll(own, RIGHT_PX, axis=1).astype(float), np.iinfo(own.dtype).max
    assert made.dtype == own.dtype
    assert made.shape == own.shape
    assert np.abs(made[..., -1] - wanted[..., -1]).max() < 0.01 * most
    clear = wanted[..., -1] > 0.1 * most
    assert np.abs(made[..., :-1] - wanted[..., :-1])[clear].mean() < 0.01 * most
    # What no longer shows is no ghost of the subject either.
    gone = (own[..., -1] > 0) & (made[..., -1] == 0)
    assert gone.sum() > 1000
    assert (made[..., :-1][gone] > 0.99 * most).all()


def test_a_sampled_cutout_keeps_its_outline(tmp_path: Path) -> None:
    own = save_cutout(tmp_path / "a.png")
    made = moved_right(tmp_path / "a.png", tmp_path / "out", preset="fast", sampler={"steps": 2})
    assert np.abs(made[..., 3] - np.roll(own, RIGHT_PX, axis=1)[..., 3].astype(float)).max() < 3


def test_behind_a_moved_subject_the_surrounding_alpha_goes_on(tmp_path: Path) -> None:
    colours, alpha = disc_photo(), torch.full((1, 160, 160), 0.6)
    write_png(to_levels(torch.cat([colours, alpha])), tmp_path / "a.png")
    made = moved_right(tmp_path / "a.png", tmp_path / "out", subject="40,50,100,110")
    assert set(np.unique(made[..., 3])) <= {152, 153, 154}


def test_an_opaque_alpha_channel_stays_one(tmp_path: Path) -> None:
    write_png(to_levels(torch.cat([disc_photo(), torch.ones(1, 160, 160)])), tmp_path / "a.png")
    made = moved_right(tmp_path / "a.png", tmp_path / "out", subject="70,80")
    assert made.shape[2] == 4
    assert (made[..., 3] == 255).all()


def test_python_gets_straight_colours_and_alpha(tmp_path: Path) -> None:
    own = save_cutout(tmp_path / "a.png")
    output = edit(photo=tmp_path / "a.png", translate=f"{RIGHT_PX},0", preset="draft", device="cpu")
    assert output.alpha is not None
    assert output.alpha.shape == (1, 1, 160, 160)
    assert output.frames.shape == (1, 3, 160, 160)
    outside = (output.edit[0, 0] == 0).numpy()
    assert np.array_equal(output.pixels[outside], own[outside])
    assert np.array_equal(to_levels(torch.cat([output.frames[0], output.alpha[0]]))[outside], own[outside])
    assert output.metrics["flow_error_dis"]["mean_px"] < 1


def test_a_result_is_measured_as_it_was_made(tmp_path: Path) -> None:
    save_cutout(tmp_path / "a.png")
    moved_right(tmp_path / "a.png", tmp_path / "out")
    asked, edited = read_result(tmp_path / "out", tmp_path / "a.png")
    still = (asked.flow == 0).all(dim=1, keepdim=True).expand_as(edited)
    assert (asked.photo - edited)[still].abs().median() == 0
    assert edited[0, :, 5, 5].tolist() == asked.photo[0, :, 5, 5].tolist()


def test_a_camera_moves_alpha_too(tmp_path: Path) -> None:
    save_cutout(tmp_path / "a.png")
    given = {"photo": tmp_path / "a.png", "clip": save_clip(tmp_path / "clip.mp4"), "pair": "0:3", "preset": "draft"}
    recipe = TransferRecipe.build({**given, "camera": "photo", "device": "cpu"}, [])
    run_to_folder(recipe, tmp_path / "out", overwrite=False, metadata=True, report=lambda *told: None)
    made = read_photo(tmp_path / "out" / "edited.png")
    assert made.mode == "RGBA"
    assert made.alpha is not None
    assert 0.5 < float(made.alpha.sum() / soft_disc().sum()) < 2


@pytest.mark.parametrize("camera", ["remove", "photo"])
def test_the_frames_of_an_animated_cutout_are_cutouts(camera, tmp_path: Path) -> None:
    own = save_cutout(tmp_path / "a.png")
    given = {"photo": tmp_path / "a.png", "clip": save_clip(tmp_path / "clip.mp4"), "preset": "draft", "format": "png"}
    recipe = AnimateRecipe.build({**given, "camera": camera, "device": "cpu"}, [])
    run_to_folder(recipe, tmp_path / "out", overwrite=False, metadata=True, report=lambda *told: None)
    first, last = (read_photo(tmp_path / "out" / "frames" / f"000{index}.png") for index in (0, 5))
    assert np.array_equal(first.pixels, own)
    assert last.alpha is not None
    moved = float((last.alpha * torch.arange(160)).sum() / last.alpha.sum())
    still = float((soft_disc() * torch.arange(160)).sum() / soft_disc().sum())
    assert moved - still == pytest.approx(15, abs=3)
    assert float(last.alpha.sum()) == pytest.approx(float(soft_disc().sum()), rel=0.05)
