"""A subject that the photo's border cuts off moves inwards: no cut edge comes into sight."""

import pytest
import torch
from torch import Tensor

from mtransfer.flow.field import affine_flow
from mtransfer.media.border import border_warning, extension_px, inward_px
from mtransfer.sampling.composite import make_composite

SIZE = (120, 160)
SIDES = {"left": (0, 60), "right": (159, 60), "top": (80, 0), "bottom": (80, 119)}
INWARDS = {"left": (12.0, 0.0), "right": (-12.0, 0.0), "top": (0.0, 12.0), "bottom": (0.0, -12.0)}


def cut_off(side: str) -> tuple[Tensor, Tensor]:
    """A red disc about the middle of a border before a blue wall [1,3,H,W], and its mask [1,1,H,W]."""
    x, y = SIDES[side]
    rows, columns = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    mask = ((columns - x).square() + (rows - y).square() < 40**2)[None, None].float()
    red, blue = (torch.tensor(colour).view(1, 3, 1, 1) for colour in ((0.9, 0.2, 0.1), (0.1, 0.3, 0.8)))
    return mask * red + (1 - mask) * blue, mask


def moved(side: str, **motion) -> tuple[Tensor, Tensor, Tensor]:
    photo, mask = cut_off(side)
    return photo, mask, affine_flow(SIZE, tuple(map(float, SIDES[side])), **motion).flow * mask


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("how", ["translated", "shrunk"])
def test_the_subject_still_reaches_the_border(side, how) -> None:
    x, y = INWARDS[side]
    photo, mask, flow = moved(side, translate_px=(x, y), scale=1.0 if how == "translated" else 0.8)
    draft = make_composite(photo, flow, mask)
    column, row = SIDES[side]
    assert float(draft.target[0, 0, row, column]) == pytest.approx(1, abs=0.01)
    assert float(draft.image[0, 0, row, column]) > 0.85
    assert draft.image.shape == photo.shape
    assert inward_px(flow, mask)[list(SIDES).index(side)] >= 12


@pytest.mark.parametrize("side", SIDES)
def test_what_moves_along_or_out_needs_nothing_more(side) -> None:
    x, y = INWARDS[side]
    for motion in ((-x, -y), (y, x)):
        _, mask, flow = moved(side, translate_px=motion)
        assert extension_px(flow, mask) == (0, 0, 0, 0)


def test_a_subject_inside_the_photo_needs_nothing_more() -> None:
    _, mask, flow = moved("left", translate_px=(12.0, 0.0))
    inside = torch.roll(mask, 60, dims=-1)
    assert extension_px(torch.roll(flow, 60, dims=-1), inside) == (0, 0, 0, 0)


def test_much_that_is_mirrored_is_said() -> None:
    _, mask, flow = moved("left", translate_px=(30.0, 0.0))
    assert "30 px" in border_warning(flow, mask)
    assert "left border" in border_warning(flow, mask)
    assert border_warning(flow / 10, mask) is None
    assert border_warning(-flow, mask) is None
