import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mtransfer.flow.field import affine_flow
from mtransfer.flow.interpolate import fill_motion, push_pull
from mtransfer.flow.warp import pixel_grid

SIZE = (48, 64)
sides = st.integers(1, 40)


def known_outside(y0: int, y1: int, x0: int, x1: int) -> Tensor:
    weight = torch.ones(1, 1, *SIZE)
    weight[..., y0:y1, x0:x1] = 0
    return weight


def noise(height: int = SIZE[0], width: int = SIZE[1], channels: int = 3) -> Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0))


@given(sides, sides, st.integers(0, 1599), st.floats(-3, 3, width=32))
def test_a_constant_fills_everything_from_a_single_pixel(height, width, where, value) -> None:
    weight = torch.zeros(1, 1, height, width)
    weight.view(-1)[where % weight.numel()] = 1
    filled = push_pull(torch.where(weight > 0, value, 99.0), weight)
    torch.testing.assert_close(filled, torch.full_like(filled, value), atol=1e-4, rtol=1e-4)


def test_what_lies_in_the_hole_does_not_matter() -> None:
    weight = known_outside(10, 30, 20, 45)
    torch.testing.assert_close(push_pull(noise() * weight, weight), push_pull(noise() + 9 * (1 - weight), weight))


def test_known_values_are_untouched() -> None:
    weight = known_outside(10, 30, 20, 45)
    filled = push_pull(noise(), weight)
    assert torch.equal(filled * weight, noise() * weight)
    assert torch.equal(push_pull(noise(), torch.ones(1, 1, *SIZE)), noise())


def test_a_ramp_continues_through_a_hole() -> None:
    ramp = pixel_grid(torch.zeros(1, 1, *SIZE)) / 64
    weight = known_outside(14, 30, 20, 36)
    gap = (push_pull(ramp * weight, weight) - ramp).abs()
    assert gap.max() < 0.06  # of a ramp of 0.25 across the hole
    assert gap[..., 20:24, 26:30].max() < 0.02


def test_a_hole_takes_the_colours_of_its_own_sides() -> None:
    values = torch.zeros(1, 1, *SIZE)
    values[..., 32:] = 1
    row = push_pull(values, known_outside(18, 30, 24, 40))[0, 0, 24, 24:40]
    assert row[0] < 0.15
    assert row[-1] > 0.85
    assert bool((row.diff() > -1e-3).all())


@given(st.integers(0, 2**31))
def test_filled_values_stay_between_the_known_ones(seed) -> None:
    weight = (torch.rand(1, 1, 23, 31, generator=torch.Generator().manual_seed(seed)) < 0.1).float()
    weight[..., 3, 5] = 1
    values = noise(23, 31)
    filled = push_pull(values, weight)
    known = values[(weight > 0).expand_as(values)]
    assert known.min() - 1e-5 <= filled.min()
    assert filled.max() <= known.max() + 1e-5


def test_no_value_is_lost_with_a_whiff_of_knowledge() -> None:
    weight = torch.zeros(1, 1, 257, 130)
    weight[..., 256, 0] = 1e-3
    filled = push_pull(torch.full((1, 2, 257, 130), 0.5), weight)
    torch.testing.assert_close(filled, torch.full_like(filled, 0.5), atol=1e-3, rtol=0)


def test_images_of_a_batch_are_filled_apart() -> None:
    weight = torch.cat([known_outside(10, 30, 20, 45), known_outside(5, 9, 3, 60)])
    values = torch.cat([noise(), 1 - noise()])
    together = push_pull(values, weight)
    for i in range(2):
        torch.testing.assert_close(together[i : i + 1], push_pull(values[i : i + 1], weight[i : i + 1]))


def known_part(size: tuple[int, int]) -> torch.Tensor:
    weight = torch.zeros(1, 1, *size)
    weight[..., 10:40, 12:50] = 1
    return weight


@given(st.floats(-20, 20), st.floats(0.8, 1.25), st.floats(-8, 8))
def test_an_affine_motion_goes_on_where_nothing_is_known(rotate_deg, scale, dx) -> None:
    size, weight = (64, 80), known_part((64, 80))
    flow = affine_flow(size, (40, 32), rotate_deg=rotate_deg, scale=scale, translate_px=(dx, 1.0)).flow
    found = fill_motion(flow * weight, weight)
    reach = flow.norm(dim=1).max()
    assert (found - flow).norm(dim=1).max() < 0.06 * reach + 0.05
    torch.testing.assert_close(found * weight, flow * weight)


def test_what_is_known_at_one_point_is_known_of_all() -> None:
    weight = torch.zeros(1, 1, 20, 30)
    weight[..., 4, 7] = 1
    flow = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1) * weight
    torch.testing.assert_close(
        fill_motion(flow, weight), torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 20, 30)
    )
