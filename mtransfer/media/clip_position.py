"""Positions in a clip, as frame numbers or seconds."""

from bisect import bisect_right
from fractions import Fraction

from mtransfer.errors import InputError
from mtransfer.media.video import Clip, require_frame

# Matroska rounds times to milliseconds, and people do: a frame that starts so little later is the one that is meant,
ROUNDED_S = Fraction(1, 2000)
ROUNDED_SHARE = Fraction(1, 10)  # at most so much, of the time since the frame before


def require_pair(clip: Clip) -> None:
    """Raises InputError when the clip has fewer than two frames, so that nothing in it can move."""
    if clip.frame_count < 2:
        raise InputError(f"{clip.path} holds one frame; motion needs at least two frames, give a longer clip")


def parse_position(text: str, clip: Clip) -> int:
    """Frame index of a position: `12` is a frame number, from 0; `1.5s` is the frame shown 1.5 seconds in.

    Raises InputError when the text is neither or lies outside the clip.
    """
    text = text.strip()
    try:
        if not text.endswith("s"):
            return require_frame(int(text), clip)
        time_s = float(text[:-1])
    except ValueError:
        raise InputError(f"'{text}' is no clip position; write a frame number such as 12, or seconds: 1.5s") from None
    if not 0 <= time_s <= clip.duration_s:
        raise InputError(f"position {text} is outside {clip.path}; it lasts from 0s to {clip.duration_s:.3f}s")
    return frame_at(Fraction(text[:-1]), clip)


def frame_at(time_s: Fraction, clip: Clip) -> int:
    """The index of the frame that is shown at a time."""
    shown = bisect_right(clip.ticks, time_s / clip.time_base) - 1
    following = shown + 1
    if following < clip.frame_count:
        gap_s = (clip.ticks[following] - clip.ticks[shown]) * clip.time_base
        if clip.ticks[following] * clip.time_base - time_s <= min(ROUNDED_S, ROUNDED_SHARE * gap_s):
            return following
    return shown


def parse_pair(text: str, clip: Clip) -> tuple[int, int]:
    """Frame indices (A, B) of `A:B`, each a position of the clip; B may come before A. Raises InputError."""
    require_pair(clip)
    first, colon, second = text.partition(":")
    if not colon:
        raise InputError(f"'{text}' is no pair of clip positions; write A:B, such as 0:24 or 0.5s:1.5s")
    pair = parse_position(first, clip), parse_position(second, clip)
    if pair[0] == pair[1]:
        raise InputError(f"pair {text} names frame {pair[0]} of {clip.path} twice; name two different frames")
    return pair
