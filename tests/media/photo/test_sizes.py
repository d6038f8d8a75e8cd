"""Sizes are judged before any work: what is taken works, what is not is refused in one line."""

import pytest

from mtransfer.errors import InputError
from mtransfer.media.photo.sizes import LEAST_PX, require_size, shrunk


@pytest.mark.parametrize("size", [(12, 12), (12, 2400), (2400, 12), (150, 30_000), (30_000, 150), (1080, 1920)])
def test_sizes_that_are_taken(size: tuple[int, int]) -> None:
    require_size(size, "a.png")
    height, width = shrunk(size, 512)
    assert min(height, width) >= min(LEAST_PX, *size)
    assert abs(height / size[0] - width / size[1]) < 0.6 / min(height, width)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((11, 400), "at least 12 each way"),
        ((400, 11), "at least 12 each way"),
        ((200, 30_001), "at most 30000 each way"),
        ((12, 2401), "more than 200 times"),
        ((30_000, 149), "more than 200 times"),
    ],
)
def test_sizes_that_are_refused(size: tuple[int, int], words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        require_size(size, "a.png")
    assert str(refused.value).startswith(f"a.png: {size[1]} x {size[0]} pixels")
    assert "\n" not in str(refused.value)


def test_ordinary_pictures_are_shrunk_to_the_long_side_alone() -> None:
    assert shrunk((1080, 1920), 512) == (288, 512)
    assert shrunk((300, 400), 512) == (300, 400)
