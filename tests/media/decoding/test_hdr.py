"""HLG and PQ as sRGB: one picture whichever of the two it came in, and whichever reader is asked."""

from pathlib import Path

import av
import numpy as np
import pytest

from mtransfer.media.decoding.hdr import PEAK_NITS, WHITE_NITS, to_sdr
from mtransfer.media.video import ClipReader

HLG, PQ, BT2020 = 18, 16, 9
HLG_WHITE, PQ_WHITE = 0.75, 0.5807  # the signal of 203 cd/m2 (BT.2408, table 1)


def shown(signal: float | tuple[float, ...], transfer: str) -> np.ndarray:
    rgb = np.broadcast_to(np.array(signal), (2, 2, 3))
    return to_sdr((rgb * 65535).round().astype(np.uint16), transfer)[0, 0]


def pq(nits: float) -> float:
    power = (nits / 1e4) ** (1305 / 8192)
    return ((107 / 128 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def test_both_curves_show_the_same_white():
    assert shown(HLG_WHITE, "hlg").astype(int) == pytest.approx(shown(PQ_WHITE, "pq").astype(int), abs=3)


@pytest.mark.parametrize("transfer", ["hlg", "pq"])
def test_black_stays_black_and_more_light_is_never_darker(transfer):
    levels = [int(shown(signal, transfer)[0]) for signal in np.linspace(0, 1, 33)]
    assert levels[0] == 0
    assert levels == sorted(levels)
    assert levels[-1] == 255


def test_below_the_knee_nothing_is_changed_and_the_peak_is_white():
    light = 0.2
    srgb = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert shown(pq(light * WHITE_NITS), "pq").astype(int) == pytest.approx(srgb, abs=1)
    assert shown(pq(PEAK_NITS), "pq").min() >= 254


def test_colours_keep_their_hue():
    red = shown((pq(150), pq(60), pq(60)), "pq").astype(int)
    assert red[0] > red[1] + 60
    assert abs(red[1] - red[2]) < 40


@pytest.mark.parametrize(("transfer", "signal"), [(HLG, HLG_WHITE), (PQ, PQ_WHITE)])
def test_clips_come_as_srgb(tmp_path: Path, transfer: int, signal: float):
    path = tmp_path / "hdr.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries = context.colorspace = BT2020
        context.color_trc, context.color_range = transfer, 1
        planes = np.full((96, 96), round(4 * (16 + 219 * signal)), np.uint16)
        planes[64:] = 512
        for index in range(4):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p10le")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    reader = ClipReader(path)
    assert (reader.by, reader.facts.hdr) == ("pyav", True)
    wanted = shown(signal, "hlg" if transfer == HLG else "pq").astype(int)
    for long_side in (None, 48):
        for picture in reader.walk([0, 3], long_side):
            assert picture.reshape(-1, 3).mean(axis=0) == pytest.approx(wanted, abs=2)
