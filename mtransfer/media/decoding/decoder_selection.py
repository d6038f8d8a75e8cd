"""Which reader a clip is decoded by. The one place where that is decided.

decord where it is verified for the file at hand (decord_source), Pillow for the animated pictures that libav cannot
open, and PyAV for everything else.
"""

from pathlib import Path

import av

from mtransfer.errors import InputError
from mtransfer.media.decoding.clip_facts import Deinterlace, FrameSource, Progress
from mtransfer.media.decoding.decord_source import verified
from mtransfer.media.decoding.pillow_source import PillowSource, is_animated
from mtransfer.media.decoding.pyav_source import PyAVSource
from mtransfer.media.decoding.pyav_stream import open_container, picture_stream


def open_source(path: Path, *, deinterlace: Deinterlace, fast: bool, progress: Progress) -> FrameSource:
    """A clip opened by the reader that fits it; `fast` lets that be decord.

    Raises InputError when the file is no video, cut short or broken.
    """
    if not _is_whole_video(path):
        return PillowSource(path, progress)
    source = PyAVSource(path, deinterlace, progress)
    return (verified(source) if fast else None) or source


def _is_whole_video(path: Path) -> bool:
    """Whether libav can read it; False for what Pillow can instead. Raises InputError where neither can."""
    try:
        with open_container(path) as container:
            kind, videos = container.format.name, container.streams.video
            stream = picture_stream(container)
            is_known = stream is not None and stream.codec_context is not None
            end = max((entry.pos + entry.size for video in videos for entry in video.index_entries), default=0)
    except (av.error.FFmpegError, OSError, ValueError, MemoryError) as error:  # a broken file may ask for any amount
        if is_animated(path):
            return False
        raise InputError(f"{path} is no video, or a broken one; give a clip that a player can play") from error
    if kind == "image2" or kind.endswith("_pipe"):
        if is_animated(path):
            return False
        raise InputError(f"{path} is a still picture; give a clip such as an mp4")
    if stream is None:
        raise InputError(f"{path} holds no video, only other streams; give a clip with a picture")
    if not is_known:
        raise InputError(f"{path} holds video of a kind that no decoder here knows; re-encode the clip as H.264 mp4")
    if end > path.stat().st_size:
        raise InputError(f"clip {path} is cut short: {path.stat().st_size} of at least {end} bytes; copy it again")
    return True
