"""Which frames are shown, how fast, and in what order."""

from fractions import Fraction
from pathlib import Path

import pytest

from mtransfer.errors import InputError
from mtransfer.jobs.recipe import LEAST_FPS, MOST_FPS
from mtransfer.media.frame_selection import MOST_FRAMES, choose_frames, formats, play_order, shown_for_s, shown_fps
from mtransfer.media.video import Clip


def clip(frames: int = 48, fps: float = 24.0) -> Clip:
    return Clip(Path("a.mp4"), (90, 160), tuple(range(frames)), frames, 1 / Fraction(fps))


def one_shot(first: int | None) -> range:
    return range(48)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", range(48)),
        ("12:36", range(12, 36)),
        ("12:36:5", range(12, 36, 5)),
        ("0:48", range(48)),
        (":10", range(10)),
        ("40:", range(40, 48)),
        ("::4", range(0, 48, 4)),
        ("0.5s:1s", range(12, 24)),
        ("1s:40:2", range(24, 40, 2)),
    ],
)
def test_frames_are_positions_without_the_last(text, wanted) -> None:
    assert list(choose_frames(text, clip(), one_shot)) == list(wanted)


def test_what_is_left_out_is_the_shots() -> None:
    def two_shots(first: int | None) -> range:
        return range(10, 30) if first is None or first < 30 else range(30, 48)

    assert choose_frames("", clip(), two_shots) == range(10, 30)
    assert list(choose_frames(":20", clip(), two_shots)) == list(range(10, 20))
    assert list(choose_frames("12:", clip(), two_shots)) == list(range(12, 30))
    assert list(choose_frames("32:", clip(), two_shots)) == list(range(32, 48))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("12", "--frames 12: write A:B or A:B:S"),
        ("1:2:3:4", "write A:B or A:B:S"),
        ("0:60", "frame 60 is outside a.mp4"),
        ("a:b", "'a' is no clip position"),
        ("0:10:0", "'0' is no step"),
        ("0:10:-1", "'-1' is no step"),
        ("5:6", "--frames 5:6: 1 frames; an animation needs at least 2"),
        ("9:5", "0 frames"),
    ],
)
def test_other_ranges_are_refused_in_one_line(text, words) -> None:
    with pytest.raises(InputError) as error:
        choose_frames(text, clip(), one_shot)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_long_clip_is_cut_and_a_long_range_refused(capsys) -> None:
    long = clip(700)
    assert choose_frames("", long, lambda first: range(700)) == range(MOST_FRAMES)
    assert "of 700 frames the first 300 are taken" in capsys.readouterr().err
    with pytest.raises(InputError, match="take every 3th, 0:700:3, or fewer"):
        choose_frames("0:700", long, one_shot)
    assert len(choose_frames("0:700:3", long, one_shot)) <= MOST_FRAMES


def test_the_rate_is_the_clips_over_the_frames_taken() -> None:
    assert shown_fps(range(48), clip()) == 24
    assert shown_fps(range(0, 48, 3), clip()) == 8
    uneven = timed(0.0, 0.1, 0.2, 0.9)
    assert shown_fps([0, 1, 2], uneven) == 10
    assert shown_fps([0, 3], uneven) == pytest.approx(1 / 0.9, abs=1e-3)


def timed(*timestamps_s: float) -> Clip:
    ticks = tuple(round(1e9 * time_s) for time_s in timestamps_s)
    return Clip(Path("a.mp4"), (90, 160), ticks, 10**9, Fraction(1, 10**9))


@pytest.mark.parametrize("timestamps_s", [(0.5, 0.5, 0.5), (0.5, 0.6, 0.2)])
def test_frames_in_which_no_time_passes_need_a_rate(timestamps_s) -> None:
    with pytest.raises(InputError, match=r"^a.mp4: no time passes from frame 0 to 2, .* --fps 24$"):
        shown_fps(range(3), timed(*timestamps_s))


def test_rates_are_those_that_can_be_written() -> None:
    assert shown_fps(range(2), timed(0.0, 1e-9)) == MOST_FPS
    assert shown_fps(range(2), timed(0.0, 1e5)) == LEAST_FPS


def test_pingpong_shows_neither_end_twice() -> None:
    assert play_order(4, "none") == [0, 1, 2, 3]
    assert play_order(4, "pingpong") == [0, 1, 2, 3, 2, 1]
    assert play_order(2, "pingpong") == [0, 1]


def test_formats_are_named() -> None:
    assert formats("mp4, gif") == ["mp4", "gif"]
    for text in ("", "mp4,webm"):
        with pytest.raises(InputError, match="is none of mp4,gif,png"):
            formats(text)


UNEVEN = timed(0.0, 0.1, 0.2, 0.6, 0.65)


@pytest.mark.parametrize(
    ("frames", "loop", "fps", "wanted"),
    [
        ([0, 1, 2], "none", 5.0, [0.2] * 3),  # even, at half the clip's pace
        ([1, 2, 3, 4], "none", 0.0, [0.1, 0.4, 0.05, 0.35]),
        ([1, 2, 3, 4], "none", 10.0, [0.1 * 6 / 11, 0.4 * 6 / 11, 0.05 * 6 / 11, 0.35 * 6 / 11]),
        ([0, 2, 4], "none", 0.0, [0.2, 0.45, 0.35]),
        ([0, 2, 3], "none", 0.0, [0.2, 0.4, 0.05]),
        ([1, 2, 3], "pingpong", 0.0, [0.1, 0.4, 0.4, 0.1]),
    ],
)
def test_frames_are_shown_as_long_as_the_clip_shows_them(frames, loop, fps, wanted) -> None:
    order = play_order(len(frames), loop)
    fps = fps or shown_fps(frames, UNEVEN)
    assert shown_for_s(order, frames, UNEVEN, fps) == pytest.approx(wanted)


def test_times_rounded_to_milliseconds_are_even() -> None:
    rounded = timed(*(round(frame / 24, 3) for frame in range(13)))
    assert set(shown_for_s(list(range(13)), range(13), rounded, 24.0)) == {1 / 24}
