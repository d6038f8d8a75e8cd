"""The best guess at a subject where none is clear, drawn for the eye."""

from pathlib import Path

import cv2
import numpy as np

from mtransfer.cache import keep_guess
from mtransfer.subject.detection.picture import Picture
from mtransfer.subject.detection.salient_region import find_salient_region

TINT = (255, 0, 255)  # RGB


def save_guess(picture: Picture) -> Path | None:
    """Keep a small copy of the picture with what stands out a little tinted, and a grid of pixels to point by.

    It lies in the cache; None where that is off or cannot be written.
    """
    small = picture.small.copy()
    values = find_salient_region(small).values[..., None]
    tinted = small * (1 - 0.6 * values) + np.array(TINT) * 0.6 * values
    drawn = np.ascontiguousarray(tinted.round().astype(np.uint8))
    _draw_grid(drawn, picture.pixels.shape[1] / small.shape[1])
    return keep_guess(cv2.imencode(".png", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))[1].tobytes())


def _draw_grid(drawn: np.ndarray, scale: float) -> None:
    """Lines at every quarter, with their places in pixels of the full picture."""
    height, width = drawn.shape[:2]
    for part in (1, 2, 3):
        x, y = part * width // 4, part * height // 4
        cv2.line(drawn, (x, 0), (x, height), (255, 255, 255), 1)
        cv2.line(drawn, (0, y), (width, y), (255, 255, 255), 1)
        cv2.putText(drawn, f"x {round(x * scale)}", (x + 3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1)
        cv2.putText(drawn, f"y {round(y * scale)}", (3, y - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1)
