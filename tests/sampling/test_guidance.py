"""The terms of the energy."""

import torch
from torch import Tensor

from mtransfer.sampling.guidance import color_term

SIDE_PX = 16
STILL = torch.zeros(1, 2, SIDE_PX, SIDE_PX)
SEEN = torch.ones(1, 1, SIDE_PX, SIDE_PX)


def slope(difference: Tensor, rounding: float) -> Tensor:
    """The gradient of the colour term at a picture that differs so from the source."""
    source = torch.full((1, 3, SIDE_PX, SIDE_PX), 0.5)
    image = (source + difference).requires_grad_(True)
    (gradient,) = torch.autograd.grad(color_term(source, image, STILL, SEEN, rounding).sum(), image)
    return gradient


def differing() -> Tensor:
    """Next to nothing everywhere, and a tenth in one corner."""
    difference = 1e-4 * torch.randn(1, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(0))
    difference[..., :4, :4] += 0.1
    return difference


def test_without_rounding_the_colour_term_is_the_mean_absolute_difference() -> None:
    source, image = torch.rand(2, 1, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(color_term(source, image, STILL, SEEN)[0], (source - image).abs().mean())
    assert 0 < color_term(source, image, STILL, SEEN, 0.02) < color_term(source, image, STILL, SEEN)


def test_rounded_the_push_is_where_the_pictures_differ() -> None:
    shares = {
        r: slope(differing(), r)[..., :4, :4].square().sum() / slope(differing(), r).square().sum() for r in (0.0, 0.02)
    }
    assert shares[0.0] < 0.1
    assert shares[0.02] > 0.99


def test_rounded_the_push_does_not_turn_with_noise() -> None:
    noise = 1e-4 * torch.randn(1, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(2))
    for rounding, low, high in ((0.0, -1.0, 0.9), (0.02, 0.999, 1.1)):
        pair = [slope(difference, rounding).flatten() for difference in (differing(), differing() + noise)]
        assert low < torch.nn.functional.cosine_similarity(*pair, dim=0) < high
