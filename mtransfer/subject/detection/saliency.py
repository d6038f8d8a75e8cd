"""Salient object detection for photographs by U2-Netp, run by OpenCV on the CPU.

Qin et al., "U2-Net: Going deeper with nested U-structure for salient object detection", Pattern Recognition 2020. The
net is fully convolutional: at a small size it sees an object whole, at a large one it sees its outline.
"""

import hashlib
import threading
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from mtransfer.catalog import WEIGHTS
from mtransfer.errors import ModelError
from mtransfer.interruption import checkpoint

WEIGHTS_FILE = WEIGHTS / "saliency" / "u2netp.onnx"
BROKEN = "{}: embedded weights missing or broken; install mtransfer again"
TRAINED_SIDE_PX = 320
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)  # ImageNet's
UNSURE = (0.15, 0.85)

Pixels = UInt8[ndarray, "H W 3"]
Map = Float32[ndarray, "H W"]

_one_at_a_time = threading.Lock()  # a cv2.dnn.Net holds the input of its next pass


@dataclass(frozen=True, eq=False)
class Saliency:
    """How salient each pixel of a picture is, float32[H,W] stretched to [0,1], and the greatest value before that."""

    values: Map
    peak: float

    @property
    def ambiguity(self) -> float:
        """The fraction in [0,1] of the salient pixels that are neither clearly salient nor clearly not."""
        return ambiguity(self.values)


def ambiguity(values: Map) -> float:
    """The fraction in [0,1] of the pixels above 0.15 that are below 0.85."""
    low, high = UNSURE
    salient = values > low
    return float((salient & (values < high)).sum() / max(salient.sum(), 1))


def saliency(pixels: Pixels, side_px: int = TRAINED_SIDE_PX) -> Saliency:
    """The salient objects of a picture, seen at `side_px` x `side_px` pixels, a multiple of 32.

    Raises ModelError when the weights are missing or broken.
    """
    height, width = pixels.shape[:2]
    shrinks = max(height, width) > side_px
    small = cv2.resize(pixels, (side_px, side_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    scaled = small.astype(np.float32) / max(1.0, float(small.max()))
    with _one_at_a_time:
        checkpoint()
        net = load_net()
        net.setInput(np.ascontiguousarray(((scaled - MEAN) / STD).transpose(2, 0, 1)[None]))
        found = net.forward(_output_name())[0, 0]
    least, peak = float(found.min()), float(found.max())
    stretched = (found - least) / max(peak - least, 1e-6)
    return Saliency(cv2.resize(stretched, (width, height), interpolation=cv2.INTER_LINEAR), peak)


@lru_cache(maxsize=1)
def load_net() -> cv2.dnn.Net:
    """U2-Netp from the package's weights. Raises ModelError when they are missing or broken."""
    try:
        return cv2.dnn.readNetFromONNX(str(WEIGHTS_FILE))
    except cv2.error as error:
        raise ModelError(BROKEN.format(WEIGHTS_FILE)) from error


@lru_cache(maxsize=1)
def _output_name() -> str:
    return str(load_net().getUnconnectedOutLayersNames()[0])  # the fused map; the others are side outputs


@lru_cache(maxsize=1)
def saliency_hash() -> str:
    """SHA-256 of the net's weights: what is found by them depends on them. Raises ModelError when they are missing."""
    try:
        with WEIGHTS_FILE.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(BROKEN.format(WEIGHTS_FILE)) from error
