"""Which frames of a clip an animation shows, how fast, and in what order."""

import itertools
from collections.abc import Callable, Sequence

from mtransfer.errors import InputError
from mtransfer.log import warn
from mtransfer.media.clip_position import parse_position, require_pair
from mtransfer.media.frame_rates import LEAST_FPS, MOST_FPS, MOST_FRAMES
from mtransfer.media.video import EVEN_SHARE, Clip

FORMATS = ("mp4", "gif", "png")


def choose_frames(text: str, clip: Clip, shot_of: Callable[[int | None], range]) -> range:
    """The frame numbers of `A:B` (without B) or `A:B:S` (every S-th), each part optional; of "" all of a shot.

    A and B are positions of the clip, frames or seconds; B may also be its end. Where one is left out the shot begins
    or ends: `shot_of` gives the frames of the shot that holds frame A, or of the first one. Raises InputError for what
    is no such range, lies outside the clip, or holds fewer than 2 frames or more than MOST_FRAMES.
    """
    require_pair(clip)
    chosen = _parse(text, clip, shot_of) if text else shot_of(None)
    if not text and len(chosen) > MOST_FRAMES:
        warn(f"{clip.path}: of {len(chosen)} frames the first {MOST_FRAMES} are taken; choose with --frames A:B:S")
        return chosen[:MOST_FRAMES]
    if len(chosen) < 2:
        raise InputError(f"--frames {text}: {len(chosen)} frames; an animation needs at least 2, such as 0:24")
    if len(chosen) > MOST_FRAMES:
        every = -(-len(chosen) * chosen.step // MOST_FRAMES)
        raise InputError(
            f"--frames {text}: {len(chosen)} frames, at most {MOST_FRAMES} can be made; "
            f"take every {every}th, {chosen.start}:{chosen.stop}:{every}, or fewer"
        )
    return chosen


def _parse(text: str, clip: Clip, shot_of: Callable[[int | None], range]) -> range:
    first, *others = text.split(":")
    if len(others) not in (1, 2):
        raise InputError(f"--frames {text}: write A:B or A:B:S, such as 0:24, 1s:2s or 0:90:3")
    shot = shot_of(parse_position(first, clip) if first else None)
    start = parse_position(first, clip) if first else shot.start
    stop = _end(others[0], clip) if others[0] else shot.stop
    step = others[1] if len(others) == 2 else "1"
    if not step.isdecimal() or int(step) < 1:
        raise InputError(f"--frames {text}: '{step}' is no step; write every how many-th frame to take, such as 2")
    return range(start, stop, int(step))


def _end(text: str, clip: Clip) -> int:
    """The first frame that no longer belongs: a position, or one past the last frame."""
    return clip.frame_count if text.strip() == str(clip.frame_count) else parse_position(text, clip)


def shown_fps(frames: Sequence[int], clip: Clip) -> float:
    """At how many frames a second these frames of the clip pass as fast as in the clip itself.

    LEAST_FPS at least and MOST_FPS at most. Raises InputError when the clip says that no time passes.
    """
    passed_s = clip.timestamps_s[frames[-1]] - clip.timestamps_s[frames[0]]
    if passed_s <= 0:
        raise InputError(
            f"{clip.path}: no time passes from frame {frames[0]} to {frames[-1]}, so it has no rate; give one, --fps 24"
        )
    return min(max(round((len(frames) - 1) / passed_s, 3), LEAST_FPS), MOST_FPS)


def shown_for_s(order: Sequence[int], frames: Sequence[int], clip: Clip, fps: float) -> list[float]:
    """How long a film of `fps` frames a second on average shows each of its frames, in the order of `play_order`.

    As long as the clip in proportion, so that one of variable rate keeps its pace; where the clip's frames are even
    to EVEN_SHARE of their distance, all equally long.
    """
    starts_s = [clip.timestamps_s[frame] for frame in frames]
    mean_s = (starts_s[-1] - starts_s[0]) / (len(frames) - 1)
    late_s = (start_s - starts_s[0] - place * mean_s for place, start_s in enumerate(starts_s))
    if all(abs(each_s) <= EVEN_SHARE * mean_s for each_s in late_s):
        return [1 / fps] * len(order)
    slower = 1.0 if fps == shown_fps(frames, clip) else 1 / (fps * mean_s)
    last = 2 * frames[-1] - frames[-2]  # the frame that would come next
    last_s = clip.timestamps_s[last] - starts_s[-1] if last < clip.frame_count else _own_s(frames[-1], clip)
    passed_s = [abs(starts_s[second] - starts_s[first]) for first, second in itertools.pairwise([*order, order[0]])]
    goes_back = order[-1] != len(frames) - 1
    return [slower * each_s for each_s in (passed_s if goes_back else [*passed_s[:-1], last_s])]


def _own_s(frame: int, clip: Clip) -> float:
    """How long the clip shows its last frame."""
    return max(clip.duration_s - clip.timestamps_s[frame], float(clip.time_base))


def play_order(count: int, loop: str) -> list[int]:
    """The order in which `count` frames are played once: pingpong goes back without showing either end twice."""
    return [*range(count), *(range(count - 2, 0, -1) if loop == "pingpong" else ())]


def formats(text: str) -> list[str]:
    """The names in a list such as `mp4,gif`. Raises InputError for one that is none of FORMATS."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in FORMATS:
            raise InputError(f"--format {text}: '{name}' is none of {','.join(FORMATS)}; name one or more of them")
    return names
