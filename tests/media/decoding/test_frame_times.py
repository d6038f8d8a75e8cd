"""When frames are shown, from packets where they tell it, else from what a decoder gives."""

from dataclasses import replace

import pytest

from mtransfer.media.decoding.frame_times import PacketRow, ascending, end_of, times_of_packets

MP4 = "mov,mp4,m4a,3gp,3g2,mj2"


def packets(*pts: int, keys: tuple[int, ...] = (0,)) -> list[PacketRow]:
    return [PacketRow(time, place, 1, place in keys, False, 9) for place, time in enumerate(pts)]


CLOSED = packets(0, 3, 1, 2, 4, 7, 5, 6, keys=(0, 4))


def test_packets_of_closed_groups_tell_all_times():
    assert times_of_packets(CLOSED, MP4, "h264") == list(range(8))


@pytest.mark.parametrize(
    ("rows", "container", "codec"),
    [
        (CLOSED, "mpegts", "h264"),
        (CLOSED, MP4, "vp8"),  # has packets that are not shown
        (packets(0, 3, 1, 2, 7, 5, 6, keys=(0, 4)), MP4, "h264"),  # open: 5 and 6 come after key frame 7
        (packets(0, 1, keys=(1,)), MP4, "h264"),
        (packets(0, 1, 1), MP4, "h264"),
        ([replace(CLOSED[0], is_hidden=True), *CLOSED[1:]], MP4, "h264"),
        ([*CLOSED, replace(CLOSED[-1], pts=None)], MP4, "h264"),
        ([*CLOSED, replace(CLOSED[-1], pts=9, size=0)], MP4, "h264"),
        ([], MP4, "h264"),
    ],
)
def test_other_packets_do_not(rows, container, codec):
    assert times_of_packets(rows, container, codec) is None


@pytest.mark.parametrize(
    ("pts", "dts", "wanted"),
    [
        ([5, 6, 9], [None] * 3, [5, 6, 9]),
        ([1, 3, 2, 4], [2, 3, 4, 5], [1, 2, 3, 4]),  # AVI
        ([None, 1, 2], [3, 4, 6], [3, 4, 6]),
        ([None] * 3, [None] * 3, [0, 10, 20]),
        ([1000, 1010, 1020, 5, 15], [None] * 5, [0, 10, 20, 30, 40]),  # the clock was set back
    ],
)
def test_times_ascend_whatever_a_decoder_gives(pts, dts, wanted):
    found = ascending(pts, dts, 10)
    assert [time - found[0] for time in found] == [time - wanted[0] for time in wanted]


def test_a_clock_that_jumps_far_is_no_reordering():
    pts = [*range(100, 140), *range(40)]
    assert ascending(pts, [None] * 80, 1) == list(range(80))


def test_the_last_frame_lasts_as_long_as_is_usual_where_nothing_tells():
    assert end_of([0, 10, 20, 90], 0, 1) == 100
    assert end_of([0, 10, 20, 90], 5, 1) == 95
    assert end_of([7], 0, 4) == 11
