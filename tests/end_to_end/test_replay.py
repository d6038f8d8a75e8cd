"""`mtransfer run`: a result says how it was made, and is made again from it, to the byte."""

import json
import re
import shutil
import socket
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Ended, command, contents
from pictures import disc_photo, save_clip, save_flow, save_mask, save_picture
from PIL import Image

from mtransfer.jobs.recipe_file import read_stored
from mtransfer.media.photo.photo import read_photo
from mtransfer.media.video import ClipReader
from mtransfer.media.video_writer import write_video
from mtransfer.sampling.settings import pipelines_folder

SAME = ("edited.png", "preview.png", "flow.npz")
# How a result is made from the files of a folder, and which of them go into it.
FEW = " --set sampler.steps=6 --set sampler.flow_updates=1 --set sampler.flow_levels=1"
JOBS = {
    "mask": ("edit photo.png --subject mask.png --rotate 20 --preset draft", ["photo.png", "mask.png"]),
    "flow": ("edit photo.png --flow flow.npy --strength 0.5 --preset draft", ["photo.png", "flow.npy"]),
    "found": ("edit photo.png --translate 8,0 --pin 70,80:0,5 --preset draft --seed 3", ["photo.png"]),
    "sampled": ("edit photo.png --translate 8,0 --subject mask.png --seed 11" + FEW, ["photo.png", "mask.png"]),
    "clip": ("transfer clip.mp4 photo.png --pair 0:3 --preset draft", ["clip.mp4", "photo.png"]),
    "clip mask": (
        "transfer clip.mp4 photo.png --clip-subject auto_mask.png --subject mask.png --preset draft --flow-model dis",
        ["clip.mp4", "photo.png", "mask.png", "auto_mask.png"],
    ),
}


@dataclass(frozen=True)
class Made:
    """A result's folder, and the folder of its inputs with their names."""

    out: Path
    home: Path
    inputs: list[str]

    def beside(self, folder: Path, *without: str) -> Path:
        """The result in a folder of its own, its inputs beside it."""
        folder.mkdir()
        for name in self.inputs:
            if name not in without:
                shutil.copy(self.home / name, folder)
        return Path(shutil.copy(self.out / "edited.png", folder))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    save_picture(folder / "photo.png", disc_photo())
    for name in ("mask.png", "auto_mask.png"):
        save_mask(folder / name)
    save_flow(folder / "flow.npy")
    save_clip(folder / "clip.mp4")
    return folder


def make(words: str, home: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> Ended:
    inputs = {path.name for path in home.iterdir()}
    named = [home / word if word in inputs else word for word in words.split()]
    return command(capsys, *named, "-o", out, "--quiet")


@pytest.fixture(scope="module")
def results() -> dict[str, Made]:
    """Every job is done once for all tests of this file."""
    return {}


@pytest.fixture
def made(request: pytest.FixtureRequest, results, home, tmp_path_factory, capsys) -> Made:
    words, inputs = JOBS[request.param]
    if request.param not in results:
        out = tmp_path_factory.mktemp("made") / "out"
        ended = make(words, home, out, capsys)
        assert (ended.code, ended.err) == (0, "")
        results[request.param] = Made(out, home, inputs)
    return results[request.param]


def each(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("made", names, indirect=True)


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Ended:
    return command(capsys, "run", *words, "--quiet")


def recipe_in(path: Path) -> str:
    with Image.open(path) as picture:
        return str(picture.info["mtransfer"])


def assert_same(first: Path, second: Path) -> None:
    for name in SAME:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


@each(*JOBS)
def test_a_result_is_made_again_byte_for_byte(made, tmp_path, capsys, monkeypatch) -> None:
    edited = made.beside(tmp_path / "another")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MTRANSFER_CACHE_GB", "0")  # everything is computed again
    ended = run(capsys, edited, "-o", tmp_path / "again")
    assert (ended.code, ended.err) == (0, "")
    assert_same(made.out, tmp_path / "again")


@each("flow")
def test_a_clip_carries_a_recipe_as_well(made, tmp_path, capsys) -> None:
    assert recipe_in(made.out / "preview.png") == recipe_in(made.out / "edited.png")
    edited = made.beside(tmp_path / "another")
    frames = ClipReader(made.home / "clip.mp4").read([0, 1])
    write_video(frames, edited.with_name("moved.mp4"), 12, comment=recipe_in(edited))
    edited.unlink()
    assert run(capsys, edited.with_name("moved.mp4"), "-o", tmp_path / "again").code == 0
    assert_same(made.out, tmp_path / "again")


@each("found")
def test_a_result_may_be_replaced_by_itself(made, tmp_path, capsys) -> None:
    edited = made.beside(tmp_path / "another")
    assert "already holds edited.png" in run(capsys, edited, "-o", edited.parent).message
    assert run(capsys, edited, "-o", edited.parent, "--overwrite").code == 0
    assert_same(made.out, edited.parent)


MISSING = [(job, name) for job in ("flow", "clip mask", "sampled") for name in JOBS[job][1]]


@pytest.mark.parametrize(("made", "name"), MISSING, indirect=["made"])
def test_a_missing_or_altered_input_is_named_in_one_line(made, name, tmp_path, capsys) -> None:
    edited = made.beside(tmp_path / "another", name)
    before = contents(tmp_path)
    ended = run(capsys, edited, "-o", tmp_path / "again")
    assert ended.code == 2
    assert ended.message.startswith(f"error: {edited.with_name(name)}: missing input of {edited}; put it there or")
    assert contents(tmp_path) == before
    altered = (made.home / name).read_bytes() + b"\0"
    edited.with_name(name).write_bytes(altered)
    ended = run(capsys, edited, "-o", tmp_path / "again")
    assert ended.code == 2
    assert ended.message.startswith(f"error: {edited.with_name(name)}: not the file {edited} was made with (sha256 ")
    assert contents(tmp_path).keys() == {*before, f"another/{name}"}


@each("clip mask")
def test_inputs_can_be_named_elsewhere(made, tmp_path, capsys, monkeypatch) -> None:
    edited = made.beside(tmp_path / "another", *made.inputs)
    shutil.copy(made.home / "photo.png", tmp_path / "renamed.png")
    monkeypatch.chdir(tmp_path)
    where = ["--photo", "renamed.png", "--clip", made.home / "clip.mp4"]
    masks = ["--subject", made.home / "mask.png", "--clip-subject", made.home / "auto_mask.png"]
    assert run(capsys, edited, *where, *masks, "-o", "again").code == 0
    assert (tmp_path / "again" / "flow.npz").read_bytes() == (made.out / "flow.npz").read_bytes()
    again = tmp_path / "again" / "edited.png"
    assert torch.equal(read_photo(again).image, read_photo(made.out / "edited.png").image)
    renamed = recipe_in(edited).replace('photo = "photo.png"', 'photo = "renamed.png"')
    assert recipe_in(again) == renamed  # all that differs
    ended = run(capsys, edited, "--photo", made.home / "mask.png", "-o", tmp_path / "third")
    assert "mask.png: not the file" in ended.message


@each("found")
def test_any_value_can_be_set_anew(made, tmp_path, capsys) -> None:
    edited = made.beside(tmp_path / "another")
    changes = ["--set", "translate=-6,0", "--set", "seed=8", "--set", "pin=[]"]
    assert run(capsys, edited, *changes, "-o", tmp_path / "again").code == 0
    before, after = (read_stored(str(folder / "edited.png")).values for folder in (made.out, tmp_path / "again"))
    assert after == before | {"translate": "-6,0", "seed": 8, "pin": []}
    assert (tmp_path / "again" / "flow.npz").read_bytes() != (made.out / "flow.npz").read_bytes()
    ended = run(capsys, edited, "--set", "sampler.stepz=4", "-o", tmp_path / "third")
    assert (ended.code, "sampler.stepz 4" in ended.message) == (2, True)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory) -> Path:
    """A folder with a picture of two discs, the one on the right smaller."""
    folder = tmp_path_factory.mktemp("two")
    image = disc_photo()
    y, x = torch.meshgrid(torch.arange(160), torch.arange(320), indexing="ij")
    wide = torch.cat([image, image[:, :, :1].expand(-1, -1, 160)], dim=2)
    small = ((x - 240) ** 2 + (y - 80) ** 2 < 24**2).float()
    save_picture(folder / "photo.png", wide * (1 - small) + small * torch.tensor([0.9, 0.1, 0.2]).view(3, 1, 1))
    return folder


def test_a_number_is_the_same_object_when_it_is_run_again(of_two, tmp_path, capsys) -> None:
    words = "edit photo.png --subject 2 --translate 8,0 --preset draft"
    assert make(words, of_two, tmp_path / "out", capsys).code == 0
    edited = tmp_path / "out" / "edited.png"
    table = tomllib.loads(recipe_in(edited))
    assert re.fullmatch(r"salient@\d+,\d+", table["subject"])
    assert re.fullmatch("[0-9a-f]{64}", table["inputs"]["subject_mask"])
    ended = run(capsys, edited, "--photo", of_two / "photo.png", "-o", tmp_path / "again")
    assert (ended.code, ended.err) == (0, "")
    assert_same(tmp_path / "out", tmp_path / "again")


@each("found")
def test_another_subject_than_it_was_made_with_is_said(made, tmp_path, capsys) -> None:
    edited = made.beside(tmp_path / "another")
    wanted = tomllib.loads(recipe_in(edited))["inputs"]["subject_mask"]
    (edited.parent / "recipe.toml").write_text(recipe_in(edited).replace(wanted, "0" * 64), encoding="utf-8")
    ended = run(capsys, edited.parent, "-o", tmp_path / "again")
    assert ended.code == 0
    assert ended.message.startswith("warning: --subject: not the mask that the result was made with is found; see")
    moved = run(capsys, edited.parent, "--subject", "70,80", "-o", tmp_path / "third")
    assert (moved.code, moved.err) == (0, "")


def test_no_metadata_says_nothing_of_how(home, tmp_path, capsys) -> None:
    words = "edit photo.png --subject mask.png --translate 9,0 --preset draft --prompt secretly --no-metadata"
    assert make(words, home, tmp_path / "out", capsys).code == 0
    for name, content in contents(tmp_path / "out").items():
        assert not any(word in content for word in (b"mask.png", b"photo.png", b"secretly", b"9,0")), name
    assert "recipe" not in json.loads((tmp_path / "out" / "run.json").read_text())
    for name in ("edited.png", "preview.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert not picture.info
    ended = run(capsys, tmp_path / "out" / "edited.png", "-o", tmp_path / "again")
    assert "edited.png: carries no recipe; give a result that mtransfer made without --no-metadata" in ended.message


def strings(value: Any) -> list[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] if isinstance(value, str) else [text for item in inner for text in strings(item)]


@each(*JOBS)
def test_a_stored_recipe_leaves_nothing_open(made) -> None:
    table = tomllib.loads(recipe_in(made.out / "edited.png"))
    recorded = json.loads((made.out / "run.json").read_text())["recipe"]
    for values in (table, recorded):
        assert "auto" not in strings(values)
        assert (values["model"], values["dtype"]) == ("embedded", "float32")
        assert values["sampler"].keys() == tomllib.loads(preset("draft"))["sampler"].keys()
    assert table["inputs"].keys() == {"subject_mask", *(key for key in table if table[key] in made.inputs)}
    assert not any("/" in text for text in strings(table))


def preset(name: str) -> str:
    return (pipelines_folder() / "presets" / f"{name}.toml").read_text()


def test_a_transfer_says_which_frames_it_took(home, tmp_path, capsys) -> None:
    words = "transfer clip.mp4 photo.png --pair 0.1s:0.4s --preset draft --flow-model dis"
    assert make(words, home, tmp_path / "out", capsys).code == 0
    values = read_stored(str(tmp_path / "out" / "edited.png")).values
    assert (values["pair"], values["clip_subject"], values["subject"]) == ("1:4", "moving", "salient")


@each("found")
def test_a_hub_id_in_a_recipe_is_never_fetched(made, tmp_path, capsys, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(socket.socket, "connect", lambda *address: asked.append(address))
    edited = made.beside(tmp_path / "another")
    recipe = recipe_in(edited).replace('\nmodel = "embedded"', '\nmodel = "someone/something"')
    (edited.parent / "recipe.toml").write_text(recipe.replace("steps = 0", "steps = 4"), encoding="utf-8")
    before = contents(tmp_path)
    ended = run(capsys, edited.parent, "-o", tmp_path / "again")
    assert ended.code == 1
    assert ended.message == (
        "error: --model someone/something: not on this disk; "
        "fetch it with `mtransfer models download someone/something`, or name a folder"
    )
    assert (asked, contents(tmp_path)) == ([], before)


@each("found")
def test_other_versions_are_said(made, tmp_path, capsys) -> None:
    edited = made.beside(tmp_path / "another")
    recipe = recipe_in(edited).replace('mtransfer = "0.1.0"', 'mtransfer = "0.0.7"')
    (edited.parent / "recipe.toml").write_text(recipe, encoding="utf-8")
    ended = run(capsys, edited.parent, "-o", tmp_path / "again")
    assert ended.code == 0
    assert ended.message == "warning: made with mtransfer 0.0.7 (here 0.1.0): the same bytes are not certain"


def test_a_name_with_line_breaks_is_told_in_one_line(home, tmp_path, capsys) -> None:
    photo = tmp_path / "a\nb\x1b[2J.png"
    shutil.copy(home / "photo.png", photo)
    words = ["edit", photo, "--translate", "8,0", "--preset", "draft", "-o", tmp_path / "out", "--quiet"]
    assert command(capsys, *words).code == 0
    ended = run(capsys, tmp_path / "out" / "edited.png", "-o", tmp_path / "again")
    assert ended.code == 2
    assert r"a\nb\x1b[2J.png: missing input" in ended.message
    assert run(capsys, tmp_path / "out" / "edited.png", "--photo", photo, "-o", tmp_path / "again").code == 0
    assert_same(tmp_path / "out", tmp_path / "again")
