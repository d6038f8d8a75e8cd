"""InstructPix2Pix and Stable Diffusion's inpainting, through diffusers' pipelines, on tiny models of their layouts."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_sd import add_safety_checker, build_tiny_sd
from torch import Tensor

from mtransfer.errors import ModelError
from mtransfer.evaluation import diffusers_methods
from mtransfer.evaluation.methods import Problem, missing, run_method
from mtransfer.flow.field import translate_flow
from mtransfer.flow.loading import load_flow_model
from mtransfer.sampling.composite import make_composite
from mtransfer.sampling.loading import load_pipeline

CPU = torch.device("cpu")
SIZE = (128, 128)
FEW = 3


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    """Models whose nets take the photo's latents, and the mask and the photo's latents, beside the noise."""
    home = tmp_path_factory.mktemp("peers")
    for name, channels in (("instruct", 8), ("inpaint", 9)):
        index = build_tiny_sd(home / name, input_channels=channels) / "model_index.json"
        published = {"_class_name": diffusers_methods.KINDS[name].__name__, "_diffusers_version": "0.6.0.dev0"}
        index.write_text(json.dumps(json.loads(index.read_text()) | published))
    return {name: str(home / name) for name in diffusers_methods.KINDS}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch) -> None:
    for name in diffusers_methods.STEPS:
        monkeypatch.setitem(diffusers_methods.STEPS, name, FEW)


@pytest.fixture(scope="module")
def problem() -> Problem:
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., 40:80, 20:60] = 1
    photo = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(2))
    return Problem(photo, translate_flow(SIZE, 40, 0).flow * mask, mask)


def test_an_instruction_changes_the_picture_and_the_seed_counts(folders, problem, capfd) -> None:
    made = [
        diffusers_methods.instruct(problem.photo, text, folders["instruct"], device=CPU, seed=seed)
        for text, seed in (("move it right", 0), ("move it right", 0), ("move it left", 0), ("move it right", 1))
    ]
    assert made[0].shape == problem.photo.shape
    assert bool(made[0].isfinite().all())
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert not torch.equal(made[0], made[3])
    assert capfd.readouterr() == ("", "")


def test_inpainting_paints_the_old_place_and_leaves_the_rest(folders, problem) -> None:
    photo, flow, mask = problem.photo, problem.flow, problem.mask
    made = diffusers_methods.inpaint(photo, flow, mask, "grass", folders["inpaint"], device=CPU)
    draft = make_composite(photo, flow, mask)
    outside = draft.edit == 0
    assert torch.equal(made[outside.expand_as(made)], photo[outside.expand_as(made)])
    assert float((made - draft.image).abs()[..., 50:70, 30:40].mean()) > 0.02
    inside = slice(55, 65), slice(70, 90)  # of the moved subject
    torch.testing.assert_close(made[..., inside[0], inside[1]], draft.image[..., inside[0], inside[1]])


def test_methods_take_the_motion_in_words_and_the_models_named(folders, problem, monkeypatch) -> None:
    told: list[str] = []
    real = diffusers_methods.instruct

    def heard(photo: Tensor, text: str, *rest, **named) -> Tensor:
        told.append(text)
        return real(photo, text, *rest, **named)

    monkeypatch.setattr(diffusers_methods, "instruct", heard)
    tools = load_pipeline("embedded", CPU, torch.float32), load_flow_model("embedded", 1, 1, CPU)
    for words in ({"prompt": "a box"}, {"instruction": "turn it round"}):
        asked = Problem(problem.photo, problem.flow, problem.mask, **words)
        run_method("instruct", asked, *tools, models=folders)
    assert told == ["move the box right", "turn it round"]


@pytest.mark.parametrize("name", diffusers_methods.MODELS)
def test_weights_that_are_not_here_are_named(name) -> None:
    assert missing(name) == diffusers_methods.MODELS[name]
    with pytest.raises(
        ModelError, match=rf"^method {name}: {diffusers_methods.MODELS[name]} is not on this disk; fetch it with"
    ):
        diffusers_methods.load_peer(name, diffusers_methods.MODELS[name], CPU)
    assert missing("warp") is None


def test_a_model_of_another_kind_is_refused(folders) -> None:
    with pytest.raises(ModelError, match=r"^method instruct: the net of .* takes 9 channels; give another model$"):
        diffusers_methods.load_peer("instruct", folders["inpaint"], CPU)


def test_a_broken_folder_is_named(folders, tmp_path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["inpaint"], folder)
    add_safety_checker(folder)
    assert missing("inpaint", {"inpaint": str(folder)}) is None
    diffusers_methods.load_peer("inpaint", str(folder), CPU)
    next(Path(folder / "unet").glob("*.safetensors")).write_bytes(b"broken")
    diffusers_methods.load_peer.cache_clear()
    with pytest.raises(ModelError, match=r"^method inpaint: .*model cannot be loaded \(\w+\); check the folder$"):
        diffusers_methods.load_peer("inpaint", str(folder), CPU)
