"""A video file as libav reads it: its packets, and its frames decoded forward in the order in which they are shown."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.video.stream import VideoStream

from mtransfer.media.decoding.clip_facts import Progress
from mtransfer.media.decoding.frame_times import PacketRow

ATTACHED_PICTURE = 0x0400  # AV_DISPOSITION_ATTACHED_PIC


def open_container(path: Path) -> InputContainer:
    """Whatever libav makes of a file; of files alone, since a playlist may name anything.

    Raises OSError and ValueError.
    """
    return av.open(f"file:{path}", options={"protocol_whitelist": "file"})


def picture_stream(container: InputContainer) -> VideoStream | None:
    """The stream of moving pictures: no cover image."""
    moving = [each for each in container.streams.video if not int(each.disposition) & ATTACHED_PICTURE]
    best = container.streams.best("video")
    return best if isinstance(best, VideoStream) and (best in moving or not moving) else moving[0] if moving else None


class PyAVStream:
    """The pictures of one file. Opened again for every pass from the start: some demuxers cannot go back there."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self.path, self._progress = path, progress
        self._container = open_container(path)
        self.stream = self._picture_stream()

    def reopen(self) -> None:
        """Go back to the start."""
        self._container.close()
        self._container = open_container(self.path)
        self.stream = self._picture_stream()

    @property
    def container_name(self) -> str:
        return str(self._container.format.name)

    @property
    def codec_name(self) -> str:
        return str(self.stream.codec_context.name)

    @property
    def field_order(self) -> int:
        """libavcodec's AVFieldOrder."""
        return int(self.stream.codec_context.field_order or 0)

    @property
    def interval(self) -> int:
        """Ticks between two frames by the rate that the container tells, at least 1."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return max(1, round(1 / (rate * self.stream.time_base))) if rate and self.stream.time_base else 1

    def packets(self) -> list[PacketRow]:
        """All packets from the start. Nothing is decoded."""
        rows = []
        most = self.path.stat().st_size + 1  # a packet has a byte at least
        for packet in islice(self._demuxed(), most):
            self._progress()
            if packet.size or packet.pts is not None:  # the last one says that there are no more
                told = packet.is_keyframe, packet.is_discard, packet.size
                rows.append(PacketRow(packet.pts, packet.dts, packet.duration or 0, *told))
        return rows

    def frames(self) -> Iterator[av.VideoFrame]:
        """Frames from here on as they are shown; what cannot be decoded is left out."""
        decoder = self.stream.codec_context
        for packet in self._demuxed():
            self._progress()
            if packet.size:  # AVI has empty ones, which would end the decoding
                with suppress(av.error.FFmpegError):
                    yield from decoder.decode(packet)
        with suppress(av.error.FFmpegError):
            yield from decoder.decode(None)

    def _demuxed(self) -> Iterator[av.Packet]:
        """Packets up to the end, or to where the file is broken."""
        with suppress(av.error.FFmpegError):
            yield from self._container.demux(self.stream)

    def seek(self, key: PacketRow) -> bool:
        """Go on at a key frame; whether libav agrees."""
        tick = key.dts if key.dts is not None else key.pts
        assert tick is not None, "a key frame that is sought has a time"
        with suppress(av.error.FFmpegError):
            self._container.seek(tick, stream=self.stream)
            return True
        return False

    def _picture_stream(self) -> VideoStream:
        stream = picture_stream(self._container)
        assert stream is not None, "looked for before"
        stream.thread_type = "AUTO"
        return stream


def orientation_of(frame: av.VideoFrame) -> tuple[bool, int]:
    """How a frame is to be shown: flipped left for right first or not, then quarter turns counter-clockwise."""
    side_data: Any = frame.side_data
    matrix = side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return False, 0
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    flipped = a * d - b * c < 0
    if flipped:
        a, b = -a, -b
    clockwise_deg = np.degrees(np.arctan2(b, a))  # on a screen, with y downwards
    return flipped, round(-clockwise_deg / 90) % 4
