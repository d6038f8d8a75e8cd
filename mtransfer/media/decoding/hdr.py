"""High dynamic range to standard range: BT.2100 HLG and PQ pictures as sRGB shows them.

ITU-R BT.2100 gives the curves, BT.2408 the 203 cd/m2 of reference white, BT.2087 the primaries, and highlights are
rolled off by the Moebius curve of FFmpeg's `tonemap` filter. NumPy alone, so that every reader can call it.
"""

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Transfer = Literal["hlg", "pq"]

WHITE_NITS, PEAK_NITS = 203.0, 1000.0
HLG_GAMMA = 1.2  # of the system, for a display of PEAK_NITS
KNEE = 0.3  # of reference white: below it nothing is changed
LEVELS = 4096
BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)
BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)


def to_sdr(picture: NDArray[np.uint16], transfer: Transfer) -> NDArray[np.uint8]:
    """A BT.2100 picture, uint16[H,W,3], full range R'G'B' with BT.2020 primaries, as sRGB, uint8[H,W,3]."""
    light = _light(transfer)[picture >> 4]  # of reference white
    if transfer == "hlg":
        light *= _scene_gain((light @ BT2020_LUMA)[..., None])
    brightest = light.max(axis=-1, keepdims=True)
    light *= rolled_off(brightest) / np.maximum(brightest, 1e-6)
    shown = np.clip(light @ BT2020_TO_BT709.T, 0, 1)
    return _srgb_levels()[(shown * (LEVELS - 1) + 0.5).astype(np.uint16)]


def rolled_off(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Light in units of reference white, with PEAK_NITS brought to 1: as it was up to KNEE, then a Moebius curve."""
    peak = PEAK_NITS / WHITE_NITS
    a = -(KNEE**2) * (peak - 1) / (KNEE**2 - 2 * KNEE + peak)
    b = (KNEE**2 - 2 * KNEE * peak + peak) / (peak - 1)
    above = (b**2 + 2 * b * KNEE + KNEE**2) / (b - a) * (light + a) / (light + b)
    return np.where(light > KNEE, np.minimum(above, 1), light).astype(np.float32)


def _scene_gain(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """The opto-optical transfer function of HLG: what the light of a scene is multiplied by on a display."""
    peak = PEAK_NITS / WHITE_NITS
    return np.power(np.maximum(luma / peak, 1e-6), HLG_GAMMA - 1).astype(np.float32)


@cache
def _light(transfer: Transfer) -> NDArray[np.float32]:
    """Light in units of reference white for each of LEVELS signal levels; of HLG before its scene gain."""
    signal = np.linspace(0, 1, LEVELS)
    nits = PEAK_NITS * _hlg_scene_light(signal) if transfer == "hlg" else 1e4 * _pq_light(signal)
    return (nits / WHITE_NITS).astype(np.float32)


def _hlg_scene_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def _pq_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    m1, m2, c1, c2, c3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
    root = signal ** (1 / m2)
    return (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


@cache
def _srgb_levels() -> NDArray[np.uint8]:
    light = np.linspace(0, 1, LEVELS)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (255 * encoded + 0.5).astype(np.uint8)
