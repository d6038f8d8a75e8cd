"""Clips: what a video file holds, its frames as tensors, and positions in it.

decord decodes, and turns frames upright by itself; PyAV, which never writes to stderr, first looks whether the file
can be opened at all.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch  # isort: skip - loaded after decord, its CUDA build crashes in matrix products
import av
import cv2
import decord
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor

from mtransfer.errors import InputError

decord.logging.set_level(decord.logging.QUIET)

NO_TIME_S = -1e6  # decord gives about -9e15 for a frame without a time


@dataclass(frozen=True)
class Clip:
    """A readable video file. size: (H, W) in pixels, upright. timestamps_s: when each frame appears, from 0 on."""

    path: Path
    size: tuple[int, int]
    duration_s: float
    timestamps_s: tuple[float, ...] = field(repr=False)

    @property
    def frame_count(self) -> int:
        return len(self.timestamps_s)

    @property
    def average_fps(self) -> float:
        return self.frame_count / self.duration_s


def probe(path: str | os.PathLike[str]) -> Clip:
    """Look into a video file. Raises InputError when it is missing, no video, cut short or broken."""
    path = Path(path)
    reader = _open(path)
    starts_s, end_s = _times_s(reader, path)
    height, width = _read_rgb(reader, 0, path).shape[:2]
    return Clip(
        path=path,
        size=(height, width),
        duration_s=end_s - starts_s[0],
        timestamps_s=tuple(start_s - starts_s[0] for start_s in starts_s),
    )


def _times_s(reader: decord.VideoReader, path: Path) -> tuple[list[float], float]:
    """When each frame appears and when the last one ends; evenly spaced where the container tells no times (AVI)."""
    times_s = np.asarray(reader.get_frame_timestamp(range(len(reader))), dtype=np.float64)
    if times_s[0, 0] > NO_TIME_S and times_s[-1, 1] > times_s[0, 0]:
        return times_s[:, 0].tolist(), float(times_s[-1, 1])
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
    if not rate:
        raise InputError(f"{path} tells neither frame times nor a frame rate; re-encode it as mp4")
    return [float(index / rate) for index in range(len(reader))], float(len(reader) / rate)


def read_frames(
    clip: Clip | str | os.PathLike[str], indices: Sequence[int], long_side: int | None = None
) -> Float32[Tensor, "T 3 H W"]:
    """Frames of a clip, float32[T,3,H,W], RGB in [0,1], upright, in the order of `indices`.

    With `long_side`, in pixels, frames are resized to it as they are read, aspect kept. Raises InputError when an
    index is outside the clip, none is given, or a frame cannot be decoded.
    """
    frames = np.stack(list(walk_frames(clip, indices, long_side)))
    return torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous().float() / 255


def walk_frames(
    clip: Clip | str | os.PathLike[str], indices: Sequence[int], long_side: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """As `read_frames`, one after the other as uint8[H,W,3]: in one pass where `indices` ascend."""
    path = clip.path if isinstance(clip, Clip) else Path(clip)
    reader = _open(path)
    if not indices:
        raise InputError(f"no frames asked of {path}; name at least one")
    for index in indices:
        _require_frame(index, len(reader), path)
    for index in indices:
        yield _resize(_read_rgb(reader, index, path), long_side)


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
            return _require_frame(int(text), clip.frame_count, clip.path)
        time_s = float(text[:-1])
    except ValueError:
        raise InputError(f"'{text}' is no clip position; write a frame number such as 12, or seconds: 1.5s") from None
    if not 0 <= time_s <= clip.duration_s:
        raise InputError(f"position {text} is outside {clip.path}; it lasts from 0s to {clip.duration_s:.3f}s")
    return int(np.searchsorted(clip.timestamps_s, time_s + 1e-6, side="right")) - 1


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


def _open(path: Path) -> decord.VideoReader:
    if not path.exists():
        raise InputError(f"clip {path} does not exist; check the name")
    if path.is_dir():
        raise InputError(f"clip {path} is a folder; name one video file in it")
    _require_whole_video(path)
    try:
        reader = decord.VideoReader(str(path), num_threads=1)  # in one order, however busy the machine is
        frame_count = len(reader)
    except (RuntimeError, decord.DECORDError) as error:
        raise InputError(f"cannot decode {path}; re-encode the clip as H.264 mp4") from error
    if not frame_count:
        raise InputError(f"clip {path} holds no frames; give another")
    return reader


def _require_whole_video(path: Path) -> None:
    try:
        with av.open(str(path)) as container:
            kind, videos = container.format.name, container.streams.video
            end = max((entry.pos + entry.size for video in videos for entry in video.index_entries), default=0)
    except (OSError, ValueError, MemoryError) as error:  # a broken file may ask for any amount
        raise InputError(f"{path} is no video, or a broken one; give a clip that a player can play") from error
    if not videos:
        raise InputError(f"{path} holds no video, only other streams; give a clip with a picture")
    if kind == "image2" or kind.endswith("_pipe"):
        raise InputError(f"{path} is a still picture; give a clip such as an mp4")
    if end > path.stat().st_size:
        raise InputError(f"clip {path} is cut short: {path.stat().st_size} of at least {end} bytes; copy it again")


def _require_frame(index: int, frame_count: int, path: Path) -> int:
    if not 0 <= index < frame_count:
        raise InputError(f"frame {index} is outside {path}; its frames are 0 to {frame_count - 1}")
    return index


def _read_rgb(reader: decord.VideoReader, index: int, path: Path) -> NDArray[np.uint8]:
    try:
        frame = reader[index].asnumpy()
    except (RuntimeError, decord.DECORDError) as error:
        raise InputError(f"cannot decode frame {index} of {path}; re-encode the clip as H.264 mp4") from error
    height, width = frame.shape[:2]
    # decord takes the padding of a narrow frame's rows for a further channel.
    return frame.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)


def _resize(frame: NDArray[np.uint8], long_side: int | None) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    if long_side is None or long_side == max(height, width):
        return frame
    scale = long_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    resized = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return resized.astype(np.uint8, copy=False)
