import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.flow.field import translate_flow
from mtransfer.sampling.highres import Part, model_size, with_detail

SIZE, SMALL = (64, 96), (16, 24)


@pytest.mark.parametrize(
    ("size", "long_side", "wanted"),
    [
        ((600, 900), 256, (192, 256)),
        ((900, 600), 512, (512, 320)),
        ((100, 1000), 256, (128, 256)),
        ((64, 64), 256, (256, 256)),
    ],
)
def test_the_models_size_keeps_the_shape(size, long_side, wanted) -> None:
    assert model_size(size, long_side) == wanted


def checks(step: int) -> Tensor:
    y, x = (torch.arange(side) // step for side in SIZE)
    return (0.3 + 0.4 * ((y[:, None] + x[None]) % 2)).expand(1, 3, *SIZE)


def part(own: Tensor, start: Tensor) -> Part:
    everywhere = torch.ones(1, 1, *SIZE)
    return Part(translate_flow(SIZE, 4, 0), own, everywhere, own, start, everywhere)


def small(image: Tensor) -> Tensor:
    return F.interpolate(image, SMALL, mode="area")


def test_what_shows_the_draft_is_as_sharp_as_the_draft() -> None:
    own, start = checks(16), checks(16).roll(16, 3) + 0.05 * (checks(2) - 0.5)
    torch.testing.assert_close(with_detail(part(own, start), small(start)), start, atol=1e-5, rtol=0)


def test_what_shows_the_photo_is_as_sharp_as_the_photo() -> None:
    own, start = checks(2), torch.ones(1, 3, *SIZE)
    torch.testing.assert_close(with_detail(part(own, start), small(own)), own, atol=1e-5, rtol=0)


def test_what_shows_something_else_gets_no_lines_of_either() -> None:
    own, start = checks(2), checks(4)
    sampled = torch.full((1, 3, *SMALL), 0.9)
    torch.testing.assert_close(with_detail(part(own, start), sampled), torch.full_like(own, 0.9), atol=1e-3, rtol=0)
