"""Recipes that are none: refused in one line, whatever they hold."""

import tempfile
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from stored_recipes import put, restored

from mtransfer.errors import InputError
from mtransfer.jobs.recipe import COMMANDS
from mtransfer.jobs.recipe_file import parse, read_stored

MALFORMED = {
    "": "command = None",
    "a b c": "not a recipe",
    "command = ": "not a recipe",
    'command = "edit"\ncommand = "edit"': "not a recipe",
    "x = " + "[" * 5000: "not a recipe",
    'command = "wobble"': "command = 'wobble'; a recipe's command is one of",
    "command = 3": "command = 3",
    'command = ["edit"]': "command = ['edit']",
    'command = "edit"\ninputs = 3': "[inputs] and [versions] must be tables of text",
    'command = "edit"\nversions = ["2"]': "[inputs] and [versions] must be tables of text",
    'command = "edit"\nphoto = "photo.png"\n[inputs]\nphoto = 3': "[inputs] and [versions] must be tables of text",
    'command = "edit"': "--photo: field required",
    'command = "edit"\nphoto = 3': "3: missing input",
    'command = "edit"\nphoto = ["photo.png"]': "['photo.png']: missing input",
    'command = "edit"\nphoto = "photo.png"\nsubject = 3': "--subject 3: input should be a valid string",
    'command = "edit"\nphoto = "photo.png"\nflow = false': "False: missing input",
    'command = "edit"\nphoto = "photo.png"\nseed = "many"': "--seed 'many': input should be a valid integer",
    'command = "edit"\nphoto = "photo.png"\nrotate = nan': "--rotate nan: input should be a finite number",
    'command = "edit"\nphoto = "photo.png"\npin = "1,2:3,4"': "--pin '1,2:3,4': input should be a valid tuple",
    'command = "edit"\nphoto = "photo.png"\npair = "0:4"': "--pair '0:4': extra inputs are not permitted",
    'command = "edit"\nphoto = "photo.png"\nsampler = 3': "sampler",
    'command = "edit"\nphoto = "photo.png"\n[sampler]\nsteps = 3.5': "sampler.steps 3.5",
    'command = "edit"\nphoto = "photo.png"\n[sampler]\nweight = inf': "sampler.weight inf: input should be a finite",
    'command = "edit"\nphoto = "photo.png"\n[motion]\nx = 3': "motion: there is no such table of settings",
    'command = "edit"\nphoto = "photo.png"\npreset = ["fast"]': "--preset ['fast']: unknown",
    'command = "edit"\nphoto = "photo\\u0000.png"': "missing input",
    f'command = "edit"\nphoto = "{"long" * 2000}"': "missing input",
    'command = "generate"\nphoto = "photo.png"': "--photo",
}


@pytest.mark.parametrize("place", ["toml", "png"])
@pytest.mark.parametrize(("text", "said"), MALFORMED.items(), ids=[text[:60] for text in MALFORMED])
def test_malformed_recipes_are_refused(text, said, place, home) -> None:
    with pytest.raises(InputError) as error:
        restored(read_stored(str(put(text or "\n", place, home))))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


VALUES = st.recursive(
    st.none().map(lambda nothing: "")
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.sampled_from(["photo.png", "embedded", "draft", "..", "/", "all", "1,2"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["photo", "subject", "clip", "clip_subject", "sampler", "preset", "seed", "pin", "inputs", "noise"]
)


@given(
    table=st.dictionaries(KEYS, VALUES, max_size=5), command=st.sampled_from([*COMMANDS, 3]), names_only=st.booleans()
)
def test_whatever_a_table_holds_it_is_a_recipe_or_refused(table, command, names_only) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edited.png"
        (Path(folder) / "photo.png").write_bytes(b"photo")
        text = tomli_w.dumps({"command": command, **table})
        try:
            recipe = restored(parse(text.encode(), path, names_only=names_only))
        except InputError:
            return
        assert isinstance(recipe, Recipe)


@given(content=st.binary(max_size=200))
def test_bytes_that_are_no_recipe_are_refused(content) -> None:
    with pytest.raises(InputError, match=r"^recipe\.toml: "):
        parse(content, Path("recipe.toml"))
