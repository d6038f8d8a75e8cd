import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.flow.interpolate import push_pull
from mtransfer.sampling.patchmatch import fill_exemplar

SIZE = 128


def hole(size: int = SIZE, share: float = 0.25) -> Tensor:
    mask = torch.zeros(1, 1, size, size)
    low, high = round((0.5 - share / 2) * size), round((0.5 + share / 2) * size)
    mask[..., low:high, low:high] = 1
    return mask


def stripes(size: int = SIZE, period_px: float = 8.0) -> Tensor:
    wave = 0.5 + 0.4 * torch.sin(torch.arange(size) * 2 * torch.pi / period_px)
    return wave.expand(1, 3, size, size).clone()


def grain(size: int = SIZE) -> Tensor:
    rough = torch.rand(1, 3, size // 2, size // 2, generator=torch.Generator().manual_seed(1))
    return F.interpolate(rough, (size, size), mode="bicubic").clamp(0, 1)


def painted_red(picture: Tensor, where: Tensor) -> Tensor:
    return torch.where(where > 0, torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1), picture)


def gradient_energy(picture: Tensor, where: Tensor) -> float:
    inside = where[..., :-1] > 0
    return float(picture.diff(dim=-1)[inside.expand(1, 3, -1, -1)].square().mean())


def error(filled: Tensor, truth: Tensor, where: Tensor) -> float:
    return float((filled - truth).abs()[(where > 0).expand_as(truth)].mean())


@pytest.mark.parametrize("size", [SIZE, 600], ids=["at working size", "beyond it"])
def test_a_pattern_goes_on_through_the_hole(size) -> None:
    picture, where = stripes(size, size / 16), hole(size)
    filled = fill_exemplar(painted_red(picture, where), where)
    smooth = push_pull(painted_red(picture, where), 1 - where)
    assert error(filled, picture, where) < 0.25 * error(smooth, picture, where)


@pytest.mark.parametrize("size", [SIZE, 600], ids=["at working size", "beyond it"])
def test_a_horizon_goes_on_through_the_hole(size) -> None:
    ground = (torch.arange(size) > 0.55 * size).float().view(1, 1, size, 1)
    picture, where = 0.3 + 0.4 * ground + 0.1 * grain(size), hole(size)
    filled = fill_exemplar(painted_red(picture, where), where)
    below = (filled - picture + 0.4 * ground).mean(dim=1, keepdim=True) > 0.2
    wrong = (below != (ground > 0)) & (where > 0)
    assert float(wrong.sum() / (where > 0).sum()) < 0.1


@pytest.mark.parametrize("size", [SIZE, 600], ids=["at working size", "beyond it"])
def test_grain_stays_grain(size) -> None:
    picture, where = grain(size), hole(size)
    filled = fill_exemplar(painted_red(picture, where), where)
    assert 0.7 < gradient_energy(filled, where) / gradient_energy(picture, where) < 1.4
    smooth = push_pull(painted_red(picture, where), 1 - where)
    assert gradient_energy(smooth, where) < 0.2 * gradient_energy(picture, where)


@pytest.mark.parametrize("size", [SIZE, 400])
def test_nothing_of_the_hole_is_used_and_nothing_around_it_changes(size) -> None:
    picture, where = grain(size), hole(size)
    first = fill_exemplar(painted_red(picture, where), where)
    second = fill_exemplar(torch.where(where > 0, 0.3, picture), where)
    assert torch.equal(first, second)
    known = (where == 0).expand_as(picture)
    assert torch.equal(first[known], picture[known])
    assert first.isfinite().all()


def test_colours_meet_at_the_border_of_the_hole() -> None:
    """A slope of brightness: any copied patch is too dark or too light somewhere."""
    slope = torch.linspace(0.1, 0.9, SIZE).view(1, 1, SIZE, 1).expand(1, 3, SIZE, SIZE)
    picture, where = 0.9 * slope + 0.1 * grain(), hole()
    filled = fill_exemplar(painted_red(picture, where), where)
    step = (filled - F.pad(filled, (0, 0, 1, 0), mode="replicate")[..., :-1, :]).abs().mean(dim=1)[0]
    row = where[0, 0, :, SIZE // 2].nonzero()[0]
    columns = where[0, 0, row].flatten() > 0
    assert step[row, columns].mean() < 1.5 * step[row - 8, columns].mean()


def test_without_a_hole_or_with_nothing_else_there_is_nothing_to_do() -> None:
    picture = grain()
    assert torch.equal(fill_exemplar(picture, torch.zeros(1, 1, SIZE, SIZE)), picture)
    assert torch.equal(fill_exemplar(picture, torch.ones(1, 1, SIZE, SIZE)), picture)


def test_a_hole_that_leaves_no_whole_patch_is_filled_smoothly() -> None:
    picture, where = grain(), torch.ones(1, 1, SIZE, SIZE)
    where[..., :3] = 0
    filled = fill_exemplar(picture, where)
    torch.testing.assert_close(filled, push_pull(picture, 1 - where))


@pytest.mark.parametrize("size", [(6, 900), (40, 2000), (3, 40)])
def test_a_strip_is_filled_too(size) -> None:
    picture = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    where = torch.zeros(1, 1, *size)
    where[..., size[1] // 3 : size[1] // 2] = 1
    filled = fill_exemplar(painted_red(picture, where), where)
    assert filled.isfinite().all()
    assert 0.2 < float(filled[(where > 0).expand_as(filled)].mean()) < 0.8
    assert torch.equal(filled[..., : size[1] // 3], picture[..., : size[1] // 3])


def test_known_pixels_along_the_border_alone_are_enough() -> None:
    picture, where = grain(400), torch.ones(1, 1, 400, 400)
    where[..., :16, :] = 0
    filled = fill_exemplar(painted_red(picture, where), where)
    assert filled.isfinite().all()
    assert torch.equal(filled[..., :16, :], picture[..., :16, :])
