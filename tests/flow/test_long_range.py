import numpy as np
import pytest
import torch
from sliding_square import CPU, LEFT, SIZE, SQUARE_PX, TOP, sliding, texture
from torch import Tensor

from mtransfer.flow.estimator import DisFlow
from mtransfer.flow.field import FlowField, affine_flow, translate_flow
from mtransfer.flow.long_range import as_floats, compared, follow, read_links
from mtransfer.flow.warp import backward_warp, pixel_grid


def turning(degrees: list[float]) -> Tensor:
    """A textured picture turned by so much in each frame."""
    picture = texture(*SIZE, seed=3)[None]
    turned = [backward_warp(picture, affine_flow(SIZE, (63.5, 47.5), rotate_deg=-each).flow) for each in degrees]
    return (255 * torch.cat(turned)).round().byte()


def followed(pictures: Tensor, start: int, wanted: list[int]) -> FlowField:
    links = read_links(DisFlow(), pictures, CPU, lambda done, total: None)
    return follow(links, pictures, start, wanted, CPU)


def inner() -> tuple[slice, slice]:
    """Well inside the square of the first frame."""
    return slice(TOP + 8, TOP + SQUARE_PX - 8), slice(LEFT + 8, LEFT + SQUARE_PX - 8)


def test_motion_adds_up_over_frames() -> None:
    shifts = [6 * t for t in range(11)]
    field = followed(sliding(shifts), 0, list(range(11)))
    rows, columns = inner()
    for t, shift in enumerate(shifts):
        gap = field.flow[t, :, rows, columns] - torch.tensor([float(shift), 0.0]).view(2, 1, 1)
        assert gap.norm(dim=0).mean() < 0.3, t
        assert field.confidence[t, :, rows, columns].mean() > 0.95
    assert not field.flow[0].any()
    assert bool((field.confidence[0] == 1).all())


def test_frames_before_the_reference_are_reached_too() -> None:
    pictures = sliding([6 * t for t in range(7)])
    field = followed(pictures.flip(0), 6, [0, 3, 5, 6])
    rows, columns = inner()
    found = field.flow[:, 0, rows, columns].mean(dim=(1, 2))
    torch.testing.assert_close(found, torch.tensor([36.0, 18.0, 6.0, 0.0]), atol=0.4, rtol=0)


def test_errors_do_not_add_up_on_the_way_there_and_back() -> None:
    """Without the comparison with the reference itself each of the 48 links would add its own."""
    there = [2 * t for t in range(25)]
    field = followed(sliding(there + there[-2::-1]), 0, [48])
    rows, columns = inner()
    assert field.flow[0, :, rows, columns].norm(dim=0).mean() < 0.45


def test_a_turn_is_followed() -> None:
    degrees = [4.0 * t for t in range(8)]
    field = followed(turning(degrees), 0, [7])
    truth = affine_flow(SIZE, (63.5, 47.5), rotate_deg=degrees[-1]).flow
    near = slice(24, 72), slice(40, 88)
    assert (field.flow - truth)[..., near[0], near[1]].norm(dim=1).mean() < 0.3


def test_what_goes_behind_something_is_not_trusted_and_is_found_again() -> None:
    """Over several bars: how much of one is found again hangs on hundredths of a pixel."""
    shifts, off, again = [6 * t for t in range(12)], list[float](), list[float]()
    for left in (58, 60, 62, 64):
        field = followed(sliding(shifts, range(left, left + 12)), 0, list(range(12)))
        hidden = (slice(TOP + 10, TOP + 30), slice(LEFT + 17, LEFT + 23))
        behind = shifts.index(36)  # the columns 29 to 34 are now behind the bar
        assert field.confidence[behind][:, hidden[0], hidden[1]].mean() < 0.4
        off.append(float((field.flow[-1, 0, hidden[0], hidden[1]] - shifts[-1]).abs().median()))
        again.append(float(field.confidence[-1][:, hidden[0], hidden[1]].mean()))
    assert np.mean(off) < 0.6
    assert np.mean(again) > 0.8


def test_what_leaves_the_picture_is_not_trusted() -> None:
    pictures = torch.stack([sliding([0])[0].roll(-8 * t, -1) for t in range(4)])
    pictures[1:, :, :, -8:] = 0
    field = followed(pictures, 0, [3])
    assert field.confidence[..., :20].mean() < 0.2
    assert field.confidence[..., 40:90].mean() > 0.9


def test_the_chain_is_kept_where_a_direct_comparison_fails() -> None:
    reference = texture(*SIZE, seed=4)[None]
    reference[..., :, :64] = 0.5
    picture = backward_warp(reference, translate_flow(SIZE, -7, -2).flow, padding_mode="border")
    chained = translate_flow(SIZE, 7, 2)
    doubted = FlowField(chained.flow, 0.7 * chained.confidence)
    found = compared(reference, picture, doubted)
    kept = found.confidence[0, 0] < 1
    torch.testing.assert_close(found.flow[:, :, kept], chained.flow[:, :, kept])


def test_a_chain_to_something_else_is_not_trusted() -> None:
    found = compared(texture(*SIZE, seed=4)[None], texture(*SIZE, seed=5)[None], translate_flow(SIZE, 7, 2))
    assert found.confidence.mean() < 0.15


@pytest.mark.parametrize("off_px", [1.5, -2.0])
def test_a_chain_that_is_off_is_put_right(off_px) -> None:
    reference = texture(*SIZE, seed=6)[None]
    picture = backward_warp(reference, translate_flow(SIZE, -9, -3).flow, padding_mode="border")
    found = compared(reference, picture, translate_flow(SIZE, 9 + off_px, 3 - off_px))
    gap = found.flow - translate_flow(SIZE, 9, 3).flow
    assert gap[..., 16:-16, 16:-24].norm(dim=1).mean() < 0.15


def test_links_go_both_ways_and_are_reported() -> None:
    pictures, told = sliding([0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30]), list[tuple[int, int]]()
    links = read_links(DisFlow(), pictures, CPU, lambda done, total: told.append((done, total)))
    assert told == [(8, 10), (10, 10)]
    rows, columns = inner()
    like = as_floats(pictures[:1], CPU)
    assert links.step(0, 1, like).flow[0, 0, rows, columns].mean() == pytest.approx(3, abs=0.1)
    shifted = columns.start + 30, columns.stop + 30
    assert links.step(10, -1, like).flow[0, 0, rows, slice(*shifted)].mean() == pytest.approx(-3, abs=0.1)
    assert pixel_grid(like).shape[-2:] == links.forward.shape[-2:]


class Far:
    """A flow model that sees the same long motion, of a size that few bits cannot hold, everywhere."""

    def encode(self, source: Tensor) -> None:
        self._size = source.shape

    def flow(self, image: Tensor) -> Tensor:
        return torch.full((len(image), 2, *image.shape[-2:]), LONG_PX)


LONG_PX = 301.0 + 1 / 64


def test_flow_is_kept_to_a_32nd_of_a_pixel_of_a_large_photo() -> None:
    """Read at 512 px, used at 12,000."""
    links = read_links(Far(), sliding([0, 3, 6]), CPU, lambda done, total: None)
    worst = max(float((each.float() - LONG_PX).abs().max()) for each in (links.forward, links.backward))
    assert worst * 12000 / 512 < 1 / 32
    turned = turning([0.0, 9.0])
    found = followed(turned, 0, [1]).flow
    steps = found.flatten().unique().diff()
    assert float(steps.median()) * 12000 / 512 < 1 / 32
