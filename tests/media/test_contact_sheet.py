import pytest
import torch
from torch import Tensor

from mtransfer.flow.field import translate_flow
from mtransfer.flow.visualize import with_flow
from mtransfer.media.contact_sheet import COLUMNS, LABEL_PX, PANEL_PX, sheet

SIZE = (60, 80)
TILE = (round(PANEL_PX * SIZE[0] / SIZE[1]) + LABEL_PX + 8, PANEL_PX + 8)  # of pictures of SIZE


def grey(size: tuple[int, int] = SIZE, level: float = 0.5) -> Tensor:
    return torch.full((3, *size), level)


def square() -> Tensor:
    mask = torch.zeros(1, *SIZE)
    mask[:, 20:40, 30:50] = 1
    return mask


def test_a_flow_colours_what_moves_and_draws_arrows_of_true_length() -> None:
    flow = translate_flow(SIZE, 12, 0).flow[0] * square()
    shown = with_flow(grey(), flow)
    assert torch.equal(with_flow(grey(), 0 * flow), grey().mul(255).byte() / 255)
    changed = (shown - grey()).abs().amax(dim=0) > 0.01
    columns = changed.any(dim=0).nonzero().flatten()
    assert columns.min() == 30
    # The last arrow starts left of column 50 and ends 12 px further, past the square.
    assert 50 < int(columns.max()) < 50 + 12
    assert not changed[:18].any()
    assert (shown[:, 20:40, 30:50].amin(dim=0) < 0.2).any()


def test_arrows_out_of_the_picture_do_no_harm() -> None:
    shown = with_flow(grey(), translate_flow(SIZE, 3000, -5000).flow[0])
    assert shown.shape == (3, *SIZE)
    assert 0 <= shown.min() <= shown.max() <= 1


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (4, 1, 4), (5, 2, 4), (8, 2, 4)])
def test_panels_stand_in_rows_of_four(count, rows, columns) -> None:
    panels = [(f"panel {i}", grey(level=i / 10)) for i in range(count)]
    made = sheet(panels)
    assert COLUMNS == 4
    assert made.shape == (3, rows * TILE[0], columns * TILE[1])
    for i in range(count):
        y, x = i // 4 * TILE[0] + TILE[0] // 2, i % 4 * TILE[1] + TILE[1] // 2
        torch.testing.assert_close(made[:, y, x], grey(level=i / 10)[:, 0, 0], atol=1 / 255, rtol=0)
    if count == 5:
        assert bool((made[:, TILE[0] :, TILE[1] :] == 1).all())


@pytest.mark.parametrize("size", [(40, 400), (400, 40), (1, 700), (900, 1200), (17, 23)])
def test_a_panel_keeps_its_shape_whatever_its_size(size) -> None:
    made = sheet([("", grey(size, 0.0))])
    dark = (made < 0.5).all(dim=0)
    height, width = (int(dark.any(dim=axis).sum()) for axis in (1, 0))
    assert max(height, width) == PANEL_PX
    assert abs(height - max(1, PANEL_PX * size[0] / max(size))) <= 1
    assert abs(width - max(1, PANEL_PX * size[1] / max(size))) <= 1


def test_a_panel_has_its_label_above_it() -> None:
    labelled, bare = sheet([("result", grey(level=1.0))]), sheet([("", grey(level=1.0))])
    rows = (labelled != bare).any(dim=2).any(dim=0).nonzero().flatten()
    assert len(rows) > 5
    assert rows.max() < LABEL_PX


def test_the_flow_on_a_large_photo_is_drawn_small() -> None:
    large = torch.full((3, 1000, 2560), 0.5)
    shown = with_flow(large, translate_flow((1000, 2560), 100, 0).flow[0])
    assert shown.shape == (3, 500, 1280)
    small = with_flow(large[:, :500, :1280], translate_flow((500, 1280), 50, 0).flow[0])
    assert torch.equal(shown, small)
