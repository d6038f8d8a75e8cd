"""`mtransfer animate-edit`: from the photo to an edit of it, without a clip."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import command, contents
from pictures import disc_photo, save_mask, save_picture

import mtransfer
from mtransfer.flow.field import FlowField
from mtransfer.jobs.animation.edit_scene import EditScene, read_edit_scene
from mtransfer.media.video import ClipReader

DRAFT = ["--subject", "mask.png", "--preset", "draft"]
ALL = {"animation.gif", "animation.mp4", "contact.png", "flow.npz", "frames", "preview.png", "recipe.toml", "run.json"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    save_picture(tmp_path / "photo.png", disc_photo())
    save_mask(tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scene(**options: object) -> EditScene:
    return read_edit_scene(**{"photo": "photo.png", "subject": "mask.png", "preset": "draft", **options})


def test_a_film_goes_through_its_poses_and_ends_at_the_edit() -> None:
    there = scene(translate="20,0", via=("0,-30", "20,-30,0,1.2"), frames=4, ease="linear", strength=0.5)
    middles = [mean_flow(there, index) for index in range(4)]
    assert middles == [pytest.approx(xy, abs=0.1) for xy in ((0, 0), (0, -15), (10, -15), (10, 0))]


def mean_flow(film: EditScene, index: int) -> list[float]:
    return film.moved(index).flow[0][:, film.mask[0, 0] > 0].mean(dim=1).tolist()


def test_the_command_writes_every_file_and_can_be_run_again(home, capsys) -> None:
    words = ["--translate", "24,6", "--frames", "5", "--loop", "pingpong", "--fps", "10", *DRAFT]
    ended = command(capsys, "animate-edit", "photo.png", "-o", "out", "--json", *words)
    assert (ended.code, ended.err) == (0, "")
    found = json.loads(ended.out)
    assert (found["frames_made"], "clip_reader" in found) == (5, False)
    assert {path.name for path in (home / "out").iterdir()} == ALL
    film = ClipReader(home / "out" / "animation.mp4").clip
    assert (film.frame_count, film.average_fps) == (8, pytest.approx(10, abs=0.01))
    assert (
        command(
            capsys,
            "run",
            "out/animation.gif",
            "--photo",
            "photo.png",
            "-o",
            "again",
            "--quiet",
            "--subject",
            "mask.png",
        ).code
        == 0
    )
    first, second = (contents(home / name) for name in ("out", "again"))
    assert first["animation.gif"] == second["animation.gif"]


def test_it_begins_with_the_photo_and_ends_with_the_edit() -> None:
    asked = {"photo": "photo.png", "subject": "mask.png", "preset": "draft", "translate": "20,-8", "rotate": 30.0}
    film, picture = mtransfer.animate_edit(**asked, frames=4), mtransfer.edit(**asked)
    assert film.frames.shape[0] == 4
    assert torch.equal(film.frames[0], picture.photo.image)
    assert (film.frames[-1] - picture.frames[0]).abs().max() <= 1 / 255
    assert film.metrics["moved_as_asked"] == 1.0


@pytest.mark.parametrize("ease", ["smooth", "linear"])
def test_it_eases_in_and_out(ease) -> None:
    shares = np.array([scene(translate="9,0", frames=9, ease=ease).share(index) for index in range(9)])
    assert (shares[0], shares[4], shares[-1]) == (0, 0.5, 1)
    steps = np.diff(shares)
    np.testing.assert_allclose(steps, steps[::-1])
    assert (steps[0] < 0.5 * steps[3]) == (ease == "smooth")


def test_what_turns_goes_along_its_arc() -> None:
    """Half of a quarter turn is an eighth: the subject keeps its size on the way."""
    half, eighth = scene(rotate=90.0, frames=3).flow(1), scene(rotate=45.0, frames=2).flow(1)
    torch.testing.assert_close(half.flow, eighth.flow)


def test_a_flow_file_grows(home) -> None:
    flow = torch.zeros(1, 2, 160, 160)
    flow[:, 0] = 12
    mtransfer.save_field(FlowField.from_flow(flow), home / "flow.npz")
    made = scene(flow="flow.npz", frames=3, ease="linear", falloff=0.0)
    torch.testing.assert_close(2 * made.flow(1).flow, made.flow(2).flow)


def test_a_flow_file_that_turns_goes_along_its_arc_too(home) -> None:
    whole = scene(rotate=90.0, frames=2).flow(1)
    mtransfer.save_field(whole, home / "flow.npz")
    half, eighth = scene(flow="flow.npz", frames=3, falloff=0.0).flow(1), scene(rotate=45.0, frames=2).flow(1)
    assert (half.flow - eighth.flow).abs().max() < 0.2
