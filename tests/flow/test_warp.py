import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from mtransfer.flow.field import affine_flow, pins_flow, translate_flow
from mtransfer.flow.warp import (
    backward_warp,
    covered_mask,
    forward_splat,
    forward_warp,
    invert_flow,
    moved_region,
    occlusion_mask,
    pixel_grid,
    sample,
    seam_mask,
    vacated_mask,
)

SIZE = (96, 128)
CENTRE_XY = (60.0, 48.0)


def picture() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, *SIZE, generator=generator)


def waves() -> Tensor:
    """A smooth picture, whose warp can be known exactly."""
    x, y = pixel_grid(torch.zeros(1, 1, *SIZE))[0] / 10
    return (0.5 + 0.4 * torch.stack([torch.sin(x), torch.cos(y), torch.sin(x + y)]))[None]


def ellipse(radius_x: float = 16, radius_y: float = 20) -> Tensor:
    x, y = pixel_grid(torch.zeros(1, 1, *SIZE))[0]
    return (((x - CENTRE_XY[0]) / radius_x) ** 2 + ((y - CENTRE_XY[1]) / radius_y) ** 2 < 1).float()[None, None]


def holes(mask: Tensor) -> int:
    solid = mask[0, 0].numpy() > 0.5
    return int((ndimage.binary_fill_holes(solid) & ~solid).sum())


def test_backward_warp_is_that_of_the_published_sampler(golden) -> None:
    source, estimate = (torch.from_numpy(golden[name]) / 2 + 0.5 for name in ("source", "probe_image"))
    flow = 6 * torch.tanh(F.conv2d(torch.cat([source, estimate], 1), torch.from_numpy(golden["W_flow"]), padding=1))
    mask = torch.from_numpy(golden["mask_occ"])
    loss = (mask * (source - backward_warp(estimate, flow))).abs().mean()
    np.testing.assert_allclose(loss, golden["probe_color_loss"], rtol=1e-5)


def test_occlusion_is_that_of_the_published_sampler(golden) -> None:
    mask = occlusion_mask(torch.from_numpy(golden["target_flow"]))
    assert mask.shape == golden["mask_occ"].shape
    assert (mask.numpy() != golden["mask_occ"]).sum() <= 30


def test_occlusion_hides_still_pixels_under_the_footprint_only() -> None:
    flow = torch.zeros(2, 2, 6, 8)
    flow[0, :, 2, 1] = torch.tensor([3.5, 0])  # covers columns 4 and 5 of row 2
    flow[1, :, 2, 1] = torch.tensor([1.0, 0])  # lands on a pixel that moves itself
    flow[1, :, 2, 2] = torch.tensor([9.0, 0])  # leaves the picture
    mask = occlusion_mask(flow)
    assert (mask[0, 0] == 0).nonzero().tolist() == [[2, 4], [2, 5]]
    assert bool((mask[1] == 1).all())


@given(st.integers(-9, 9), st.integers(-9, 9))
def test_backward_warp_along_a_translation_reads_the_shifted_picture(dx, dy) -> None:
    warped = backward_warp(picture(), translate_flow(SIZE, dx, dy).flow)
    rolled = picture().roll((-dy, -dx), (2, 3))
    inner = (slice(None), slice(None), slice(9, -9), slice(9, -9))
    torch.testing.assert_close(warped[inner], rolled[inner], atol=1e-4, rtol=0)


def test_backward_warp_reflects_at_the_border_and_has_gradients() -> None:
    row = torch.arange(4.0).view(1, 1, 1, 4)
    flow = torch.zeros(1, 2, 1, 4)
    flow[:, 0] = -1
    torch.testing.assert_close(backward_warp(row, flow)[0, 0, 0].tolist(), [1.0, 0.0, 1.0, 2.0], atol=1e-5, rtol=0)
    image = waves().requires_grad_()
    flow = translate_flow(SIZE, 1.3, 0.4).flow.requires_grad_()
    backward_warp(image, flow).square().sum().backward()
    assert image.grad is not None
    assert flow.grad is not None
    assert flow.grad.abs().max() > 0


@given(st.integers(-25, 25), st.integers(-20, 20))
def test_a_whole_pixel_translation_moves_the_subject_exactly(dx, dy) -> None:
    mask = ellipse()
    warped, target = forward_warp(picture(), translate_flow(SIZE, dx, dy).flow * mask, mask)
    torch.testing.assert_close(target, mask.roll((dy, dx), (2, 3)), atol=1e-4, rtol=0)
    torch.testing.assert_close(warped * target, (picture() * mask).roll((dy, dx), (2, 3)), atol=1e-4, rtol=0)


MOTIONS = [
    {"rotate_deg": 30},
    {"rotate_deg": 180},
    {"scale": 1.5},
    {"scale": 2, "rotate_deg": 100},
    {"scale": 0.5},
    {"stretch_xy": (1.6, 0.7), "rotate_deg": -20, "translate_px": (10.5, 3.25)},
]


@pytest.mark.parametrize("motion", MOTIONS, ids=str)
def test_affine_motions_leave_a_whole_sharp_subject(motion) -> None:
    mask = ellipse()
    full = affine_flow(SIZE, CENTRE_XY, **motion).flow
    backward, target = invert_flow(full * mask, mask)
    source = pixel_grid(full) + backward
    inside = target[:, 0] > 0
    missed_px = (source + sample(full, source) - pixel_grid(full)).norm(dim=1)[inside]
    assert missed_px.max() < 0.01
    assert holes(target) == 0
    stretch = motion.get("stretch_xy", (1, 1))
    growth = motion.get("scale", 1) ** 2 * stretch[0] * stretch[1]
    assert math.isclose(target.sum(), mask.sum() * growth, rel_tol=0.01)


def test_carried_colours_are_the_sources_own() -> None:
    mask = ellipse()
    full = affine_flow(SIZE, CENTRE_XY, rotate_deg=30, scale=1.5).flow
    backward, _ = invert_flow(full * mask, mask)
    warped, target = forward_warp(waves(), full * mask, mask)
    x, y = (pixel_grid(full) + backward)[0] / 10
    truth = 0.5 + 0.4 * torch.stack([torch.sin(x), torch.cos(y), torch.sin(x + y)])
    assert ((warped[0] - truth).abs() * (target[0] > 0.5)).max() < 5e-3


@given(st.lists(st.tuples(st.integers(-6, 6), st.integers(-6, 6)), min_size=3, max_size=3))
def test_smooth_deformations_are_inverted(vectors) -> None:
    mask = ellipse()
    full = pins_flow(SIZE, list(zip([(50, 40), (70, 45), (58, 62)], vectors, strict=True))).flow
    backward, target = invert_flow(full * mask, mask)
    source = pixel_grid(full) + backward
    missed_px = (source + sample(full, source) - pixel_grid(full)).norm(dim=1)[target[:, 0] > 0.9]
    assert missed_px.quantile(0.99) < 0.1
    assert holes(target) == 0


def test_a_rough_flow_leaves_no_pinholes() -> None:
    noise = torch.randn(1, 2, *SIZE, generator=torch.Generator().manual_seed(1)) / 2
    mask = ellipse()
    target = covered_mask((translate_flow(SIZE, 10, 3).flow + noise) * mask, mask)
    assert holes(target) == 0
    assert math.isclose(target.sum(), mask.sum(), rel_tol=0.05)


def test_soft_masks_stay_soft_and_empty_ones_empty() -> None:
    soft = F.avg_pool2d(ellipse(), 5, stride=1, padding=2)
    target = covered_mask(translate_flow(SIZE, 12, 0).flow, soft)
    torch.testing.assert_close(target, soft.roll(12, 3), atol=1e-4, rtol=0)
    backward, empty = invert_flow(translate_flow(SIZE, 1, 0).flow, torch.zeros(1, 1, *SIZE))
    assert not backward.any()
    assert not empty.any()


@pytest.mark.parametrize("least", [0.5, 0.05])
def test_a_flow_that_ends_within_the_soft_edge_is_carried_on(least) -> None:
    soft = F.avg_pool2d(ellipse(), 5, stride=1, padding=2)
    flow = affine_flow(SIZE, CENTRE_XY, rotate_deg=30, scale=1.1, translate_px=(14, -6)).flow
    whole, silhouette = forward_warp(picture(), flow, soft)
    cut, found = forward_warp(picture(), flow * (soft > least), soft)
    torch.testing.assert_close(found, silhouette, atol=0.02, rtol=0)
    torch.testing.assert_close(found * cut, silhouette * whole, atol=0.02, rtol=0)


def test_a_subject_cut_by_the_border_moves_in_with_its_cut() -> None:
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., 100:] = 1
    target = covered_mask(translate_flow(SIZE, -20, 0).flow * mask, mask)
    torch.testing.assert_close(target, mask.roll(-20, 3), atol=1e-4, rtol=0)


def test_forward_warp_has_gradients_for_the_image() -> None:
    image = waves().requires_grad_()
    mask = ellipse()
    warped, target = forward_warp(image, affine_flow(SIZE, CENTRE_XY, rotate_deg=10).flow * mask, mask)
    (warped * target).sum().backward()
    assert image.grad is not None
    assert (image.grad * mask).sum() > 0.9 * image.grad.abs().sum()


def test_splat_puts_moving_over_still_and_heavy_over_light() -> None:
    flow = torch.zeros(1, 2, *SIZE)
    flow[:, 0, 30:50, 20:40] = 30  # both squares land on columns 50 to 69
    flow[:, 0, 30:50, 80:100] = -30
    image = pixel_grid(flow)[:, :1].clone()
    for heavy, offset in ((slice(20, 40), 30), (slice(80, 100), -30)):
        weight = torch.zeros(1, 1, *SIZE)
        weight[..., heavy] = 1
        splatted, coverage = forward_splat(image, flow, weight)
        columns = torch.arange(52.0, 68)
        torch.testing.assert_close(splatted[0, 0, 40, 52:68], columns - offset, atol=1e-2, rtol=0)
        assert coverage[0, 0, 40, 50:70].tolist() == [1] * 20
        assert coverage[0, 0, 40, 22:38].tolist() == [0] * 16
        torch.testing.assert_close(splatted[0, 0, 10], image[0, 0, 10])


def test_vacated_and_covered_share_the_old_place() -> None:
    mask = ellipse()
    target = covered_mask(translate_flow(SIZE, 10, 0).flow * mask, mask)
    vacated = vacated_mask(mask, target)
    torch.testing.assert_close(vacated + mask * target, mask)
    assert vacated[0, 0, 48, 45] == 1
    assert vacated[0, 0, 48, 60] == pytest.approx(0, abs=1e-4)


def test_the_seam_lies_on_both_sides_of_the_edge() -> None:
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., 40:] = 1
    assert seam_mask(mask, 3)[0, 0, 0].nonzero().flatten().tolist() == list(range(37, 43))


@pytest.mark.parametrize("motion", [{"translate_px": (90.0, 30.5)}, {"rotate_deg": 25.0}, {"scale": 1.3}], ids=str)
def test_a_large_picture_is_warped_as_exactly_as_a_small_one(motion) -> None:
    size = (1500, 2200)
    x, y = pixel_grid(torch.zeros(1, 1, *size))[0]
    mask = (((x - 900) / 300) ** 2 + ((y - 700) / 200) ** 2 <= 1).float()[None, None]
    picture = torch.stack([x / 2200, y / 1500, torch.sin(x / 40) * torch.cos(y / 40) / 2 + 0.5])[None]
    flow = affine_flow(size, (900, 700), **motion).flow
    warped, target = forward_warp(picture, flow * mask, mask)
    back = affine_flow(size, (900, 700), **inverse_of(motion)).flow
    wanted_mask = sample(mask, pixel_grid(mask) + back, padding_mode="zeros")
    assert (target - wanted_mask).abs().mean() < 5e-4
    assert ((target - wanted_mask).abs() > 0.5).float().mean() < 2e-4
    wanted = sample(picture, pixel_grid(mask) + back)
    assert ((warped - wanted).abs() * (wanted_mask > 0.99)).amax() < 0.05


def inverse_of(motion: dict) -> dict:
    if "translate_px" in motion:
        return {"translate_px": tuple(-value for value in motion["translate_px"])}
    return {"rotate_deg": -motion["rotate_deg"]} if "rotate_deg" in motion else {"scale": 1 / motion["scale"]}


def disc(size: tuple[int, int] = (200, 260), radius_px: float = 80) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return ((columns - 130).square() + (rows - 100).square() < radius_px**2)[None, None].float()


ABOUT_THE_CENTRE = [
    *({"stretch_xy": (1.2, 1.0)}, {"stretch_xy": (1.0, 0.8)}, {"stretch_xy": (1.05, 1.0)}),
    *({"scale": 1.3}, {"scale": 0.95}, {"rotate_deg": 10.0}, {"rotate_deg": 3.0}),
]


@pytest.mark.parametrize("motion", ABOUT_THE_CENTRE, ids=str)
@pytest.mark.parametrize("rounded", [False, True])
def test_what_stands_still_within_a_motion_moves_with_it(motion, rounded) -> None:
    flow = affine_flow((200, 260), (130.0, 100.0), **motion).flow
    flow = (flow.round() if rounded else flow) * disc()
    assert bool((flow.ne(0).any(dim=1, keepdim=True).float() < disc()).any())
    region = moved_region(flow)
    assert bool((region >= disc()).all())
    assert float((region - disc()).sum()) < 0.004 * float(disc().sum())


def test_what_is_between_things_that_move_stays() -> None:
    ring = disc() - disc(radius_px=30)
    columns = torch.arange(260).expand(1, 1, 200, -1)
    halves = disc() * ((columns < 100) | (columns > 112))
    right = torch.tensor([10.0, 0.0]).view(1, 2, 1, 1)
    for flow in (right * ring, right * halves, right * halves * (1 - 2 * (columns < 106).float())):
        assert torch.equal(moved_region(flow), flow.ne(0).any(dim=1, keepdim=True).float())
    assert not moved_region(0 * flow).any()
