"""Clips: opened once, their frames by index as they are shown: upright, with square pixels, whole and in time order.

    with ClipReader("a.mp4") as reader:
        reader.clip.frame_count, reader.clip.timestamps_s
        frames = reader.read([0, 12], long_side=256)      # float32[2,3,H,W] in [0,1]

Decoding takes place in a process of its own (decoder_process), by the reader that decoder_selection chooses.
"""

import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor

from mtransfer.cache import file_hash
from mtransfer.errors import InputError
from mtransfer.files import require_file
from mtransfer.media.decoding import decoder
from mtransfer.media.decoding.clip_facts import ClipFacts, Deinterlace
from mtransfer.media.decoding.decoder import Decoder, DecoderDied

EVEN_SHARE = 0.1  # of the time between two frames: times are rounded
AHEAD = 4  # frames decoded while the one before is looked at
READING = 1  # to be raised when other frames or pixels are read of the same file: what was made of them is kept on disk


@dataclass(frozen=True)
class Clip:
    """What a video file holds. size: (H, W) in pixels, upright, pixels square.

    ticks: when each frame appears, in units of `time_base` seconds, from 0 on; end_tick: when the last one ends.
    """

    path: Path
    size: tuple[int, int]
    ticks: tuple[int, ...] = field(repr=False)
    end_tick: int
    time_base: Fraction

    @property
    def frame_count(self) -> int:
        return len(self.ticks)

    @property
    def duration_s(self) -> float:
        return float(self.end_tick * self.time_base)

    @property
    def average_fps(self) -> float:
        return self.frame_count / self.duration_s

    @cached_property
    def timestamps_s(self) -> tuple[float, ...]:
        """When each frame appears."""
        return tuple(float(tick * self.time_base) for tick in self.ticks)

    def times_in_frames(self, frames: Sequence[int]) -> list[float]:
        """When frames appear, in frames of average length: their own numbers, where the clip is even."""
        average = self.ticks[-1] / max(1, self.frame_count - 1)
        if all(abs(tick - number * average) <= EVEN_SHARE * average for number, tick in enumerate(self.ticks)):
            return [float(frame) for frame in frames]
        return [self.ticks[frame] / average for frame in frames]


class ClipReader:
    """A video file opened for reading: its Clip, its hash and its frames.

    `by` names the reader that was chosen for the file. Raises InputError when it is missing, no video, cut short or
    broken. Closed when it is no longer used, or by `close`; may be shared between threads.
    """

    def __init__(self, path: str | os.PathLike[str], *, deinterlace: Deinterlace = "auto") -> None:
        self.path = Path(path)
        _require_file(self.path)
        self._decoder, self.facts = _opened(self.path, deinterlace)
        self._close = weakref.finalize(self, decoder.returned, self._decoder)
        self._asked: deque[_Asked] = deque()
        self._lock = threading.RLock()
        self.clip = _clip(self.path, self.facts)
        self.deinterlaces = deinterlace == "on" or (deinterlace == "auto" and self.facts.interlaced)

    @property
    def by(self) -> str:
        return self.facts.by

    @cached_property
    def sha256(self) -> str:
        """Of the file's content, in hexadecimal."""
        return file_hash(self.path)

    @property
    def key(self) -> dict[str, Any]:
        """What its frames depend on."""
        return {"sha256": self.sha256, "by": self.by, "deinterlaces": self.deinterlaces, "reading": READING}

    def read(self, indices: Sequence[int], long_side: int | None = None) -> Float32[Tensor, "T 3 H W"]:
        """Frames in [0,1], RGB, upright, in the order of `indices`.

        With `long_side`, in pixels, frames are resized to it as they are read, aspect kept. Raises InputError when an
        index is outside the clip, none is given, or a frame cannot be decoded.
        """
        pictures = self.walk(indices, long_side)
        height, width = _fitted(self.clip.size, long_side)
        frames = torch.empty(len(indices), 3, height, width)
        for frame, picture in zip(frames, pictures, strict=True):
            np.divide(picture.transpose(2, 0, 1), 255, out=frame.numpy(), dtype=np.float32)  # no threads: they decode
        return frames

    def walk(self, indices: Sequence[int], long_side: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """As `read`, one after the other as uint8[H,W,3]: in one pass where `indices` ascend."""
        if not indices:
            raise InputError(f"no frames asked of {self.path}; name at least one")
        for index in indices:
            require_frame(index, self.clip)
        return self._walk(iter(indices), _fitted(self.clip.size, long_side))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._close()

    def __enter__(self) -> "ClipReader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _walk(self, indices: Iterator[int], size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
        ahead: deque[_Asked] = deque()
        for index in indices:
            ahead.append(self._ask(index, size))
            if len(ahead) > AHEAD:
                yield self._shown(ahead.popleft(), size)
        while ahead:
            yield self._shown(ahead.popleft(), size)

    def _ask(self, index: int, size: tuple[int, int]) -> "_Asked":
        with self._lock:
            asked = _Asked()
            self._asked.append(asked)
            self._decoder.ask(index, _stored(size, self.facts) if self.facts.hdr else None)
            return asked

    def _shown(self, asked: "_Asked", size: tuple[int, int]) -> NDArray[np.uint8]:
        with self._lock:
            while asked.picture is None and asked.error is None:
                self._take()
        if asked.error is not None:
            raise asked.error
        assert asked.picture is not None
        return _upright(_resized(asked.picture, _stored(size, self.facts)), self.facts)

    def _take(self) -> None:
        """The next answer, for whichever walk asked for it."""
        asked = self._asked.popleft()
        try:
            asked.picture = self._decoder.take()
        except InputError as error:
            asked.error = error


@dataclass
class _Asked:
    """A frame under way."""

    picture: NDArray[np.uint8] | None = None
    error: InputError | None = None


def require_frame(index: int, clip: Clip) -> int:
    """The index. Raises InputError when the clip has no such frame."""
    if not 0 <= index < clip.frame_count:
        raise InputError(f"frame {index} is outside {clip.path}; its frames are 0 to {clip.frame_count - 1}")
    return index


def _require_file(path: Path) -> None:
    require_file(path, "clip", "video file")
    if not path.is_file():
        raise InputError(f"clip {path} is no file; write the video to a file first")


def _opened(path: Path, deinterlace: Deinterlace) -> tuple[Decoder, ClipFacts]:
    """A decoding process with the clip opened in it: without decord where the process died with it."""
    for fast in (True, False):
        process = decoder.lent()
        try:
            return process, process.open(path, deinterlace=deinterlace, fast=fast)
        except DecoderDied:
            if not fast:
                raise
        except InputError:
            decoder.returned(process)
            raise
    raise AssertionError("one of the two ends it")


def _clip(path: Path, facts: ClipFacts) -> Clip:
    height, width = facts.size
    width = max(1, round(width * facts.sample_aspect[0] / facts.sample_aspect[1]))
    size = (width, height) if facts.orientation[1] % 2 else (height, width)
    return Clip(path, size, facts.times, facts.end, Fraction(*facts.time_base))


def _fitted(size: tuple[int, int], long_side: int | None) -> tuple[int, int]:
    """The size with its longer side as long as that."""
    if long_side is None or long_side == max(size):
        return size
    scale = long_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _stored(size: tuple[int, int], facts: ClipFacts) -> tuple[int, int]:
    """The (H, W) of a picture, before it is turned."""
    return (size[1], size[0]) if facts.orientation[1] % 2 else size


def _resized(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Each side on its own where one grows and the other shrinks: areas averaged on the way down only."""
    height, width = picture.shape[:2]
    if (height, width) == size:
        return picture
    if (size[0] - height) * (size[1] - width) < 0:
        return _resized(_resized(picture, (height, size[1])), size)
    shrinks = size[0] < height or size[1] < width
    resized = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return resized.astype(np.uint8, copy=False)


def _upright(picture: NDArray[np.uint8], facts: ClipFacts) -> NDArray[np.uint8]:
    flipped, turns = facts.orientation
    if not flipped and not turns:
        return picture
    return np.ascontiguousarray(np.rot90(np.fliplr(picture) if flipped else picture, turns))
