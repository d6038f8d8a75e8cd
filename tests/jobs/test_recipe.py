import tomllib
from pathlib import Path

import pytest

from mtransfer.errors import InputError
from mtransfer.jobs.recipe import AnimateRecipe, EditRecipe, GenerateRecipe, Recipe, TransferRecipe
from mtransfer.motion.stretch import MOST_STRETCH
from mtransfer.sampling.settings import SamplerSettings, load_preset, pipelines_folder

PRESETS = sorted((pipelines_folder() / "presets").glob("*.toml"))


def build(*overrides: str, **given) -> EditRecipe:
    return EditRecipe.build({"photo": Path("a.png"), **given}, list(overrides))


def test_all_presets_are_there() -> None:
    assert {path.stem for path in PRESETS} == {"paper", "best", "fast", "draft", "sdedit", "repaint"}


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_holds_every_setting_and_nothing_else(path: Path) -> None:
    table = tomllib.loads(path.read_text())
    assert list(table) == ["sampler"]
    assert set(table["sampler"]) == set(SamplerSettings.model_fields)
    assert build(preset=path.stem).sampler == SamplerSettings(**table["sampler"])


def test_no_setting_of_a_preset_has_a_default_in_code() -> None:
    assert all(info.is_required() for info in SamplerSettings.model_fields.values())


def test_the_paper_is_as_published() -> None:
    paper = load_preset("paper")
    published = {"steps": 500, "recursions": 10, "weight": 300, "clip": 200, "guidance_scale": 7.5}
    assert {key: paper[key] for key in published} == published
    assert (paper["w_flow"], paper["w_color"], paper["through_denoiser"]) == (3, 100, True)


def test_named_values_beat_overrides_beat_the_preset_beats_defaults() -> None:
    assert build().preset == "fast"
    assert build().sampler.steps == load_preset("fast")["steps"]
    assert build(preset="paper").sampler.steps == 500
    assert build("preset=paper").sampler.steps == 500
    assert build("preset=paper", preset="draft").sampler.steps == 0
    assert build("sampler.steps=7", preset="paper").sampler.steps == 7
    assert build("sampler.steps=7", preset="paper").sampler.recursions == 10
    assert build("seed=3").seed == 3
    assert build("seed=3", seed=4).seed == 4


def test_the_embedded_net_has_settings_of_its_own_until_they_or_guidance_are_asked_for() -> None:
    own = build().sampler
    assert (own.weight, own.for_embedded().weight) == (0.15, 0)
    assert own.for_embedded().steps == own.embedded.steps < own.steps == own.for_any_model().steps
    fewer = build("sampler.steps=6").sampler.for_embedded()
    assert (fewer.steps, fewer.weight) == (6, 0)
    for setting in ("weight=0.15", "w_flow=3.0", "flow_updates=5"):
        guided = build(f"sampler.{setting}").sampler
        assert guided.for_embedded() == guided.for_any_model()
        assert guided.for_embedded().weight == 0.15
    assert build("sampler.embedded.steps=3").sampler.for_embedded().steps == 3
    assert build("sampler.embedded.steps=3").sampler.for_embedded().weight == 0
    with pytest.raises(InputError, match=r"sampler\.embedded 3"):
        build("sampler.embedded=3")


def test_a_stored_recipe_of_before_is_guided_as_it_was() -> None:
    before = {key: value for key, value in load_preset("fast").items() if key != "embedded"}
    assert (
        EditRecipe.build({"photo": "a.png"}, [], {"sampler": before}).sampler.for_embedded().weight == before["weight"]
    )


def test_a_preset_that_is_named_takes_the_place_of_a_stored_one() -> None:
    stored = build("sampler.steps=7").model_dump(mode="json")
    assert EditRecipe.build({}, [], stored).sampler.steps == 7
    drafted = EditRecipe.build({}, ["preset=draft"], stored)
    assert drafted == EditRecipe.build({"preset": "draft"}, [], stored)
    assert (drafted.preset, drafted.sampler) == ("draft", SamplerSettings.from_preset("draft"))
    assert EditRecipe.build({"sampler": {"recursions": 2}}, ["preset=paper"], stored).sampler.recursions == 2


def test_a_fast_clips_rate_can_be_stored_and_read_again() -> None:
    given = {"clip": "a.mp4", "photo": "a.png", "fps": 240.0}
    assert AnimateRecipe.build({}, [], AnimateRecipe.build(given, []).model_dump(mode="json")).fps == 240


def test_overrides_read_toml_values_and_plain_words() -> None:
    recipe = build("sampler.window=[0.1, 0.5]", "prompt=a red kite", "strength = 2", 'subject="10,20"')
    assert recipe.sampler.window == (0.1, 0.5)
    assert (recipe.prompt, recipe.strength, recipe.subject) == ("a red kite", 2, "10,20")
    assert build("prompt=a=b").prompt == "a=b"
    assert build("seed=1", "seed=2").seed == 2


@pytest.mark.parametrize(
    ("overrides", "given", "words"),
    [
        (["colour=red"], {}, ["--colour 'red'", "not permitted"]),
        (["sampler.colour=1"], {}, ["sampler.colour 1", "not permitted"]),
        (["sampler.steps=many"], {}, ["sampler.steps 'many'", "integer"]),
        (["sampler.steps=-1"], {}, ["sampler.steps -1", "greater than or equal to 0"]),
        (["sampler.window=[0.1, 7]"], {}, ["sampler.window.1 7", "less than or equal to 1"]),
        (["sampler=3"], {}, ["--set sampler=3", "sampler.steps=20"]),
        (["seed=1", "seed.low=2"], {}, ["--set seed.low=2"]),
        (["seed"], {}, ["--set seed", "name=value"]),
        (["=3"], {}, ["--set =3", "name=value"]),
        ([], {"seed": -1}, ["--seed -1"]),
        ([], {"seed": 2**63}, ["--seed 9223372036854775808"]),
        ([], {"scale": 0.0}, ["--scale 0.0", "greater than 0"]),
        ([], {"scale": float("nan")}, ["--scale nan", "finite"]),
        ([], {"strength": float("inf")}, ["--strength inf", "finite"]),
        ([], {"device": "tpu"}, ["--device 'tpu'", "'cpu'"]),
        ([], {"flow_model": "flownet"}, ["--flow-model 'flownet'", "'raft_large'"]),
        ([], {"preset": "slow"}, ["--preset slow", "best, draft, fast, paper, repaint, sdedit"]),
        (["prompt={a = 1}"], {}, ["--prompt {'a': 1}", "string"]),
        (["sampler.steps=1001"], {}, ["sampler.steps 1001", "less than or equal to 1000"]),
        (["sampler.window=[0.9, 0.2]"], {}, ["sampler.window [0.9, 0.2]", "smaller share first"]),
        (["sampler.window=[0.9, 0.2]", "sampler.weight=0"], {}, ["sampler.window [0.9, 0.2]"]),
        (["sampler.window=[0.5, 0.5]"], {}, ["sampler.window [0.5, 0.5]", "none of the 21 steps", "sampler.weight=0"]),
        (["sampler.window=[0.48, 0.49]", "sampler.steps=40"], {}, ["[0.48, 0.49]", "none of the 10 steps"]),
        (["sampler.guidance_side_px=31"], {}, ["sampler.guidance_side_px 31", "32 or more"]),
        (["noise=n.safetensors"], {}, ["--noise n.safetensors", "sampler.start=warp", "sampler.start=own"]),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(overrides, given, words) -> None:
    with pytest.raises(InputError) as error:
        build(*overrides, **given)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (AnimateRecipe, {"fps": 0.001}, ["--fps 0.001", "0.01 to 1000"]),
        (AnimateRecipe, {"fps": 1001.0}, ["--fps 1001.0", "less than or equal to 1000"]),
        (AnimateRecipe, {"fps": 1e300}, ["--fps 1e+300"]),
        (TransferRecipe, {"align": "none", "mirror": True}, ["--mirror", "--align none"]),
        (AnimateRecipe, {"align": "none", "turn": True}, ["--turn", "--align none"]),
        (GenerateRecipe, {"preset": "draft"}, ["--preset draft", "sampler.steps", "--preset paper"]),
    ],
)
def test_what_would_do_nothing_or_cannot_be_done_is_refused(kind, given, words) -> None:
    inputs = {} if kind is GenerateRecipe else {"clip": "a.mp4", "photo": "a.png"}
    with pytest.raises(InputError) as error:
        kind.build(inputs | given, [])
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


def test_what_does_something_is_taken() -> None:
    assert build("sampler.window=[0.5, 0.5]", "sampler.weight=0").sampler.weight == 0
    assert build("sampler.window=[0.5, 0.5]", preset="draft").sampler.steps == 0
    assert build("noise=n.safetensors", "sampler.start=own").noise == Path("n.safetensors")
    assert AnimateRecipe.build({"clip": "a.mp4", "photo": "a.png", "fps": 0.01}, []).fps == 0.01
    assert GenerateRecipe.build({"preset": "draft"}, ["sampler.steps=4"]).sampler.steps == 4


def test_a_missing_input_is_named_without_the_rest() -> None:
    with pytest.raises(InputError) as error:
        TransferRecipe.build({"photo": Path("a.png")}, [])
    assert str(error.value) == "--clip: field required"


def test_recipes_cannot_be_changed_and_come_back_from_their_own_record() -> None:
    recipe = build("sampler.steps=7", pin=["1,2:3,4"], translate="5,6")
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 5
    assert EditRecipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize("kind", [TransferRecipe, EditRecipe])
def test_every_field_has_words_for_the_help(kind: type[Recipe]) -> None:
    assert all(info.description for info in kind.model_fields.values())


def test_settings_of_before_are_read_by_their_names_of_then() -> None:
    stored = {"photo": "a.png", "preset": "fast", "sampler": {"rounding": 0.5, "relative": False}}
    read = EditRecipe.build({}, [], stored).sampler
    assert (read.charbonnier_eps, read.scale_by_noise_norm) == (0.5, False)
    assert EditRecipe.build({}, ["sampler.charbonnier_eps=0.1"], stored).sampler.charbonnier_eps == 0.1


@pytest.mark.parametrize("value", [0.5, -1.0, float("nan"), float("inf")])
def test_a_stretch_limit_is_a_factor(value) -> None:
    with pytest.raises(InputError, match="--max-stretch"):
        TransferRecipe.build({"clip": Path("a.mp4"), "photo": Path("b.png"), "max_stretch": value}, [])


@pytest.mark.parametrize(
    ("given", "limit"), [({}, MOST_STRETCH), ({"max_stretch": 0}, 0), ({"align": "none"}, 0), ({"subject": "all"}, 0)]
)
def test_what_is_no_one_thing_has_no_stretch_limit(given, limit) -> None:
    recipe = TransferRecipe.build({"clip": Path("a.mp4"), "photo": Path("b.png"), **given}, [])
    assert recipe.stretch_limit == limit
