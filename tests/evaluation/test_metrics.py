import math

import pytest
import torch
from metric_scene import (
    BACKGROUND,
    CENTRE_XY,
    DX,
    DY,
    FLOW,
    MASK,
    PHOTO,
    REGIONS,
    SCENE_SIZE,
    SUBJECT,
    TRUTH,
    blurred,
    moved,
    paste,
    texture,
)
from torch import Tensor

from mtransfer.evaluation.metrics import (
    JUDGED_LONG_SIDE_PX,
    Regions,
    appearance_kept,
    background_psnr_db,
    fidelity,
    flicker,
    flow_error,
    region_masks,
    vacated_residue,
    visible_points,
    warping_error,
)
from mtransfer.evaluation.texture import seam_jump
from mtransfer.flow.estimator import DisFlow
from mtransfer.flow.field import affine_flow, translate_flow
from mtransfer.flow.warp import dilate, forward_warp, pixel_grid

SIZE = (96, 128)


class Seer:
    """A flow model that sees what it is told, and remembers the size at which it looked."""

    def __init__(self, dx: float, dy: float) -> None:
        self.vector, self.sizes = torch.tensor([dx, dy], dtype=torch.float32).view(1, 2, 1, 1), []

    def encode(self, source: Tensor) -> None:
        self.sizes.append(tuple(source.shape[-2:]))

    def flow(self, image: Tensor) -> Tensor:
        return self.vector.expand(1, 2, *image.shape[-2:])


def smooth_noise(size: tuple[int, int] = SIZE) -> Tensor:
    noise = torch.rand(1, 3, size[0] // 4, size[1] // 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, size, mode="bicubic").clamp(0, 1)


def square(size: tuple[int, int] = SIZE) -> Tensor:
    mask = torch.zeros(1, 1, *size)
    mask[..., 20:60, 30:80] = 1
    return mask


def test_the_motion_asked_for_and_seen_has_no_error() -> None:
    target = translate_flow(SIZE, 6, -8).flow * square()
    found = flow_error(Seer(6, -8), smooth_noise(), smooth_noise(), target, square())
    inside = {name: found[name] for name in ("mean_px", "median_px", "relative", "dx_px", "dy_px")}
    assert inside == pytest.approx({"mean_px": 0, "median_px": 0, "relative": 0, "dx_px": 6, "dy_px": -8}, abs=1e-5)


def test_the_error_is_the_length_of_what_is_missing_and_its_share_of_what_was_asked() -> None:
    target = translate_flow(SIZE, 6, -8).flow * square()
    found = flow_error(Seer(3, -4), smooth_noise(), smooth_noise(), target, square())
    inside = {name: found[name] for name in ("mean_px", "median_px", "relative", "dx_px", "dy_px")}
    assert inside == pytest.approx({"mean_px": 5, "median_px": 5, "relative": 0.5, "dx_px": 3, "dy_px": -4})


def test_only_the_subject_counts() -> None:
    target = translate_flow(SIZE, 50, 50).flow * (1 - square())
    assert flow_error(Seer(0, 0), smooth_noise(), smooth_noise(), target, square())["mean_px"] == 0


def test_around_the_edit_still_background_counts_but_not_what_the_motion_hides() -> None:
    target = translate_flow(SIZE, 6, -8).flow * square()
    background = region_masks(target, square()).background
    inside, hidden = square() > 0.5, (square().roll((-8, 6), (2, 3)) > 0.5) & (square() < 0.5)
    # The subject is seen 5 px off, and the background, which should be still, 10 px off.
    seen = Seer(3, -4).vector.where(inside, Seer(6, -8).vector)
    model = Seer(0, 0)
    model.flow = lambda image: seen
    found = flow_error(model, smooth_noise(), smooth_noise(), target, square(), background)
    still = (background < 0.5) & ~inside & ~hidden
    shares = int(inside.sum()), int(still.sum())
    assert found["edit_mean_px"] == pytest.approx((5 * shares[0] + 10 * shares[1]) / sum(shares), rel=1e-4)


def test_the_flow_loss_is_over_both_components_of_the_whole_image() -> None:
    target = translate_flow(SIZE, 6, -8).flow * square()
    found = flow_error(Seer(0, 0), smooth_noise(), smooth_noise(), target, square())
    assert found["flow_loss_px"] == pytest.approx(7 * float(square().mean()), rel=1e-4)


def test_large_photos_are_judged_small_in_their_own_pixels() -> None:
    size = (700, 1400)
    seer = Seer(10, 5)
    ratio = 1400 / JUDGED_LONG_SIDE_PX
    target = translate_flow(size, 10 * ratio, 5 * ratio).flow
    found = flow_error(seer, smooth_noise(size), smooth_noise(size), target, square(size))
    assert seer.sizes == [(256, 512)]
    assert found["mean_px"] < 0.05
    assert found["dx_px"] == pytest.approx(10 * ratio, rel=1e-3)


def test_no_motion_asked_for_has_no_share() -> None:
    assert math.isnan(
        flow_error(Seer(1, 0), smooth_noise(), smooth_noise(), torch.zeros(1, 2, *SIZE), square())["relative"]
    )


def test_an_independent_judge_sees_a_moved_picture() -> None:
    photo = smooth_noise()
    found = flow_error(DisFlow(), photo, photo.roll((3, 5), (2, 3)), translate_flow(SIZE, 5, 3).flow, square())
    assert found["median_px"] < 0.3
    assert (found["dx_px"], found["dy_px"]) == pytest.approx((5, 3), abs=0.3)


def test_what_is_untouched_outside_the_edit_is_infinitely_alike() -> None:
    photo = smooth_noise()
    edited = torch.where(square() > 0, 1 - photo, photo)
    assert background_psnr_db(photo, edited, square()) == math.inf
    # Below the levels of an 8-bit file nothing has changed.
    assert background_psnr_db(photo, photo.mul(255).round().div(255), square()) == math.inf


def test_a_known_difference_outside_has_a_known_figure() -> None:
    photo, edited = torch.full((1, 3, *SIZE), 0.4), torch.full((1, 3, *SIZE), 0.6)
    assert background_psnr_db(photo, edited, square()) == pytest.approx(-20 * math.log10(0.2), abs=1e-3)


def test_an_edit_everywhere_leaves_nothing_to_compare() -> None:
    assert math.isnan(background_psnr_db(smooth_noise(), smooth_noise(), torch.ones(1, 1, *SIZE)))


def test_the_regions_are_the_places_of_the_motion() -> None:
    target = moved(MASK, DX, DY)
    assert torch.equal(REGIONS.subject, target)
    assert torch.equal(REGIONS.vacated, MASK * (1 - target))
    assert bool((REGIONS.background * torch.maximum(MASK, target) == 0).all())
    assert bool((REGIONS.background * REGIONS.seam == 0).all())
    assert 0.2 < float(REGIONS.background.mean()) < 0.9
    assert bool((REGIONS.seam <= dilate(target, 3)).all())
    assert 0.3 < float((REGIONS.seam * target).sum() / REGIONS.seam.sum()) < 0.7


def test_nothing_asked_to_move_vacates_nothing() -> None:
    regions = region_masks(torch.zeros_like(FLOW), MASK)
    assert torch.equal(regions.subject, MASK)
    assert not bool(regions.vacated.any())


def test_no_subject_leaves_the_whole_picture_to_the_background() -> None:
    regions = region_masks(FLOW, torch.zeros_like(MASK))
    assert bool((regions.background == 1).all())
    assert not bool(torch.stack([regions.subject, regions.vacated, regions.seam]).any())
    assert math.isnan(fidelity(PHOTO, PHOTO, regions)["subject"]["psnr_db"])
    assert math.isnan(fidelity(PHOTO, PHOTO, regions)["subject"]["ssim"])
    assert math.isnan(appearance_kept(PHOTO, PHOTO, FLOW, torch.zeros_like(MASK))["psnr_db"])


def test_points_that_leave_the_frame_do_not_count() -> None:
    flow = translate_flow(SCENE_SIZE, 160, 0).flow * MASK
    visible = visible_points(flow, MASK)
    x = pixel_grid(flow)[:, :1]
    assert torch.equal(visible, MASK * (x + 160 <= SCENE_SIZE[1] - 1))
    assert 0.4 < float(visible.sum() / MASK.sum()) < 0.7
    after = torch.where(region_masks(flow, MASK).subject > 0.5, moved(PHOTO, 160, 0), BACKGROUND)
    assert appearance_kept(PHOTO, after, flow, MASK)["psnr_db"] > 50


def test_points_that_another_subject_covers_do_not_count() -> None:
    left, right = torch.zeros_like(MASK), torch.zeros_like(MASK)
    left[..., 40:80, 20:60], right[..., 40:80, 100:140] = 1, 1
    flow = translate_flow(SCENE_SIZE, 60, 0).flow * left  # lands on the left half of the other
    visible = visible_points(flow, left + right)
    assert bool((visible[left > 0.5] == 1).all())
    assert not bool(visible[..., 42:78, 101:118].any())
    assert bool((visible[..., 40:80, 121:140] == 1).all())
    after = paste(PHOTO, PHOTO, left, 60, 0)
    assert appearance_kept(PHOTO, after, flow, left + right)["psnr_db"] > 50


def test_appearance_is_followed_through_a_turn() -> None:
    flow = affine_flow(SCENE_SIZE, CENTRE_XY, rotate_deg=30).flow * MASK
    warped, target = forward_warp(PHOTO, flow, MASK)
    exact = target * warped + (1 - target) * BACKGROUND
    assert appearance_kept(PHOTO, exact, flow, MASK)["psnr_db"] > 30
    assert appearance_kept(PHOTO, exact, flow, MASK)["ssim"] > appearance_kept(PHOTO, PHOTO, flow, MASK)["ssim"] + 0.2


@pytest.mark.parametrize("opacity", [0.0, 0.25, 0.5, 1.0])
def test_a_ghost_leaves_a_residue_of_its_opacity(opacity: float) -> None:
    ghost = torch.lerp(TRUTH, PHOTO, opacity * REGIONS.vacated)
    assert vacated_residue(PHOTO, ghost, MASK, REGIONS.vacated, TRUTH) == pytest.approx(opacity, abs=1e-4)
    assert vacated_residue(PHOTO, ghost, MASK, REGIONS.vacated) == pytest.approx(opacity, abs=0.15)


@pytest.mark.parametrize("seed", range(11, 15))
def test_another_filling_of_the_old_place_is_no_residue(seed: int) -> None:
    filling = torch.where(REGIONS.vacated > 0.5, 0.15 + 0.55 * texture(seed, 32), TRUTH)
    assert vacated_residue(PHOTO, filling, MASK, REGIONS.vacated) < 0.3


def test_a_subject_like_its_background_leaves_no_residue_to_speak_of() -> None:
    plain = torch.full_like(PHOTO, 0.5)
    alike = plain + 0.01 * MASK
    assert math.isnan(vacated_residue(alike, alike, MASK, REGIONS.vacated))
    # Half of it stands out, and that half is gone: the half that never could be seen says nothing.
    x = pixel_grid(PHOTO)[:, :1]
    half = plain + MASK * torch.where(x < 64, 0.4, 0.01)
    assert vacated_residue(half, plain, MASK, REGIONS.vacated) < 0.05
    assert vacated_residue(half, half, MASK, REGIONS.vacated) > 0.95


def test_nothing_vacated_has_no_residue() -> None:
    assert math.isnan(vacated_residue(PHOTO, PHOTO, MASK, torch.zeros_like(MASK)))


def test_a_pasted_look_is_a_jump_at_the_seam() -> None:
    rim = REGIONS.subject * dilate(1 - REGIONS.subject, 2)
    patch = torch.where(REGIONS.background > 0.5, TRUTH, TRUTH + 0.15)
    assert seam_jump(TRUTH, REGIONS.subject, PHOTO, MASK) == pytest.approx(1, abs=0.35)
    assert seam_jump(TRUTH * (1 - rim), REGIONS.subject, TRUTH) > 1.5
    assert seam_jump(patch, REGIONS.background, PHOTO) > 2
    assert seam_jump(blurred(TRUTH), REGIONS.subject, TRUTH) < 0.5


def sequence(frames: int = 5) -> tuple[Tensor, Tensor]:
    """The subject crossing in whole pixels: frames [T,3,H,W] and their flows from the photo [T,2,H,W]."""
    steps = [(8 * t, -3 * t) for t in range(frames)]
    shown = torch.cat([paste(BACKGROUND, SUBJECT, MASK, *step) for step in steps])
    return shown, torch.cat([translate_flow(SCENE_SIZE, *step).flow * MASK for step in steps])


def test_a_subject_that_moves_unchanged_is_stable_and_one_that_boils_is_not() -> None:
    frames, flow = sequence()
    boiling = frames + 0.1 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(3))
    assert warping_error(frames, flow, MASK) < 1e-4
    assert 0.05 < warping_error(boiling.clamp(0, 1), flow, MASK) < 0.2
    # Frozen frames stand still while the points asked for move on.
    assert warping_error(frames[:1].expand_as(frames), flow, MASK) > 0.05


def test_flicker_is_what_changes_where_nothing_should() -> None:
    frames, flow = sequence()
    still = region_masks(flow[-1:], MASK).background
    for each in flow[:-1]:
        still = still * region_masks(each[None], MASK).background
    pulse = frames + torch.tensor([0.0, 0.02, 0.0, 0.02, 0.0]).view(-1, 1, 1, 1)
    assert flicker(frames, still) == 0
    assert flicker(pulse, still) == pytest.approx(0.02, abs=1e-4)
    assert flicker(frames, torch.ones_like(still)) > 0.005  # what moves is no flicker, so it is masked


def test_regions_name_every_row_of_the_table() -> None:
    assert list(fidelity(TRUTH, TRUTH, REGIONS)) == ["subject", "vacated", "seam", "background"]
    assert isinstance(REGIONS, Regions)
