import math

import pytest
import torch
from torch import Tensor

from mtransfer.field import translate_flow
from mtransfer.flow import DisFlow
from mtransfer.metrics import JUDGED_LONG_SIDE_PX, background_psnr_db, flow_error

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
    assert found == pytest.approx({"mean_px": 0, "median_px": 0, "relative": 0, "dx_px": 6, "dy_px": -8}, abs=1e-5)


def test_the_error_is_the_length_of_what_is_missing_and_its_share_of_what_was_asked() -> None:
    target = translate_flow(SIZE, 6, -8).flow * square()
    found = flow_error(Seer(3, -4), smooth_noise(), smooth_noise(), target, square())
    assert found == pytest.approx({"mean_px": 5, "median_px": 5, "relative": 0.5, "dx_px": 3, "dy_px": -4})


def test_only_the_subject_counts() -> None:
    target = translate_flow(SIZE, 50, 50).flow * (1 - square())
    assert flow_error(Seer(0, 0), smooth_noise(), smooth_noise(), target, square())["mean_px"] == 0


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
