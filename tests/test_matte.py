import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.matte import REACH_PX, enlarge_mask
from mtransfer.warp import grow, pixel_grid

SIZE, SMALL = (240, 320), (60, 80)


def disc() -> Tensor:
    """The true mask, soft over a pixel."""
    x, y = pixel_grid(torch.zeros(1, 2, *SIZE))[0]
    return (80.5 - ((x - 161.3).square() + (y - 118.7).square()).sqrt()).clamp(0, 1)[None]


def picture(contrast: float = 1.0) -> Tensor:
    red, green = (torch.tensor(colour).view(3, 1, 1) for colour in ((0.7, 0.2, 0.1), (0.2, 0.5, 0.3)))
    noise = 0.04 * torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
    return green + contrast * disc() * (red - green) + noise


def small_mask() -> Tensor:
    return (F.interpolate(disc()[None], SMALL, mode="area")[0] > 0.5).float()


def test_the_outline_follows_the_large_pictures_edges() -> None:
    plain = F.interpolate(small_mask()[None], SIZE, mode="bilinear", align_corners=False)[0]
    drawn = enlarge_mask(picture(), small_mask())
    assert drawn.shape == disc().shape
    assert float((drawn - disc()).abs().sum()) < 0.4 * float((plain - disc()).abs().sum())


def test_an_outline_that_is_a_pixel_off_comes_nearer() -> None:
    off = grow(small_mask()[None], 1)[0]
    plain = F.interpolate(off[None], SIZE, mode="bilinear", align_corners=False)[0]
    error = (enlarge_mask(picture(), off) - disc()).abs().sum()
    assert float(error) < 0.7 * float((plain - disc()).abs().sum())


def test_away_from_the_outline_nothing_changes() -> None:
    drawn, wide = enlarge_mask(picture(), small_mask()), 4 * (REACH_PX + 2)
    assert bool((drawn[grow(1 - disc()[None], wide)[0] == 0] == 1).all())
    assert bool((drawn[grow(disc()[None], wide)[0] == 0] == 0).all())


def test_without_edges_the_mask_is_as_it_was() -> None:
    drawn = enlarge_mask(picture(contrast=0.0), small_mask())
    found = (F.interpolate(drawn[None], SMALL, mode="area")[0] > 0.5).float()
    assert float((found - small_mask()).abs().mean()) < 0.02
