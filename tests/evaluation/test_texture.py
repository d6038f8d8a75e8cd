import math

import pytest
import torch
from torch import Tensor

from mtransfer.evaluation.texture import roughness, seam_jump, sharpness

WHOLE = torch.ones(1, 1, 24, 32)


def ramp(slope: float) -> Tensor:
    return (slope * torch.arange(32)).expand(1, 3, 24, 32)


def stripes(height: float) -> Tensor:
    return 0.5 + height * torch.tensor([1.0, -1.0]).repeat(16).expand(1, 3, 24, 32)


def left(columns: int) -> Tensor:
    region = torch.zeros(1, 1, 24, 32)
    region[..., :columns] = 1
    return region


def test_a_slope_twice_as_steep_has_four_times_the_gradient_energy_and_is_no_rougher() -> None:
    assert sharpness(ramp(0.02), WHOLE, ramp(0.01)) == pytest.approx(4, rel=1e-4)
    assert roughness(stripes(0.2), WHOLE, stripes(0.2)) == 1
    assert roughness(ramp(0.02), WHOLE, stripes(0.1)) < 1e-9


def test_stripes_of_twice_the_height_are_four_times_as_rough() -> None:
    assert roughness(stripes(0.2), WHOLE, stripes(0.1)) == pytest.approx(4, rel=1e-4)


def test_a_region_is_compared_with_its_own_place_in_the_reference() -> None:
    picture = torch.where(left(16) > 0, stripes(0.2), stripes(0.1))
    assert sharpness(picture, left(16), picture, 1 - left(16)) == pytest.approx(4, rel=1e-4)
    assert roughness(picture, left(16), picture, 1 - left(16)) == pytest.approx(4, rel=1e-4)


def test_the_silhouette_itself_is_no_detail() -> None:
    cut = ramp(0.01) + 0.5 * left(16)
    assert sharpness(cut, left(16), ramp(0.01)) == pytest.approx(1, rel=1e-4)
    assert sharpness(cut, WHOLE, ramp(0.01)) > 10
    noise = 0.2 * torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    assert roughness(noise + 0.5 * left(16), left(16), noise) == pytest.approx(1, rel=1e-4)


def test_a_jump_is_measured_across_the_border_alone() -> None:
    assert seam_jump(ramp(0.01) + 0.09 * (1 - left(16)), left(16), ramp(0.01)) == pytest.approx(10, rel=1e-3)
    assert seam_jump(ramp(0.01) + 0.09 * (1 - left(16)), left(8), ramp(0.01)) == pytest.approx(1, rel=1e-3)
    cut = ramp(0.01) + 0.09 * (1 - left(20))
    assert seam_jump(ramp(0.02), left(8), cut, left(20)) == pytest.approx(0.2, rel=1e-3)


@pytest.mark.parametrize("measure", [sharpness, roughness, seam_jump])
def test_an_empty_region_has_no_figure(measure) -> None:
    assert math.isnan(measure(stripes(0.1), torch.zeros_like(WHOLE), stripes(0.1)))
