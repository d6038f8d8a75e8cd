import math

import pytest
import torch
from metric_scene import CASES, MASK, PHOTO, REGIONS, measured

from mtransfer.evaluation.metrics import background_difference, background_psnr_db

EVERY_CASE = pytest.mark.parametrize("case", CASES)


@pytest.mark.parametrize("case", ["identity", "wrong direction", "left behind"])
def test_an_independent_judge_tells_motion_as_asked_from_none_and_from_another(case: str) -> None:
    exact, found = measured("exact warp"), measured(case)
    assert exact["flow_median_px"] < 1
    assert exact["flow_relative"] < 0.2
    assert found["flow_median_px"] > 10
    assert found["flow_relative"] > 0.8
    for name in ("flow_mean_px", "flow_edit_mean_px", "flow_flow_loss_px"):
        assert found[name] > 2 * exact[name]


@EVERY_CASE
def test_appearance_is_kept_where_the_subject_arrived_whole(case: str) -> None:
    found = measured(case)
    if case in ("identity", "wrong direction"):
        assert found["kept_psnr_db"] < 18
        assert found["kept_ssim"] < 0.5
    elif case in ("blurred", "block noise"):
        assert 25 < found["kept_psnr_db"] < 40
        assert 0.6 < found["kept_ssim"] < 0.95
    else:
        assert found["kept_psnr_db"] > 50
        assert found["kept_ssim"] > 0.99


@EVERY_CASE
def test_the_background_shows_what_changed_outside_the_fixed_region(case: str) -> None:
    found = measured(case)
    if case in ("duplicated", "background changed"):
        assert found["outside_psnr_db"] < 35
        assert found["outside_mean_abs"] > 0.01
    elif case != "wrong direction":  # reaches beyond the places of the motion asked for
        assert found["outside_psnr_db"] == math.inf
        assert found["outside_mean_abs"] == 0


def test_a_huge_mask_of_the_method_hides_what_the_fixed_region_shows() -> None:
    changed, everywhere = CASES["background changed"], torch.ones_like(MASK)
    everywhere[..., :2, :2] = 0
    kept_corner = torch.where(everywhere > 0, changed, PHOTO)
    assert background_psnr_db(PHOTO, kept_corner, everywhere) == math.inf
    assert background_difference(PHOTO, kept_corner, REGIONS.background)["psnr_db"] < 35


@EVERY_CASE
def test_a_residue_is_found_where_the_old_place_still_shows_the_subject(case: str) -> None:
    if case in ("identity", "left behind"):
        assert measured(case)["residue"] > 0.95
    elif case != "wrong direction":
        assert measured(case)["residue"] < 0.15


@EVERY_CASE
def test_detail_lost_and_detail_made_up_are_told_apart(case: str) -> None:
    found = measured(case)
    if case == "blurred":
        assert found["sharpness"] < 0.5
        assert found["roughness"] < 0.3
    elif case == "block noise":
        assert found["sharpness"] > 1.5
        assert found["roughness"] > 3
    elif case not in ("identity", "wrong direction"):
        assert found["sharpness"] == pytest.approx(1)
        assert found["roughness"] == pytest.approx(1)


def test_block_noise_can_pass_for_appearance_but_not_for_smoothness() -> None:
    """The trap a trial fell into: noise that scores above a blur along the motion."""
    noisy, soft = measured("block noise"), measured("blurred")
    assert noisy["kept_psnr_db"] > soft["kept_psnr_db"] + 0.5
    assert noisy["kept_ssim"] > soft["kept_ssim"] + 0.05
    assert noisy["roughness"] > 3 * measured("exact warp")["roughness"] > 20 * soft["roughness"]


@pytest.mark.parametrize(
    ("case", "region"),
    [
        ("identity", "subject"),
        ("wrong direction", "subject"),
        ("left behind", "vacated"),
        ("blurred", "subject"),
        ("blurred", "seam"),
        ("block noise", "subject"),
        ("duplicated", "background"),
        ("background changed", "background"),
    ],
)
def test_fidelity_falls_in_the_region_that_is_wrong(case: str, region: str) -> None:
    assert measured("exact warp")[f"{region}_psnr_db"] == math.inf
    assert measured("exact warp")[f"{region}_ssim"] == pytest.approx(1)
    assert measured(case)[f"{region}_psnr_db"] < 35
    assert measured(case)[f"{region}_ssim"] < 0.95


def test_fidelity_stays_where_nothing_is_wrong() -> None:
    assert measured("left behind")["background_psnr_db"] == math.inf
    assert measured("duplicated")["vacated_psnr_db"] == math.inf
    assert measured("blurred")["background_psnr_db"] == math.inf
