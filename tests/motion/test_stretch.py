import pytest
import torch

from mtransfer.flow.field import affine_flow
from mtransfer.motion.stretch import LEFT, limit_stretch, stretched_fraction

SIZE = (60, 80)
MASK = torch.zeros(1, *SIZE)
MASK[:, 20:40, 30:50] = 1


def moved(**motion) -> torch.Tensor:
    return affine_flow(SIZE, (40, 30), **motion).flow * MASK


def folded(size: tuple[int, int] = SIZE) -> torch.Tensor:
    """A travel of (6, -3) under waves that fold."""
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    waves = torch.stack([4 * torch.sin(x / 1.5), 4 * torch.cos(y / 1.5)])
    return (waves + torch.tensor([6.0, -3.0]).view(2, 1, 1))[None]


@pytest.mark.parametrize(
    ("motion", "fraction"),
    [
        ({"scale": 1.5}, 0),
        ({"scale": 2.0}, 0),  # nearer
        ({"scale": 5.0}, 1),
        ({"scale": 0.2}, 1),
        ({"rotate_deg": 30}, 0),
        ({"stretch_xy": (1.5, 1.0)}, 0),
        ({"stretch_xy": (3.0, 1.0)}, 1),
        ({"stretch_xy": (0.3, 1.0)}, 1),
    ],
)
def test_what_is_stretched_or_squeezed(motion, fraction) -> None:
    flow = affine_flow(SIZE, (40, 30), **motion).flow
    assert stretched_fraction(flow, MASK) == pytest.approx(fraction)


@pytest.mark.parametrize(
    "motion", [{"translate_px": (9, 2)}, {"rotate_deg": 30}, {"scale": 2.0}, {"stretch_xy": (1.4, 0.9)}]
)
def test_what_a_thing_can_do_stays_to_the_bit(motion) -> None:
    assert torch.equal(limit_stretch(moved(**motion), MASK), moved(**motion))


def test_what_folds_is_smoothed_and_keeps_its_travel() -> None:
    assert stretched_fraction(folded() * MASK, MASK) > 0.5
    found = limit_stretch(folded() * MASK, MASK)
    assert stretched_fraction(found, MASK) <= LEFT
    inside = found[0][:, MASK[0] > 0]
    torch.testing.assert_close(inside.mean(dim=1), torch.tensor([6.0, -3.0]), atol=1.0, rtol=0)
    assert not found[0][:, MASK[0] == 0].any()


def test_a_subject_that_turns_and_folds_still_turns() -> None:
    turned = moved(rotate_deg=25)
    found = limit_stretch(turned + 0.5 * (folded() - folded().mean(dim=(2, 3), keepdim=True)) * MASK, MASK)
    error = (found - turned).norm(dim=1)[0][MASK[0] > 0]
    assert float(error.mean()) < 0.5 * float(turned.norm(dim=1)[0][MASK[0] > 0].mean())


def test_a_large_photo_is_smoothed_as_a_small_one_is() -> None:
    large = torch.nn.functional.interpolate(folded() * MASK, scale_factor=10, mode="bilinear") * 10
    mask = torch.nn.functional.interpolate(MASK[None], scale_factor=10)[0]
    found = limit_stretch(large, mask)
    assert stretched_fraction(found, mask) <= LEFT
    assert float(found[0, 0][mask[0] > 0].mean()) == pytest.approx(60, abs=10)


def test_an_affine_motion_that_stretches_too_much_stretches_as_much_as_is_allowed() -> None:
    found = limit_stretch(moved(stretch_xy=(4.0, 1.0)), MASK)
    assert stretched_fraction(found, MASK, 1.7) <= LEFT
    assert stretched_fraction(found, MASK, 1.5) > LEFT


@pytest.mark.parametrize("most", [0.0, 1000.0])
def test_without_a_limit_nothing_changes(most) -> None:
    assert torch.equal(limit_stretch(folded(), MASK, most), folded())
