"""Clips decoded by decord, the fast path, where it is verified for the file at hand.

Its seeks are wrong outside plain MP4 and Matroska, it counts frames that an edit list hides, and knows nothing of
pixel aspect, interlacing and dynamic range. What it says of a file is therefore held against PyAV's packets first.
"""

import sys
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtransfer.errors import InputError
from mtransfer.media.decoding.clip_facts import ClipFacts
from mtransfer.media.decoding.pyav_source import PyAVSource

PLAIN = "8-bit H.264 in MP4 or Matroska, upright, nothing hidden"
CODEC, LAYOUTS = "h264", ("yuv420p", "yuvj420p")
SAME_LEVELS = 2.0  # of 255, on average, between the two readers' first frames
SAME_TIME = 0.1  # of the time between two frames


class DecordSource:
    """See clip_facts.FrameSource."""

    def __init__(self, reader: Any, facts: ClipFacts, path: str) -> None:
        self._reader, self.facts, self._path = reader, replace(facts, by="decord"), path

    def frame(self, index: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """See clip_facts.FrameSource."""
        import decord

        try:
            return _picture(self._reader, index)
        except (RuntimeError, decord.DECORDError) as error:
            line = f"cannot decode frame {index} of {self._path}; re-encode the clip as H.264 mp4"
            raise InputError(line) from error


def verified(source: PyAVSource) -> DecordSource | None:
    """decord on the same file, where it is the same in every frame's time and number and in the first frame's pixels.

    None where the clip is not of the kind for which its seeks are right, where it differs, or cannot be imported.
    """
    if not is_plain(source):
        return None
    # decord's import would load every CUDA library that pip has installed: 0.4 s and 0.7 GB, for nothing here.
    sys.modules.setdefault("nvidia", None)  # type: ignore[arg-type]
    try:
        import decord
    except Exception:  # whatever a native library fails of: PyAV reads every clip too
        return None
    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(str(source.path), num_threads=1)  # in one order, however busy the machine is
        if len(reader) != len(source.facts.times) or not _same_times(reader, source.facts):
            return None
        difference = np.abs(_picture(reader, 0).astype(np.int16) - source.frame(0)).mean()
    except (RuntimeError, ValueError, decord.DECORDError):
        return None
    return DecordSource(reader, source.facts, str(source.path)) if difference < SAME_LEVELS else None


def is_plain(source: PyAVSource) -> bool:
    """Whether a clip is of the kind that decord reads right: 8-bit H.264 in MP4 or Matroska, upright, all shown."""
    facts = source.facts
    return (
        source.is_told_by_packets
        and facts.codec == CODEC
        and source.layout in LAYOUTS
        and facts.orientation == (False, 0)
        and not source.deinterlaces
        and not facts.hdr
    )


def _same_times(reader: Any, facts: ClipFacts) -> bool:
    theirs = np.asarray(reader.get_frame_timestamp(range(len(reader))), np.float64)[:, 0]
    ours = np.array(facts.times, np.float64) * facts.time_base[0] / facts.time_base[1]
    apart = float(np.diff(ours).min()) if len(ours) > 1 else 1.0
    rounding = 4 * np.finfo(np.float32).eps * float(np.abs(theirs).max())  # decord's times are float32
    return bool(np.abs(theirs - theirs[0] - ours).max() < SAME_TIME * apart + rounding)


def _picture(reader: Any, index: int) -> NDArray[np.uint8]:
    frame: NDArray[np.uint8] = reader[index].asnumpy()
    height, width = frame.shape[:2]
    # decord takes the padding of a narrow frame's rows for a further channel.
    return np.ascontiguousarray(frame.reshape(height, -1)[:, : 3 * width]).reshape(height, width, 3)
