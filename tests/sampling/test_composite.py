import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mtransfer.flow.field import affine_flow, translate_flow
from mtransfer.flow.warp import dilate
from mtransfer.sampling.composite import FEATHER_PX, WarpComposite, blend, feather, make_composite, remove_subject

SIZE = (72, 96)


def textured_grey() -> Tensor:
    noise = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    return (0.4 + 0.2 * noise).repeat(1, 3, 1, 1)


def square() -> Tensor:
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., 28:46, 34:58] = 1
    return mask


def red_square() -> Tensor:
    """A red square, textured too, on grey: red is where the subject is and nowhere else."""
    red = torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1) + 0.2 * (textured_grey() - 0.5)
    return square() * red + (1 - square()) * textured_grey()


def redness(image: Tensor) -> Tensor:
    return image[:, :1] - image[:, 1:2]


def moved(dx: float, dy: float) -> WarpComposite:
    return make_composite(red_square(), translate_flow(SIZE, dx, dy).flow * square(), square())


@given(st.integers(-20, 20), st.integers(-15, 15))
def test_a_whole_pixel_move_keeps_every_pixel_of_the_subject(dx, dy) -> None:
    draft, target = moved(dx, dy), square().roll((dy, dx), (2, 3))
    torch.testing.assert_close(draft.target, target, atol=1e-4, rtol=0)
    gap = ((draft.image - red_square().roll((dy, dx), (2, 3))) * target).abs()
    assert gap.max() < 1e-3


@given(st.integers(-20, 20), st.integers(-15, 15))
def test_none_of_the_subject_is_left_behind(dx, dy) -> None:
    draft = moved(dx, dy)
    assert (redness(draft.image) * (draft.target == 0)).abs().max() < 1e-4


def test_the_old_place_looks_like_what_is_around_it() -> None:
    old = moved(0, 30).image[(square() * (1 - moved(0, 30).target)).expand(1, 3, -1, -1) > 0]
    assert old.min() >= 0.39  # the fill meets its surroundings by a smooth shift
    assert old.max() <= 0.61


@pytest.mark.parametrize("motion", [{"translate_px": (12.5, -7.25)}, {"rotate_deg": 40}, {"scale": 1.4}])
def test_pixels_outside_the_edit_are_the_photos_own(motion) -> None:
    flow = affine_flow(SIZE, (45.5, 36.5), **motion).flow
    draft = make_composite(red_square(), flow * square(), square())
    outside = (draft.edit == 0).expand(1, 3, -1, -1)
    assert outside.float().mean() > 0.5
    assert torch.equal(draft.image[outside], red_square()[outside])


def test_the_masks_say_what_is_what() -> None:
    draft = moved(30, 0)
    assert not (draft.vacated * draft.target > 1e-4).any()
    assert bool((draft.vacated[square() > 0] == 1).all())
    assert bool((draft.edit >= torch.maximum(draft.target, draft.vacated)).all())
    # The halo: what the subject's blurred edge may have coloured belongs to the vacated region too.
    assert draft.vacated[0, 0, 36, 32] == 1
    assert draft.vacated[0, 0, 36, 20] == 0
    band = draft.seam[0, 0, 36].nonzero().flatten().tolist()
    assert {63, 64, 87, 88} <= set(band)
    assert 75 not in band
    assert 45 not in band


def test_a_still_subject_stays_where_it_is() -> None:
    draft = make_composite(red_square(), torch.zeros(1, 2, *SIZE), square())
    gap = ((draft.image - red_square()) * square()).abs()
    assert gap.max() < 1e-4


def test_a_subject_that_leaves_the_picture_is_gone() -> None:
    draft = moved(200, 0)
    assert not draft.target.any()
    assert redness(draft.image).abs().max() < 1e-4


def test_a_photo_that_moves_whole_has_nothing_to_fill_from() -> None:
    mask = torch.ones(1, 1, *SIZE)
    draft = make_composite(red_square(), translate_flow(SIZE, 10, 0).flow, mask)
    torch.testing.assert_close(draft.image[..., 10:], red_square()[..., :-10], atol=1e-3, rtol=0)
    assert torch.equal(remove_subject(red_square(), mask), red_square())


@given(st.integers(0, 6))
def test_growing_widens_by_whole_pixels(width_px) -> None:
    grown = dilate(square(), width_px)[0, 0, 36].nonzero().flatten()
    assert grown.tolist() == list(range(34 - width_px, 58 + width_px))


def test_the_feather_lies_inside_the_mask_and_ends_at_one() -> None:
    soft, deep = feather(square()), 2 * FEATHER_PX
    assert not (soft * (1 - square())).any()
    row = soft[0, 0, 37, 34:46]
    assert 0 < float(row[0]) < 0.5
    assert bool((row.diff() >= 0).all())
    torch.testing.assert_close(soft[..., 28 + deep : 46 - deep, 34 + deep : 58 - deep].min(), torch.tensor(1.0))


def test_the_feather_is_not_stopped_by_the_pictures_own_edge() -> None:
    mask = torch.ones(1, 1, *SIZE)
    torch.testing.assert_close(feather(mask), mask)


def test_blending_leaves_the_photos_pixels_outside_and_no_old_outline_inside() -> None:
    draft = moved(30, 0)
    blended = blend(red_square(), draft.image, draft.edit)
    outside = (draft.edit == 0).expand(1, 3, -1, -1)
    assert torch.equal(blended[outside], red_square()[outside])
    assert (redness(blended) * (draft.target == 0)).abs().max() < 1e-4
    changed = torch.maximum(draft.target, draft.vacated) > 0
    torch.testing.assert_close(blended * changed, draft.image * changed, atol=1e-4, rtol=0)


def test_a_soft_edge_does_not_take_along_what_was_behind_it() -> None:
    soft = F.avg_pool2d(square(), 5, stride=1, padding=2)
    red, blue = (torch.tensor(colour).view(1, 3, 1, 1) for colour in ((0.9, 0.1, 0.1), (0.1, 0.1, 0.9)))
    x = torch.arange(SIZE[1]).view(1, 1, 1, -1)
    behind = torch.where(x < 60, torch.ones(1, 3, *SIZE), blue)  # white where it was, blue where it goes
    photo = soft * red + (1 - soft) * behind
    draft = make_composite(photo, translate_flow(SIZE, 32, 0).flow * (soft > 0), soft, behind)
    torch.testing.assert_close(draft.image, draft.target * red + (1 - draft.target) * behind, atol=0.05, rtol=0)
