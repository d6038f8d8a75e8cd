"""When a clip's frames are shown, worked out from its packets or from the frames a decoder gives.

Times are whole ticks of a stream's time base. Nothing here decodes.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

# Of these every packet is one shown frame, wherever a container is not cut inside a group of pictures.
ONE_FRAME_PER_PACKET = ("h264", "hevc", "av1", "vp9", "prores", "mjpeg")
INDEXED_CONTAINERS = ("mov", "matroska")
MOST_REORDERED = 17  # frames; H.264 and HEVC hold back 16 at most


@dataclass(frozen=True)
class PacketRow:
    """One packet of a stream, in the order in which it is decoded."""

    pts: int | None
    dts: int | None
    duration: int
    is_key: bool
    is_hidden: bool  # the edit list has it decoded, not shown
    size: int


def times_of_packets(rows: Sequence[PacketRow], container: str, codec: str) -> list[int] | None:
    """The time of each frame, ascending, where packets alone tell it for sure; None where frames must be decoded.

    They do in an indexed container whose edit list hides nothing, if each group of pictures is closed: no frame is
    shown before the key frame that it is decoded after.
    """
    if codec not in ONE_FRAME_PER_PACKET or not container.startswith(INDEXED_CONTAINERS):
        return None
    if not rows or not rows[0].is_key or any(row.is_hidden or not row.size for row in rows):
        return None
    times = [row.pts for row in rows if row.pts is not None]
    if len(times) != len(rows) or len(set(times)) != len(times):
        return None
    newest_key = times[0]
    for row, time in zip(rows, times, strict=True):
        newest_key = time if row.is_key else newest_key
        if time < newest_key:
            return None
    return sorted(times)


def ascending(pts: Sequence[int | None], dts: Sequence[int | None], interval: int) -> list[int]:
    """A time for each decoded frame, in the order in which a decoder gives them.

    Presentation times, where they are there, apart from the few that AVI gives in decoding order; else decoding
    times; and where those do not ascend either, as after a break in a broadcast, the stream's own `interval`.
    """
    for times in (pts, dts):
        known = [time for time in times if time is not None]
        if len(known) == len(times) and _is_at_most_reordered(known, interval):
            return sorted(known)
    return _mended([first if first is not None else second for first, second in zip(pts, dts, strict=True)], interval)


def _is_at_most_reordered(times: Sequence[int], interval: int) -> bool:
    order = sorted(range(len(times)), key=times.__getitem__)
    moved = [(place, rank) for rank, place in enumerate(order) if place != rank]
    near = all(abs(place - rank) < MOST_REORDERED for place, rank in moved)
    soon = all(abs(times[place] - times[rank]) < MOST_REORDERED * interval for place, rank in moved)
    return near and soon and len(set(times)) == len(times)


def _mended(times: Sequence[int | None], interval: int) -> list[int]:
    found: list[int] = []
    before: int | None = None
    for time in times:
        gap = interval if time is None or before is None or time <= before else time - before
        found.append(found[-1] + gap if found else 0)
        before = time if time is not None else (before + interval if before is not None else None)
    return found


def end_of(times: Sequence[int], last_duration: int, interval: int) -> int:
    """When the last frame ends: after its own duration, else after what usually lies between two frames."""
    gaps = sorted(second - first for first, second in itertools.pairwise(times))
    usual = gaps[len(gaps) // 2] if gaps else interval
    return times[-1] + max(1, last_duration or usual)
