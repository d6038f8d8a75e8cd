"""`mtransfer generate`, and editing what it made from its own noise: the paper's main case."""

import json
from pathlib import Path

import pytest
import torch
from command_line import Ended, command, contents
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_sd import build_tiny_sd

from mtransfer import edit
from mtransfer.jobs.recipe_file import read_stored
from mtransfer.jobs.render import TransferOutput
from mtransfer.media.photo.photo import read_photo

STEPS = 4
FEW = ["--set", f"sampler.steps={STEPS}"]
# The long side is the model's own, so that an edit works at the size of the noise.
SIZES = {"embedded": (256, 128), "tiny": (512, 128)}
SAME = ("generated.png", "noise.safetensors")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"embedded": "embedded", "tiny": str(build_tiny_sd(tmp_path_factory.mktemp("tiny_sd")))}


def generate(capsys: pytest.CaptureFixture[str], model: str, width_height: tuple[int, int], out: Path, *more) -> Ended:
    size = "x".join(map(str, width_height))
    return command(capsys, "generate", "--model", model, "--size", size, "-o", out, "--quiet", *FEW, *more)


@pytest.fixture(params=SIZES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def generated(kind, models, tmp_path, capsys) -> Path:
    """A folder with a generated picture, its noise, and a mask of something in it."""
    out = tmp_path / "out"
    assert generate(capsys, models[kind], SIZES[kind], out, "--seed", 3).code == 0
    width, height = SIZES[kind]
    mask = torch.zeros(height, width, dtype=torch.uint8)
    mask[32:96, 64:160] = 255
    Image.fromarray(mask.numpy()).save(out / "mask.png")
    return out


def edited(out: Path, model: str, **changes) -> TransferOutput:
    """An edit of the generated picture from its own noise, at 8 px to the right."""
    sampler = {"start": "own", "steps": STEPS, "recursions": 1, "flow_updates": 1} | changes.pop("sampler", {})
    given = {"photo": out / "generated.png", "noise": out / "noise.safetensors", "subject": str(out / "mask.png")}
    given |= {"preset": "paper", "model": model, "translate": "8,0", "seed": 3}
    return edit(**given | changes, sampler=sampler)


def test_a_seed_decides_every_byte(kind, generated, models, tmp_path, capsys) -> None:
    ended = generate(capsys, models[kind], SIZES[kind], tmp_path / "again", "--seed", 3, "--json")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == {
        "generated": str(tmp_path / "again" / "generated.png"),
        "noise": str(tmp_path / "again" / "noise.safetensors"),
        "seed": 3,
    }
    assert generate(capsys, models[kind], SIZES[kind], tmp_path / "other", "--seed", 4).code == 0
    first, again, other = (contents(folder) for folder in (generated, tmp_path / "again", tmp_path / "other"))
    assert sorted(again) == ["generated.png", "noise.safetensors", "run.json"]
    for name in SAME:
        assert first[name] == again[name] != other[name]
    with Image.open(generated / "generated.png") as picture:
        assert picture.size == SIZES[kind]


def test_run_makes_it_again(kind, generated, models, tmp_path, capsys) -> None:
    model = ["--model", models[kind]]
    ended = command(capsys, "run", generated / "generated.png", *model, "-o", tmp_path / "again", "--quiet")
    assert (ended.code, ended.err) == (0, "")
    for name in SAME:
        assert (tmp_path / "again" / name).read_bytes() == (generated / name).read_bytes()
    values = read_stored(str(tmp_path / "again" / "generated.png")).values
    assert (values["seed"], values["size"]) == (3, "x".join(map(str, SIZES[kind])))
    assert "auto" not in map(str, values.values())


def test_without_a_size_it_is_the_models_square(tmp_path, capsys) -> None:
    words = ["generate", "--model", "embedded", "--set", "sampler.steps=1", "-o", tmp_path / "out", "--no-metadata"]
    assert command(capsys, *words, "--quiet").code == 0
    with Image.open(tmp_path / "out" / "generated.png") as picture:
        assert (picture.size, picture.info) == ((256, 256), {})
    assert "recipe" not in json.loads((tmp_path / "out" / "run.json").read_text())


def test_the_prompt_counts_where_a_model_takes_one(models, tmp_path, capsys) -> None:
    for prompt in ("a kite", "a lion"):
        assert generate(capsys, models["tiny"], SIZES["tiny"], tmp_path / prompt, "--prompt", prompt).err == ""
    kite, lion = (contents(tmp_path / prompt) for prompt in ("a kite", "a lion"))
    assert kite["generated.png"] != lion["generated.png"]
    assert kite["noise.safetensors"] == lion["noise.safetensors"]
    ended = generate(capsys, "embedded", SIZES["embedded"], tmp_path / "out", "--prompt", "a kite")
    assert ended.message == "warning: --prompt: the model embedded takes no text, so it has no effect"


def test_an_edit_from_its_own_noise_keeps_the_rest(kind, generated, models) -> None:
    output = edited(generated, models[kind])
    photo = read_photo(generated / "generated.png").image[None]
    untouched = (output.edit == 0).expand(-1, 3, -1, -1)
    assert 0.3 < untouched.float().mean() < 1
    assert torch.equal(output.frames[untouched], photo[untouched])
    assert not torch.equal(output.frames, photo)
    assert output.metrics["guided_evaluations"] == 3  # of the preset's window
    assert output.frames.isfinite().all()


@pytest.mark.parametrize("kind", ["tiny"], indirect=True)  # a net that inpaints is shown more than it was then
def test_the_models_own_way_leads_back_to_the_picture(generated, models, kind) -> None:
    """Without guidance nothing leaves the picture's own latents."""
    output = edited(generated, models[kind], sampler={"weight": 0.0})
    photo = read_photo(generated / "generated.png").image[None]
    assert (output.frames - photo).abs().max() < 2 / 255
    guided = edited(generated, models[kind])
    assert (guided.frames - photo).abs().max() > 2 / 255


@pytest.mark.slow
def test_the_command_edits_it_and_run_repeats_that(kind, generated, models, tmp_path, capsys) -> None:
    inputs = ["--noise", generated / "noise.safetensors", "--subject", generated / "mask.png"]
    own = ["--preset", "paper", "--set", "sampler.start=own", "--set", "sampler.recursions=1"]
    where = ["--model", models[kind], "-o", tmp_path / "edited", "--quiet"]
    ended = command(capsys, "edit", generated / "generated.png", "--translate", "8,0", *inputs, *own, *FEW, *where)
    assert ended.code == 0
    warned = "warning: --preset paper: the embedded model betters a warp and is no generator"
    assert ended.err.startswith(warned) == (kind == "embedded")
    result = (tmp_path / "edited" / "edited.png").rename(generated / "edited.png")
    model = ["--model", models[kind]]
    assert command(capsys, "run", result, *model, "-o", tmp_path / "again", "--quiet").code == 0
    assert (tmp_path / "again" / "edited.png").read_bytes() == result.read_bytes()
    (generated / "noise.safetensors").unlink()
    ended = command(capsys, "run", result, *model, "-o", tmp_path / "third", "--quiet")
    assert "noise.safetensors: missing input of " in ended.message


def other_noise(out: Path, noise: torch.Tensor) -> Path:
    save_file({"noise": noise.contiguous()}, out / "other.safetensors")
    return out / "other.safetensors"


LEADS_ELSEWHERE = "the noise does not lead to this photo with these settings"
NEEDED = "start=own needs the noise the photo was generated from, of shape (1, 48, 32, 64), not "


@pytest.mark.parametrize("kind", ["embedded"], indirect=True)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("drawn anew", LEADS_ELSEWHERE),
        ("NaN", LEADS_ELSEWHERE),
        ("smaller", NEEDED + "(1, 48, 16, 64)"),
        ("none", NEEDED + "None; give the --noise file that mtransfer generate wrote"),
        ("no noise file", "mask.png: not a noise file of mtransfer generate"),
        ("no tensor of that name", "other.safetensors: not a noise file of mtransfer generate"),
    ],
)
def test_noise_that_does_not_fit_is_refused(change, said, generated, tmp_path, capsys) -> None:
    noise = load_file(generated / "noise.safetensors")["noise"]
    changed = {
        "drawn anew": lambda: other_noise(generated, torch.randn(noise.shape, generator=torch.manual_seed(9))),
        "NaN": lambda: other_noise(generated, noise * float("nan")),
        "smaller": lambda: other_noise(generated, noise[:, :, :16]),
        "none": lambda: None,
        "no noise file": lambda: generated / "mask.png",
        "no tensor of that name": lambda: (
            save_file({"z": noise}, generated / "other.safetensors") or generated / "other.safetensors"
        ),
    }[change]()
    ended = own_edit(capsys, generated, changed, tmp_path / "edited")
    assert ended.code == 2
    assert said in ended.message
    assert not (tmp_path / "edited").exists()


@pytest.mark.parametrize("kind", ["embedded"], indirect=True)
@pytest.mark.parametrize("change", ["sampler.steps=1", "sampler.start_t=300"])
def test_settings_that_do_not_lead_to_the_picture_are_refused(change, generated, tmp_path, capsys) -> None:
    ended = own_edit(capsys, generated, generated / "noise.safetensors", tmp_path / "edited", "--set", change)
    assert ended.code == 2
    assert LEADS_ELSEWHERE in ended.message
    assert "use the model, size, prompt, steps and guidance scale it was generated with" in ended.message
    assert not (tmp_path / "edited").exists()


def own_edit(capsys: pytest.CaptureFixture[str], generated: Path, noise: Path | None, out: Path, *more: str) -> Ended:
    own = ["--preset", "paper", "--set", "sampler.start=own", "--set", "sampler.recursions=1", *FEW, *more]
    inputs = ["--subject", generated / "mask.png", *([] if noise is None else ["--noise", noise])]
    words = ["edit", generated / "generated.png", "--translate", "8,0", *inputs, *own, "--model", "embedded"]
    return command(capsys, *words, "-o", out, "--quiet")


def test_a_models_folder_is_stored_by_its_name_alone(models, tmp_path, capsys) -> None:
    assert generate(capsys, models["tiny"], SIZES["tiny"], tmp_path / "out").err == ""
    name = Path(models["tiny"]).name
    assert read_stored(str(tmp_path / "out" / "generated.png")).values["model"] == name
    ended = command(capsys, "run", tmp_path / "out" / "generated.png", "-o", tmp_path / "again", "--quiet")
    assert ended.code == 1
    assert f"--model {name}: no such folder" in ended.message
