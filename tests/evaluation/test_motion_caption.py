import pytest
import torch
from torch import Tensor

from mtransfer.evaluation.motion_caption import instruction_of
from mtransfer.flow.field import affine_flow, translate_flow

SIZE = (96, 128)
CENTRE = (60.0, 40.0)


@pytest.fixture
def mask() -> Tensor:
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., 20:61, 40:81] = 1
    return mask


@pytest.mark.parametrize(
    ("dx", "dy", "way"),
    [(20, 0, "right"), (-20, 3, "left"), (2, -20, "up"), (0, 20, "down"), (15, -15, "up and right")],
)
def test_a_shift_is_told_by_its_way(dx, dy, way, mask) -> None:
    assert instruction_of(translate_flow(SIZE, dx, dy).flow, mask, "a teapot") == f"move the teapot {way}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rotate_deg": 30}, "rotate the subject counter-clockwise"),
        ({"rotate_deg": -30}, "rotate the subject clockwise"),
        ({"scale": 1.4}, "make the subject larger"),
        ({"scale": 0.6}, "make the subject smaller"),
    ],
)
def test_a_turn_or_a_growth_is_told_where_it_is_the_most(change, said, mask) -> None:
    assert instruction_of(affine_flow(SIZE, CENTRE, **change).flow, mask) == said
