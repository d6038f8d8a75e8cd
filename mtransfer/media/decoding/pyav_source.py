"""Clips decoded by PyAV: forward in one pass, frames known by their presentation time.

Where packets alone tell all times (frame_times) a frame is found by its time, after a seek to a key frame if that
saves work. Of every other clip all frames are decoded once to learn their times, and a frame is found by counting
from the start.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from mtransfer.errors import InputError
from mtransfer.media.decoding.clip_facts import ClipFacts, Deinterlace, Progress
from mtransfer.media.decoding.deinterlace import CONTEXT_FRAMES, deinterlaced, is_interlaced
from mtransfer.media.decoding.frame_pixels import TRANSFERS, PixelConverter
from mtransfer.media.decoding.frame_times import PacketRow, ascending, end_of, times_of_packets
from mtransfer.media.decoding.pyav_stream import PyAVStream, orientation_of

SAMPLED_FRAMES = 8  # looked at when packets tell the times
KEPT_BYTES = 96 * 10**6  # of decoded frames, for steps backwards
FEWEST_KEPT, MOST_KEPT = 2, 48
FAR_FRAMES = 24  # ahead, before a seek pays

Frames = Iterator[tuple[int, av.VideoFrame]]


@dataclass(frozen=True)
class _Table:
    """When frames are shown, in ticks of the stream, and what was seen on the way to know it."""

    times: list[int]
    end: int
    first: av.VideoFrame
    interlaced: bool
    keys: dict[int, PacketRow]  # by frame number, where packets tell the times


class PyAVSource:
    """See clip_facts.FrameSource."""

    def __init__(self, path: Path, deinterlace: Deinterlace, progress: Progress) -> None:
        self.path, self._progress = path, progress
        self._stream = PyAVStream(path, progress)
        table = _table_of_packets(self._stream) or _table_of_frames(self._stream)
        self._keys = table.keys
        self._numbers = {time: number for number, time in enumerate(table.times)}
        self._field_order = self._stream.field_order
        self.deinterlaces = deinterlace == "on" or (deinterlace == "auto" and table.interlaced)
        self.facts, self.layout = _facts(self._stream, table), table.first.format.name
        self._convert = PixelConverter(self.facts.size, int(table.first.color_trc))
        self._kept: OrderedDict[int, av.VideoFrame] = OrderedDict()
        bytes_of_frame = sum(plane.buffer_size for plane in table.first.planes)
        self._most_kept = min(max(KEPT_BYTES // bytes_of_frame, FEWEST_KEPT), MOST_KEPT)
        self._next, self._settled_from = 0, 0
        self._frames = self._from_start()

    @property
    def is_told_by_packets(self) -> bool:
        """Whether packets alone tell all times."""
        return bool(self._keys)

    def frame(self, index: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """See clip_facts.FrameSource."""
        if index not in self._kept:
            self._go_to(index)
        if index not in self._kept:
            raise InputError(f"cannot decode frame {index} of {self.path}; re-encode the clip as H.264 mp4")
        return self._convert(self._kept[index], size)

    def _go_to(self, index: int) -> None:
        """Decode until frame `index` has been seen, if it is there at all."""
        key = self._key_before(index)
        if index < self._next or (key is not None and key > self._next + FAR_FRAMES):
            self._kept.clear()
            self._frames = self._from_key(key) if key else self._from_start()
        for number, frame in self._frames:
            self._progress()
            self._next = number + 1
            if number >= self._settled_from:
                self._keep(number, frame)
            if number >= index:
                return

    def _keep(self, number: int, frame: av.VideoFrame) -> None:
        self._kept[number] = frame
        while len(self._kept) > self._most_kept:
            self._kept.popitem(last=False)

    def _key_before(self, index: int) -> int | None:
        """The nearest key frame from which frame `index` comes out right; None for the start."""
        nearest = index - CONTEXT_FRAMES if self.deinterlaces else index
        return max((key for key in self._keys if 0 < key <= nearest), default=None)

    def _from_start(self) -> Frames:
        self._stream.reopen()
        self._next, self._settled_from = 0, 0
        return self._shown(self._numbered(self._stream.frames()))

    def _from_key(self, key: int) -> Frames:
        """Frames from key frame number `key` on; from the start where a seek does not lead to it."""
        if not self._stream.seek(self._keys[key]):
            return self._from_start()
        frames = self._numbered(self._stream.frames())
        first = next(frames, None)
        if first is None or first[0] != key:
            return self._from_start()
        self._next, self._settled_from = key, key + CONTEXT_FRAMES if self.deinterlaces else key
        return self._shown(_with_first(first, frames))

    def _shown(self, frames: Frames) -> Frames:
        if not self.deinterlaces:
            return frames
        return deinterlaced(frames, self._field_order, all_of_them=not self.facts.interlaced)

    def _numbered(self, frames: Iterator[av.VideoFrame]) -> Frames:
        if not self.is_told_by_packets:
            return enumerate(frames)
        return ((self._numbers[frame.pts], frame) for frame in frames if frame.pts in self._numbers)


def _with_first(first: tuple[int, av.VideoFrame], rest: Frames) -> Frames:
    yield first
    yield from rest


def _table_of_packets(stream: PyAVStream) -> _Table | None:
    """What packets tell, where that is sure and the first frames that are decoded agree."""
    rows = stream.packets()
    times = times_of_packets(rows, stream.container_name, stream.codec_name)
    if times is None:
        return None
    stream.reopen()
    sampled = list(islice(stream.frames(), SAMPLED_FRAMES))
    if not sampled or [frame.pts for frame in sampled] != times[: len(sampled)]:
        return None
    numbers = {time: number for number, time in enumerate(times)}
    keys = {numbers[row.pts]: row for row in rows if row.is_key and row.pts is not None}
    last = next(row for row in rows if row.pts == times[-1])
    end = end_of(times, last.duration, stream.interval)
    return _Table(times, end, sampled[0], is_interlaced(stream.field_order, sampled), keys)


def _table_of_frames(stream: PyAVStream) -> _Table:
    """What decoding all of them tells. Raises InputError where there is none."""
    stream.reopen()
    first: av.VideoFrame | None = None
    pts: list[int | None] = []
    dts: list[int | None] = []
    duration, interlaced = 0, False
    for frame in stream.frames():
        first = first or frame
        pts.append(frame.pts)
        dts.append(frame.dts)
        duration, interlaced = frame.duration or 0, interlaced or is_interlaced(0, [frame])
    if first is None:
        raise InputError(f"cannot decode {stream.path}; re-encode the clip as H.264 mp4")
    times = ascending(pts, dts, stream.interval)
    interlaced = interlaced or is_interlaced(stream.field_order, [])
    return _Table(times, end_of(times, duration, stream.interval), first, interlaced, {})


def _facts(stream: PyAVStream, table: _Table) -> ClipFacts:
    aspect, base, start = stream.stream.sample_aspect_ratio, stream.stream.time_base, table.times[0]
    assert base is not None, "every stream of a file has one"
    return ClipFacts(
        by="pyav",
        container=stream.container_name,
        codec=stream.codec_name,
        size=(table.first.height, table.first.width),
        times=tuple(time - start for time in table.times),
        end=table.end - start,
        time_base=(base.numerator, base.denominator),
        orientation=orientation_of(table.first),
        sample_aspect=(aspect.numerator, aspect.denominator) if aspect else (1, 1),
        interlaced=table.interlaced,
        hdr=int(table.first.color_trc) in TRANSFERS,
    )
