"""The sample photographs, and pictures made of them, as uint8[H,W,3]; what overlaps with what."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

SAMPLES = Path(__file__).parents[2] / "samples"


def sample(name: str) -> np.ndarray:
    """A sample's pixels."""
    return np.ascontiguousarray(cv2.imread(str(SAMPLES / name))[..., ::-1])


def two_birds() -> np.ndarray:
    """The wooden bird, 384 pixels wide, and its mirror image beside it."""
    bird = cv2.resize(sample("wooden_bird.jpg"), (384, 228), interpolation=cv2.INTER_AREA)
    return np.concatenate([bird, bird[:, ::-1]], axis=1)


def ladybird_and_goldfish() -> np.ndarray:
    """Two things that are not alike, side by side, 384 pixels each."""
    sides = [
        cv2.resize(sample(name), (384, 288), interpolation=cv2.INTER_AREA) for name in ("ladybird.jpg", "goldfish.png")
    ]
    return np.concatenate(sides, axis=1)


def grey() -> np.ndarray:
    """Plain ground."""
    return np.full((180, 240, 3), 128, np.uint8)


def gradient() -> np.ndarray:
    """From dark to light, as an empty sky."""
    across = np.linspace(60, 190, 240, dtype=np.float32)[None, :, None]
    return np.broadcast_to(across, (180, 240, 3)).astype(np.uint8)


def noise() -> np.ndarray:
    """A texture without things: smoothed noise."""
    rough = np.random.default_rng(0).integers(0, 255, (180, 240, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(rough, (0, 0), 1.5))


def as_image(pixels: np.ndarray) -> Tensor:
    """float32[3,H,W] in [0,1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 255


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of bool[H,W]."""
    return float((one & other).sum() / (one | other).sum())
