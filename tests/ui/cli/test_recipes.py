"""`mtransfer recipes`: what there is, what it says, and a copy to change."""

import json
import tomllib
from pathlib import Path

import pytest
from command_line import command, contents
from pictures import disc_photo, save_clip, save_picture

from mtransfer.jobs.recipe_file import read_stored
from mtransfer.sampling.settings import load_preset, pipelines_folder
from mtransfer.ui.cli.settings_reference import PRESETS, settings_reference

JOBS = ["clip_to_photo", "folder_batch", "short_animation"]
NAMES = [*JOBS, *(f"presets/{name}" for name in sorted(PRESETS))]


def files() -> dict[str, Path]:
    folder = pipelines_folder()
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.toml"))}


def test_every_file_is_listed_with_what_it_is_for(capsys) -> None:
    ended = command(capsys, "recipes", "list")
    assert (ended.code, ended.err) == (0, "")
    lines = dict(line.split(": ", 1) for line in ended.out.splitlines())
    assert set(NAMES) <= lines.keys() == files().keys()
    assert lines["presets/draft"] == "The warp alone with the vacated region filled: for previews."
    assert all(len(words) > 20 and not words.startswith("#") for words in lines.values())
    assert json.loads(command(capsys, "recipes", "list", "--json").out) == lines


@pytest.mark.parametrize("name", [*NAMES, "fast"])
def test_a_recipe_is_shown_as_it_is(name, capsys) -> None:
    path = files().get(name) or files()[f"presets/{name}"]
    assert command(capsys, "recipes", "show", name).out == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*NAMES, "paper"])
def test_a_copy_is_a_recipe(name, tmp_path, capsys) -> None:
    path = tmp_path / "mine.toml"
    ended = command(capsys, "recipes", "copy", name, path)
    assert (ended.code, ended.out) == (0, f"{path}\n")
    stored = read_stored(str(path))
    assert stored.command == ("animate" if name == "short_animation" else "transfer")
    if name not in JOBS:
        assert stored.values == {"sampler": load_preset(name.removeprefix("presets/"))}


def test_a_copy_runs_with_what_was_changed(tmp_path, capsys) -> None:
    photo, clip = save_picture(tmp_path / "photo.png", disc_photo()), save_clip(tmp_path / "clip.mp4")
    mine = tmp_path / "mine.toml"
    command(capsys, "recipes", "copy", "draft", mine)
    mine.write_text(
        mine.read_text().replace("[sampler]", 'strength = 0.5\npair = "0:3"\nflow_model = "dis"\n[sampler]')
    )
    words = ["run", mine, "--photo", photo, "--clip", clip, "-o", tmp_path / "out", "--quiet"]
    assert command(capsys, *words).code == 0
    values = read_stored(str(tmp_path / "out" / "edited.png")).values
    assert (values["strength"], values["sampler"]) == (0.5, load_preset("draft"))


def test_a_copy_replaces_nothing_unasked(tmp_path, capsys) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("mine")
    ended = command(capsys, "recipes", "copy", "fast", path)
    assert (ended.code, path.read_text()) == (2, "mine")
    assert ended.message == f"error: {path}: is already there; add --overwrite or choose another name"
    assert command(capsys, "recipes", "copy", "fast", path, "--overwrite").code == 0
    assert tomllib.loads(path.read_text())["sampler"] == load_preset("fast")
    assert contents(tmp_path).keys() == {"mine.toml"}


def test_the_reference_is_printed(capsys) -> None:
    assert command(capsys, "recipes", "settings").out == settings_reference()
