"""Recipes at rest: what is written comes back, from every place, and what may come from anyone can do no harm."""

import hashlib
import os
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from stored_recipes import PLACES, put, restored

from mtransfer.errors import InputError
from mtransfer.jobs.recipe import (
    COMMANDS,
    AnimateEditRecipe,
    AnimateRecipe,
    EditRecipe,
    GenerateRecipe,
    Recipe,
    TransferRecipe,
)
from mtransfer.jobs.recipe_file import (
    find_inputs,
    input_files,
    parse,
    read_stored,
    wanted_mask,
    write_stored,
)
from mtransfer.media.photo.photo import save_png
from mtransfer.media.video_writer import write_video

VERSIONS = {"mtransfer": "0.1.0", "torch": "2.11.0"}
# A name of a file: anything but a slash, a NUL and the two folders every folder holds.
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..")
)


def recipes(home: Path) -> dict[str, Recipe]:
    """One of each command, with every input and no value as it is by default."""
    common = {"preset": "draft", "model": "embedded", "device": "cpu", "dtype": "float32", "seed": 7}
    common |= {
        "prompt": 'a "red" kite\n\\ 漢',
        "negative_prompt": "\tblur",
        "sampler": {"steps": 9, "window": (0.1, 0.5), "start": "own"},
    }
    photo = {"photo": home / "photo.png", "subject": str(home / "mask.png"), "noise": home / "noise.safetensors"}
    photo |= {"strength": 1 / 3, "flow_model": "dis", "shadow": "keep"}
    clip = {"clip": home / "clip.mp4", "clip_subject": str(home / "clip_mask.png"), "camera": "keep"}
    clip |= {"strength_mask": home / "grey.png", "clip_subject_at": "0.5s"}
    edit = {"flow": home / "flow.npz", "rotate": -0.1, "scale": 1e-7, "stretch": "1,2", "pin": ("1,2:3,4", "5,6:7,8")}
    return {
        "transfer": TransferRecipe.build(common | photo | clip | {"pair": "0:4", "align": "none"}, []),
        "animate": AnimateRecipe.build(
            common
            | photo
            | clip
            | {"frames": "0:9:2", "reference": "3", "fps": 7.5, "loop": "pingpong", "format": "gif"},
            [],
        ),
        "edit": EditRecipe.build(common | photo | edit | {"translate": "3,-4"}, []),
        "animate-edit": AnimateEditRecipe.build(
            common
            | photo
            | edit
            | {
                "frames": 9,
                "ease": "linear",
                "fps": 7.5,
                "loop": "pingpong",
                "format": "gif",
                "via": ("1,2", "3,4,5,6"),
            },
            [],
        ),
        "generate": GenerateRecipe.build(common | {"size": "256x128"}, []),
    }


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_stored_comes_back(command, place, home, tmp_path, monkeypatch) -> None:
    recipe = recipes(home)[command]
    target = put(write_stored(recipe, VERSIONS), place, home)
    monkeypatch.chdir(tmp_path)  # inputs are beside the recipe, not here
    stored = read_stored(str(target))
    assert (stored.command, stored.versions, stored.home) == (command, VERSIONS, home)
    assert restored(stored) == recipe


@pytest.mark.parametrize("command", COMMANDS)
def test_only_names_and_hashes_of_inputs_are_stored(command, home) -> None:
    recipe = recipes(home)[command]
    text = write_stored(recipe, VERSIONS)
    assert str(home) not in text
    table = tomllib.loads(text)
    inputs = input_files(recipe.model_dump())
    assert table["inputs"].keys() == inputs.keys()
    for key, path in inputs.items():
        assert table[key] == path.name
        assert table["inputs"][key] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("subject", ["auto", "salient", "all", "10,20", "1,2,30,40", "-1.5,2e3"])
def test_words_and_numbers_are_no_input(subject, home) -> None:
    recipe = EditRecipe.build({"photo": home / "photo.png", "subject": subject}, [])
    table = tomllib.loads(write_stored(recipe, {}))
    assert table["subject"] == subject
    assert table["inputs"].keys() == {"photo"}


def test_of_several_masks_each_has_its_name_and_hash(home) -> None:
    subject = f"{home}/mask.png;10,20;{home}/clip_mask.png"
    recipe = EditRecipe.build({"photo": home / "photo.png", "subject": subject}, [])
    text = write_stored(recipe, {})
    table = tomllib.loads(text)
    assert table["subject"] == "mask.png;10,20;clip_mask.png"
    assert table["inputs"].keys() == {"photo", "subject.1", "subject.3"}
    assert table["inputs"]["subject.3"] == hashlib.sha256((home / "clip_mask.png").read_bytes()).hexdigest()
    stored = read_stored(str(put(text, "png", home)))
    assert restored(stored) == recipe
    (home / "clip_mask.png").write_bytes(b"another")
    with pytest.raises(InputError, match=r"clip_mask\.png: not the file .*; name the right one with --subject"):
        restored(stored)
    (home / "other.png").write_bytes(b"content of clip_mask.png")
    moved = f"{home}/mask.png;10,20;{home}/other.png"
    assert restored(stored, subject=moved).subject == moved


def test_of_several_masks_in_a_picture_none_leads_elsewhere(home, tmp_path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    table = {"command": "edit", "photo": "photo.png", "subject": "mask.png;../secret"}
    stored = read_stored(str(put(tomli_w.dumps(table), "png", home)))
    with pytest.raises(InputError, match="secret: missing input"):
        restored(stored)


def test_the_label_behind_a_mask_file_stays_with_it(home) -> None:
    for subject in (f"{home}/mask.png#2", f"10,20;{home}/mask.png#ff0000"):
        recipe = EditRecipe.build({"photo": home / "photo.png", "subject": subject}, [])
        table = tomllib.loads(write_stored(recipe, {}))
        assert table["subject"] == subject.replace(f"{home}/", "")
        assert hashlib.sha256((home / "mask.png").read_bytes()).hexdigest() in table["inputs"].values()
        stored = parse(write_stored(recipe, {}).encode(), home / "recipe.toml")
        assert find_inputs(stored, {})["subject"] == subject


@pytest.mark.parametrize("name", ["photo.png", "clip.mp4", "mask.png", "clip_mask.png", "noise.safetensors"])
@pytest.mark.parametrize("place", ["png", "mp4", "toml"])
def test_an_input_that_is_missing_or_altered_is_named(name, place, home) -> None:
    stored = read_stored(str(put(write_stored(recipes(home)["transfer"], {}), place, home)))
    with (home / name).open("ab") as file:
        file.write(b".")
    with pytest.raises(InputError, match=f"{name}: not the file .* was made with .sha256"):
        restored(stored)
    (home / name).unlink()
    with pytest.raises(InputError, match=f"{name}: missing input of .*; put it there or name it with --"):
        restored(stored)


def test_an_input_can_be_named_elsewhere_but_not_be_another(home, tmp_path, monkeypatch) -> None:
    stored = read_stored(str(put(write_stored(recipes(home)["edit"], {}), "png", home)))
    (home / "photo.png").rename(tmp_path / "moved.png")
    monkeypatch.chdir(tmp_path)
    assert restored(stored, photo="moved.png").photo == Path("moved.png")
    (tmp_path / "other.png").write_bytes(b"another")
    with pytest.raises(InputError, match=r"other\.png: not the file .*name the right one with --photo"):
        restored(stored, photo="other.png")
    assert restored(stored, photo="moved.png", subject="all").subject == "all"


def test_a_recipe_without_hashes_takes_any_file(home) -> None:
    (home / "mine.toml").write_text('command = "edit"\nphoto = "photo.png"\ntranslate = "5,0"\n')
    recipe = restored(read_stored(str(home / "mine.toml")))
    assert recipe == EditRecipe.build({"photo": home / "photo.png", "translate": "5,0"}, [])


def test_a_recipe_of_ones_own_may_name_folders(home, tmp_path) -> None:
    (tmp_path / "mine.toml").write_text(f'command = "edit"\nphoto = "home/photo.png"\nsubject = "{home}/mask.png"\n')
    recipe = restored(read_stored(str(tmp_path / "mine.toml")))
    assert (recipe.photo, recipe.subject) == (home / "photo.png", f"{home}/mask.png")


@pytest.mark.parametrize("place", ["png", "mp4"])
@pytest.mark.parametrize("key", ["photo", "subject", "noise", "flow"])
@pytest.mark.parametrize("reached", ["/etc/passwd", "../secret", "../../secret", "sub/../../secret", "~/secret"])
def test_a_results_names_lead_nowhere_else(reached, key, place, home, tmp_path, monkeypatch) -> None:
    """A picture may come from anyone: only files beside it are read."""
    (tmp_path / "secret").write_bytes(b"secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    table = {"command": "edit", "photo": "photo.png", key: reached}
    stored = read_stored(str(put(tomli_w.dumps(table), place, home)))
    with pytest.raises(InputError) as error:
        find_inputs(stored, {})
    beside = home / Path(reached).name
    assert str(error.value).startswith(f"{beside}: missing input of ")
    beside.write_bytes(b"mine")
    assert find_inputs(stored, {})[key] == str(beside)


@pytest.mark.parametrize("name", ["..", ".", "/", "//", "a/..", "../", "/."])
@pytest.mark.parametrize("key", ["photo", "subject"])
def test_names_of_folders_are_refused(key, name, home) -> None:
    table = {"command": "edit", "photo": "photo.png", key: name}
    stored = read_stored(str(put(tomli_w.dumps(table), "png", home)))
    with pytest.raises(InputError, match="missing input"):
        restored(stored)


@given(name=NAMES, mask=NAMES.filter(lambda name: ";" not in name))  # which parts several
def test_any_name_comes_back(name, mask) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / name).write_bytes(b"photo")
        if not (home / mask).exists():
            (home / mask).write_bytes(b"mask")
        recipe = EditRecipe.build({"photo": home / name, "subject": str(home / mask)}, [])
        stored = parse(write_stored(recipe, {}).encode(), home / "edited.png", names_only=True)
        assert restored(stored) == recipe


@pytest.mark.parametrize("name", ["2", "10,20", "all", "salient@1,2"])
@pytest.mark.parametrize("several", ["", ";10,20"])
def test_a_mask_called_like_a_word_or_numbers_stays_a_mask(name, several, home, monkeypatch) -> None:
    (home / name).write_bytes(b"mask")
    monkeypatch.chdir(home)
    recipe = EditRecipe.build({"photo": "photo.png", "subject": f"./{name}{several}"}, [])
    text = write_stored(recipe, {})
    assert tomllib.loads(text)["subject"] == recipe.subject
    assert restored(parse(text.encode(), Path("edited.png"), names_only=True)) == recipe


def test_the_hash_of_the_subjects_mask_is_kept_and_is_no_file(home) -> None:
    given = {"photo": home / "photo.png", "subject": "salient@10,20"}
    text = write_stored(EditRecipe.build(given, []), {}, "abc")
    assert tomllib.loads(text)["inputs"].keys() == {"photo", "subject_mask"}
    stored = read_stored(str(put(text, "png", home)))
    assert wanted_mask(stored, restored(stored)) == "abc"
    assert wanted_mask(stored, restored(stored, subject="10,20")) is None
    assert wanted_mask(stored, restored(stored).model_copy(update={"segmenter": "grabcut"})) is None
    without = read_stored(str(put(write_stored(EditRecipe.build(given, []), {}), "png", home)))
    assert wanted_mask(without, restored(without)) is None


def test_a_name_that_is_no_text_does_not_stop_a_job(home) -> None:
    photo = home / os.fsdecode(b"\xff.png")
    photo.write_bytes(b"photo")
    stored = read_stored(str(put(write_stored(EditRecipe.build({"photo": photo}, []), {}), "png", home)))
    with pytest.raises(InputError, match=r"\?\.png: missing input"):
        restored(stored)
    assert restored(stored, photo=str(photo)).photo == photo


@given(prompt=st.text(), strength=st.floats(-1000, 1000), seed=st.integers(0, 2**63 - 1))
def test_any_value_comes_back(prompt, strength, seed) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        photo.write_bytes(b"photo")
        recipe = EditRecipe.build({"photo": photo, "prompt": prompt, "strength": strength, "seed": seed}, [])
        save_png(torch.zeros(3, 2, 2), photo.with_name("edited.png"), recipe=write_stored(recipe, {}))
        assert restored(read_stored(str(photo.with_name("edited.png")))) == recipe


def test_a_named_recipe_comes_with_the_package(home, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    stored = read_stored("clip_to_photo")
    assert (stored.command, stored.hashes) == ("transfer", {})
    found = restored(stored, clip=str(home / "clip.mp4"), photo=str(home / "photo.png"))
    assert found == TransferRecipe.build({"clip": home / "clip.mp4", "photo": home / "photo.png"}, [])


def test_a_folder_of_results_is_the_recipe_of_its_picture(tmp_path) -> None:
    recipe = GenerateRecipe.build({}, [])
    save_png(torch.zeros(3, 2, 2), tmp_path / "generated.png", recipe=write_stored(recipe, {}))
    assert read_stored(str(tmp_path)) == read_stored(str(tmp_path / "generated.png"))


def test_what_lies_here_comes_before_what_comes_with_the_package(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip_to_photo").mkdir()
    with pytest.raises(InputError, match=r"^clip_to_photo/recipe\.toml: no such recipe"):
        read_stored("clip_to_photo")


@pytest.mark.parametrize("target", ["absent", "absent.toml", "presets/fast", "../clip_to_photo", "x" * 5000, ""])
def test_a_recipe_that_is_not_there_is_refused(target, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no such recipe; name a \.toml file, a folder that holds recipe\.toml"):
        read_stored(target)


def _bare_png(path: Path) -> None:
    Image.new("RGB", (4, 4)).save(path)


def _late_png(path: Path) -> None:
    """Its text stands after the pixels, as some editors leave it."""
    text = PngInfo()
    text.add_itxt("mtransfer", 'command = "generate"', zip=True)
    _bare_png(path)
    plain = path.read_bytes()
    Image.new("RGB", (4, 4)).save(path, pnginfo=text)
    full = path.read_bytes()
    head, pixels, end = plain[:33], plain[33:-12], plain[-12:]
    path.write_bytes(head + pixels + full[33 : len(full) - len(pixels) - 12] + end)


def test_text_after_the_pixels_is_found(tmp_path) -> None:
    _late_png(tmp_path / "late.png")
    assert read_stored(str(tmp_path / "late.png")).command == "generate"


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[dict[str, Path]]:
    names = ("photo.png", "text.png", "cut.png", "clip.mp4", "text.mp4", "photo.jpg")
    paths = {name: tmp_path / name for name in names}
    _bare_png(paths["photo.png"])
    _late_png(paths["cut.png"])
    paths["cut.png"].write_bytes(paths["cut.png"].read_bytes()[:45])
    for name in ("text.png", "text.mp4"):
        paths[name].write_bytes(b"no picture")
    write_video(torch.zeros(2, 3, 16, 16), paths["clip.mp4"], 12)
    Image.new("RGB", (4, 4)).save(paths["photo.jpg"])
    return paths


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("photo.png", "carries no recipe; give a result that mtransfer made without --no-metadata"),
        ("clip.mp4", "carries no recipe"),
        ("text.png", "cannot be read as a picture"),
        ("cut.png", "cannot be read as a picture"),
        ("text.mp4", "cannot be read as a video"),
        ("photo.jpg", "not a recipe"),
    ],
)
def test_files_without_a_recipe_are_refused(name, said, bare) -> None:
    with pytest.raises(InputError, match=said):
        read_stored(str(bare[name]))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_recipe_that_may_not_be_read_is_refused(tmp_path) -> None:
    path = tmp_path / "recipe.toml"
    path.touch(mode=0)
    with pytest.raises(InputError, match="cannot be read"):
        read_stored(str(path))
