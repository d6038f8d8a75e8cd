"""Films: frames written as an H.264 mp4, the same bytes for the same frames."""

import itertools
import math
import os
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.files import atomic_write
from mtransfer.media.quantize import to_uint8

CRF = 18  # H.264 quality: about the lowest that shows no loss
ENCODER = {
    "crf": str(CRF),
    # x264's macroblock tree reads beyond the row it works on, where memory holds anything, on processors with AVX-512
    # and at widths that are no multiple of 128: the same frames then become different films.
    "mbtree": "0",
}
TICK_S = Fraction(1, 90000)  # of films whose frames are not even
IN_ORDER = {"bf": "0"}  # so that the last packet is the last frame's
BT709 = 1  # in H.264 for primaries, transfer and matrix alike
LIMITED = 1  # libavutil's MPEG range: black is 16, white 235


def write_video(
    frames: Iterable[Float32[Tensor, "3 H W"]],
    path: str | os.PathLike[str],
    fps: float,
    comment: str = "",
    shown_s: Sequence[float] | None = None,
) -> None:
    """Write frames, sRGB in [0,1] and all of one size, as an H.264 mp4 with `comment` in its comment tag.

    They become BT.709 of limited range, and are tagged so: players show BT.709 with sRGB's tone curve. With `shown_s`
    each is shown for so many seconds, else all at `fps` frames a second.
    Sides are made even by repeating the last row or column. The file appears under its name only when whole.
    Raises InputError when it cannot be written or fps is not above 0.
    """
    path = Path(path)
    if not (math.isfinite(fps) and fps > 0):
        raise InputError(f"cannot write {path} at {fps} frames a second; give a rate above 0")
    try:
        with atomic_write(path) as part:
            _encode(frames, part, Fraction(fps).limit_denominator(1001), comment, shown_s)
    except (OSError, av.error.FFmpegError) as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _encode(
    frames: Iterable[Tensor], path: Path, rate: Fraction, comment: str, shown_s: Sequence[float] | None
) -> None:
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=rate, options=ENCODER if shown_s is None else ENCODER | IN_ORDER)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = 1  # what is written must not hang on how many cores are free
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        if shown_s is not None:
            stream.time_base = context.time_base = TICK_S
        ticks = [round(end_s / TICK_S) for end_s in itertools.accumulate(shown_s or (), initial=0.0)]
        for number, frame in enumerate(frames):
            height, width = frame.shape[-2:]
            picture = F.pad(frame[None], (0, width % 2, 0, height % 2), mode="replicate")[0]
            if not context.is_open:
                stream.height, stream.width = picture.shape[-2:]
            encoded = _video_frame(picture)
            if shown_s is not None:
                encoded.pts, encoded.time_base = ticks[number], TICK_S
            container.mux(stream.encode(encoded))
        last = stream.encode()
        if shown_s is not None and last:
            last[-1].duration = ticks[-1] - ticks[-2]  # of the others the next one's start tells
        container.mux(last)


def _video_frame(picture: Tensor) -> av.VideoFrame:
    rgb = av.VideoFrame.from_ndarray(to_uint8(picture), format="rgb24")
    return rgb.reformat(format="yuv420p", dst_colorspace="ITU709")
