import torch
from hypothesis import given
from hypothesis import strategies as st

from mtransfer.flow.field import translate_flow
from mtransfer.media.crop import WHOLE, swept, window
from mtransfer.sampling.composite import make_composite


def changing(top: int, bottom: int, left: int, right: int, size=(600, 900)) -> torch.Tensor:
    edit = torch.zeros(1, 1, *size)
    edit[..., top:bottom, left:right] = 1
    return edit


@given(st.integers(0, 599), st.integers(1, 400), st.integers(0, 899), st.integers(1, 600), st.sampled_from([256, 512]))
def test_the_window_holds_all_that_changes_and_is_as_long_as_the_model(top, height, left, width, side) -> None:
    bottom, right = min(600, top + height), min(900, left + width)
    rows, columns = window(changing(top, bottom, left, right), 0.35, side)
    assert 0 <= rows.start <= top < bottom <= rows.stop <= 600
    assert 0 <= columns.start <= left < right <= columns.stop <= 900
    assert rows.stop - rows.start >= side
    assert columns.stop - columns.start >= side


def test_there_are_surroundings_on_every_side_where_the_photo_has_them() -> None:
    rows, columns = window(changing(200, 400, 300, 600), 0.35, 256)
    assert (rows.start, rows.stop) == (200 - 105, 400 + 105)
    assert (columns.start, columns.stop) == (300 - 105, 600 + 105)


def test_a_photo_smaller_than_the_model_is_taken_whole() -> None:
    assert window(changing(10, 20, 10, 20, (100, 130)), 0.35, 256) == (slice(0, 100), slice(0, 130))


def test_where_there_is_nothing_all_is_taken() -> None:
    assert window(torch.zeros(1, 1, 50, 60), 0.5) == WHOLE
    assert swept(torch.zeros(1, 2, 50, 60), torch.zeros(1, 1, 50, 60), 4) == WHOLE


@given(st.integers(-70, 70), st.integers(-70, 70))
def test_what_is_swept_holds_the_old_and_the_new_place(dx, dy) -> None:
    mask = changing(60, 90, 80, 130, (150, 200))
    rows, columns = swept(translate_flow((150, 200), dx, dy).flow, mask, 5)
    for moved_x, moved_y in ((0, 0), (dx, dy)):
        assert rows.start <= max(0, 60 + moved_y - 5) < min(150, 90 + moved_y + 5) <= rows.stop
        assert columns.start <= max(0, 80 + moved_x - 5) < min(200, 130 + moved_x + 5) <= columns.stop


def test_a_draft_is_the_same_wherever_the_window_lies() -> None:
    """A picture with more around it is drafted the same in the middle."""
    small = torch.rand(1, 3, 120, 160, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.pad(small, (90, 90, 80, 80), mode="replicate")
    drafts = []
    for photo, top, left in ((small, 40, 40), (large, 120, 130)):
        mask = changing(top, top + 30, left, left + 40, (photo.shape[-2], photo.shape[-1]))
        flow = translate_flow((photo.shape[-2], photo.shape[-1]), 30, 10).flow * mask
        drafts.append(make_composite(photo, flow, mask, photo))
    moved = drafts[1].target[..., 80:-80, 90:-90]
    torch.testing.assert_close(drafts[0].target, moved)
    inside = (moved > 0.5).expand_as(small)
    torch.testing.assert_close(drafts[0].image[inside], drafts[1].image[..., 80:-80, 90:-90][inside])
