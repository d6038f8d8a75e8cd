import pytest
import torch
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.evaluation import diffusers_methods
from mtransfer.evaluation.methods import METHODS, Problem, run_method
from mtransfer.evaluation.metrics import region_masks, vacated_residue
from mtransfer.flow.field import translate_flow
from mtransfer.flow.loading import load_flow_model
from mtransfer.sampling.composite import make_composite
from mtransfer.sampling.loading import load_pipeline

CPU = torch.device("cpu")
SIZE = 128
SLOW = ("paper", "paper_50", "best", "repaint", "drag")  # drag: tests/test_dragging.py


@pytest.fixture(scope="module")
def problem() -> Problem:
    """An orange disc before a soft blue ground, to be moved 30 px to the right."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    mask = (((x - 44) ** 2 + (y - 64) ** 2) < 20**2).float().view(1, 1, SIZE, SIZE)
    ground = torch.stack([0.2 + 0.1 * x / SIZE, 0.4 + 0.2 * y / SIZE, torch.full((SIZE, SIZE), 0.7)])[None]
    photo = ground * (1 - mask) + mask * torch.tensor([0.9, 0.5, 0.1]).view(1, 3, 1, 1)
    return Problem(photo, translate_flow((SIZE, SIZE), 30, 0).flow * mask, mask)


def orange(image: Tensor, x: int) -> float:
    return float(image[0, 0, 64, x] - image[0, 2, 64, x])


@pytest.fixture(scope="module")
def tools() -> tuple:
    return load_pipeline("embedded", CPU, torch.float32), load_flow_model("embedded", 3, 1, CPU)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in (*SLOW, *diffusers_methods.MODELS)])
def test_a_method_makes_an_edit(name, problem, tools) -> None:
    result, evaluations = run_method(name, problem, *tools)
    assert result.shape == problem.photo.shape
    assert 0 <= float(result.min()) <= float(result.max()) <= 1
    assert (evaluations > 0) == (name == "fast_guided")
    outside = make_composite(problem.photo, problem.flow, problem.mask, problem.photo).edit == 0
    assert float(((result - problem.photo).abs() * outside).max()) < 1 / 255  # Telea works on bytes
    if name != "sdedit_photo":
        assert orange(result, 74) > 0.3
    again, _ = run_method(name, problem, *tools)
    assert torch.equal(result, again)


def test_the_warp_leaves_the_old_place_and_the_others_clear_it(problem, tools) -> None:
    regions = region_masks(problem.flow, problem.mask)
    residues = {
        name: vacated_residue(problem.photo, run_method(name, problem, *tools)[0], problem.mask, regions.vacated)
        for name in ("warp", "warp_telea", "draft")
    }
    assert residues["warp"] > 0.95
    assert max(residues["warp_telea"], residues["draft"]) < 0.1


def test_an_unknown_method_is_refused(problem, tools) -> None:
    with pytest.raises(InputError, match=r"^method magic: unknown; use some of warp, warp_telea, [a-z0-9_, ]+$"):
        run_method("magic", problem, *tools)
