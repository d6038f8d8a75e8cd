import numpy as np
import pytest

from mtransfer.subject.regions import (
    bounding_box,
    connected_parts,
    cut_fraction,
    deepest_point,
    dilate,
    erode,
    fill_holes,
    hysteresis_threshold,
    overlap,
    solidity,
    with_margin,
)


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    region = np.zeros((40, 60), bool)
    region[y0:y1, x0:x1] = True
    return region


LARGE, SMALL = box(5, 5, 25, 25), box(40, 30, 46, 34)


def test_parts_come_the_largest_first_and_specks_not() -> None:
    parts = connected_parts(SMALL | LARGE)
    assert [np.array_equal(*pair) for pair in zip(parts, (LARGE, SMALL), strict=True)] == [True, True]
    assert len(connected_parts(SMALL | LARGE, 25)) == 1
    assert connected_parts(np.zeros((4, 4), bool)) == []


def test_hysteresis_keeps_what_rises_high_somewhere() -> None:
    values = (0.5 * LARGE + 0.5 * SMALL).astype(np.float32)
    values[10, 10] = 0.9
    assert np.array_equal(hysteresis_threshold(values, 0.4, 0.8), LARGE)
    assert not hysteresis_threshold(values, 0.4, 0.95).any()


def test_small_holes_close_and_large_ones_and_bays_stay() -> None:
    pinhole, hole, bay = box(8, 8, 10, 10), box(12, 12, 22, 22), box(5, 14, 7, 16)
    assert np.array_equal(fill_holes(LARGE & ~pinhole & ~hole, 0.05), LARGE & ~hole)
    assert np.array_equal(fill_holes(LARGE & ~bay, 0.05), LARGE & ~bay)
    corner = box(0, 0, 25, 25) & ~box(0, 0, 2, 2)
    assert np.array_equal(fill_holes(corner, 0.05), corner)


def test_growing_and_shrinking_by_a_disc() -> None:
    assert bounding_box(dilate(LARGE, 3)) == (2, 2, 28, 28)
    assert bounding_box(erode(LARGE, 3)) == (8, 8, 22, 22)
    assert erode(np.ones((9, 9), bool), 2).all()  # the picture's border is no edge


def test_boxes_and_their_margins() -> None:
    assert bounding_box(LARGE | SMALL) == (5, 5, 46, 34)
    assert with_margin((10, 10, 30, 20), 0.25, (40, 60)) == (5, 6, 35, 24)
    assert with_margin((1, 2, 59, 39), 0.25, (40, 60)) == (0, 0, 60, 40)


def test_what_a_crop_cuts_off_but_the_picture_does_not() -> None:
    assert cut_fraction(LARGE, (0, 0, 30, 30)) == 0
    assert cut_fraction(LARGE & box(0, 0, 15, 40), (0, 0, 15, 40)) == pytest.approx(20 / 56)
    assert cut_fraction(box(0, 5, 20, 25), (0, 0, 30, 40)) == 0


def test_overlap_and_solidity() -> None:
    assert overlap(LARGE, box(15, 5, 35, 25)) == pytest.approx(1 / 3)
    assert overlap(LARGE & SMALL, LARGE & SMALL) == 0
    assert solidity(LARGE) == pytest.approx(1, abs=0.15)
    assert solidity(LARGE & ~box(10, 5, 20, 25) | box(5, 5, 25, 8)) < 0.7


def test_the_deepest_point_is_in_the_middle_and_off_the_border() -> None:
    x, y = deepest_point(LARGE | SMALL)
    assert (x, y) == pytest.approx((14.5, 14.5), abs=1)
    assert deepest_point(np.ones((21, 21), bool)) == (10, 10)
