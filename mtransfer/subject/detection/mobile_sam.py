"""Segmentation by a point or a box with MobileSAM, run by OpenCV on the CPU.

Zhang et al., "Faster Segment Anything: Towards lightweight SAM for mobile applications", arXiv 2306.14289; after
Kirillov et al., "Segment Anything", ICCV 2023. A picture is embedded once; each prompt then takes a fiftieth of a
second. The encoder runs at half the size it was trained at, a quarter of the time, and still tells things apart.
"""

import hashlib
import threading
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import cv2
import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from mtransfer.catalog import WEIGHTS
from mtransfer.errors import ModelError
from mtransfer.interruption import checkpoint
from mtransfer.subject.detection.saliency import BROKEN, Pixels
from mtransfer.subject.regions import Box, Region

FOLDER = WEIGHTS / "mobile_sam"
FILES = ("encoder.onnx", "decoder.onnx")
SIDE_PX = 512
MASK_STRIDE = 4  # of the net's masks
MEAN, STD = np.array([123.675, 116.28, 103.53], np.float32), np.array([58.395, 57.12, 57.375], np.float32)
PADDING, POSITIVE, TOP_LEFT, BOTTOM_RIGHT = 0, 2, 3, 4  # kinds of prompt point; 1 is a negative one
STABILITY_OFFSET = 1.0  # of the logits' threshold

_one_at_a_time = threading.Lock()  # a cv2.dnn.Net holds the input of its next pass


@dataclass(frozen=True, eq=False)
class Candidate:
    """A mask that a prompt may mean: bool[H,W] `region`, and in about [0,1] how good the net thinks it is, and how
    little it depends on the threshold (stability score)."""

    region: Region
    predicted_iou: float
    stability: float

    @property
    def quality(self) -> float:
        return self.predicted_iou * self.stability


@dataclass(frozen=True, eq=False)
class Embedding:
    """What MobileSAM sees in a picture of `size` = (H, W) pixels: float32[1,256,32,32]."""

    values: Float32[ndarray, "1 C h w"]
    size: tuple[int, int]

    def scaled(self, size: tuple[int, int]) -> Self:
        """The same for a copy of the picture at another size (H, W)."""
        return replace(self, size=size)

    def at_point(self, x: float, y: float) -> list[Candidate]:
        """What the point (x, y) in pixels of the picture may mean: one best guess, then part, whole and in between."""
        return self._candidates([(x, y), (0.0, 0.0)], [POSITIVE, PADDING])

    def in_box(self, box: Box) -> list[Candidate]:
        """What a box about it, in pixels of the picture, may mean."""
        x0, y0, x1, y1 = box
        return self._candidates([(x0, y0), (x1, y1)], [TOP_LEFT, BOTTOM_RIGHT])

    def _candidates(self, points: list[tuple[float, float]], kinds: list[int]) -> list[Candidate]:
        scaled = np.array(points, np.float32)[None] / max(self.size)
        encoded_kinds = np.eye(5, dtype=np.float32)[None, kinds]
        with _one_at_a_time:
            checkpoint()
            _, net = load_nets()
            for name, value in (("embedding", self.values), ("points", scaled), ("kinds", encoded_kinds)):
                net.setInput(value, name)
            logits, predicted = net.forward(["logits", "iou"])
        return [self._candidate(*each) for each in zip(logits[0], predicted[0].tolist(), strict=True)]

    def _candidate(self, logits: Float32[ndarray, "h w"], predicted_iou: float) -> Candidate:
        height, width = (max(1, round(side * SIDE_PX / max(self.size) / MASK_STRIDE)) for side in self.size)
        full = cv2.resize(logits[:height, :width], self.size[::-1], interpolation=cv2.INTER_LINEAR)
        stability = (full > STABILITY_OFFSET).sum() / max((full > -STABILITY_OFFSET).sum(), 1)
        return Candidate(full > 0, predicted_iou, float(stability))


def embed(pixels: Pixels) -> Embedding:
    """Embed a picture uint8[H,W,3]. Raises ModelError when the weights are missing or broken."""
    height, width = pixels.shape[:2]
    scale = SIDE_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    padded = np.zeros((SIDE_PX, SIDE_PX, 3), np.float32)
    padded[: size[1], : size[0]] = (small - MEAN) / STD
    with _one_at_a_time:
        checkpoint()
        net, _ = load_nets()
        net.setInput(np.ascontiguousarray(padded.transpose(2, 0, 1)[None]))
        return Embedding(net.forward().copy(), (height, width))


@lru_cache(maxsize=1)
def load_nets() -> tuple[cv2.dnn.Net, cv2.dnn.Net]:
    """Encoder and decoder from the package's weights. Raises ModelError when they are missing or broken."""
    encoder, decoder = (_load(name) for name in FILES)
    return encoder, decoder


@lru_cache(maxsize=1)
def mobile_sam_hash() -> str:
    """SHA-256 of the weights: what is found depends on them. Raises ModelError when they are missing."""
    digest = hashlib.sha256()
    for name in FILES:
        try:
            digest.update((FOLDER / name).read_bytes())
        except OSError as error:
            raise ModelError(BROKEN.format(FOLDER / name)) from error
    return digest.hexdigest()


def _load(name: str) -> cv2.dnn.Net:
    try:
        return cv2.dnn.readNetFromONNX(str(FOLDER / name))
    except cv2.error as error:
        raise ModelError(BROKEN.format(FOLDER / name)) from error
