import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtransfer.render import model_size, window


def changing(top: int, bottom: int, left: int, right: int, size=(600, 900)) -> torch.Tensor:
    edit = torch.zeros(1, 1, *size)
    edit[..., top:bottom, left:right] = 1
    return edit


@given(st.integers(0, 599), st.integers(1, 400), st.integers(0, 899), st.integers(1, 600), st.sampled_from([256, 512]))
def test_the_window_holds_all_that_changes_and_is_as_long_as_the_model(top, height, left, width, side) -> None:
    bottom, right = min(600, top + height), min(900, left + width)
    rows, columns = window(changing(top, bottom, left, right), side)
    assert 0 <= rows.start <= top < bottom <= rows.stop <= 600
    assert 0 <= columns.start <= left < right <= columns.stop <= 900
    assert rows.stop - rows.start >= side
    assert columns.stop - columns.start >= side


def test_there_are_surroundings_on_every_side_where_the_photo_has_them() -> None:
    rows, columns = window(changing(200, 400, 300, 600), 256)
    assert (rows.start, rows.stop) == (200 - 105, 400 + 105)
    assert (columns.start, columns.stop) == (300 - 105, 600 + 105)


def test_a_photo_smaller_than_the_model_is_taken_whole() -> None:
    assert window(changing(10, 20, 10, 20, (100, 130)), 256) == (slice(0, 100), slice(0, 130))


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
