import numpy as np
import pytest
from pictures_of_things import sample

from mtransfer.subject.detection.picture import Picture


@pytest.fixture(scope="module")
def large() -> Picture:
    rows, columns = np.mgrid[:1200, :2400]
    return Picture(np.stack([columns // 10, rows // 10, 0 * rows], axis=-1).astype(np.uint8))


def test_its_sizes(large) -> None:
    assert large.size == (256, 512)
    assert large.large.shape == (800, 1600, 3)
    assert large.pixels.shape == (1200, 2400, 3)


def test_a_small_picture_is_no_larger_than_it_is() -> None:
    pixels = np.zeros((30, 50, 3), np.uint8)
    assert Picture(pixels).small is pixels
    assert Picture(np.zeros((1, 4000, 3), np.uint8)).size == (1, 512)


def test_a_crop_is_the_large_copys_part(large) -> None:
    crop = large.crop((128, 64, 256, 128))
    assert crop.shape == (200, 400, 3)
    assert crop[0, 0, :2] == pytest.approx((60, 30), abs=1)
    assert crop[-1, -1, :2] == pytest.approx((120, 60), abs=1)
    assert large.crop((5, 5, 5, 5)).shape == (1, 1, 3)


def test_saliency_in_a_box_is_nothing_outside_it() -> None:
    picture = Picture(sample("kite.jpg"))
    values = picture.saliency_in((150, 80, 390, 290), 160)
    assert values.shape == picture.size
    assert values[170, 240] > 0.8
    inside = np.zeros(picture.size, bool)
    inside[80:290, 150:390] = True
    assert values[~inside].max() == 0
