"""Animated pictures that libav cannot open, such as WebP, decoded by Pillow, which is imported when one comes."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtransfer.errors import InputError
from mtransfer.media.decoding.clip_facts import ClipFacts, Progress

FORMATS = ("WEBP", "PNG", "GIF")
UNTOLD_MS = 100  # what browsers show a frame for that says 0


class PillowSource:
    """See clip_facts.FrameSource. What is transparent is shown on white."""

    def __init__(self, path: Path, progress: Progress) -> None:
        from PIL import Image

        self._path = path
        self._picture = Image.open(path, formats=FORMATS)
        starts_ms = [0]
        for index in range(_frame_count(self._picture)):
            progress()
            self._picture.seek(index)
            self._picture.load()  # WebP's durations are known only then
            starts_ms.append(starts_ms[-1] + round(self._picture.info.get("duration") or UNTOLD_MS))
        kind, size = str(self._picture.format).lower(), self._picture.size[::-1]
        self.facts = ClipFacts("pillow", kind, kind, size, tuple(starts_ms[:-1]), starts_ms[-1], (1, 1000))

    def frame(self, index: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """See clip_facts.FrameSource."""
        from PIL import Image

        try:
            self._picture.seek(index)
            layers = self._picture.convert("RGBA")
        except (OSError, EOFError, ValueError) as error:
            raise InputError(f"cannot decode frame {index} of {self._path}; save the animation as a GIF") from error
        ground = Image.new("RGBA", layers.size, "white")
        return np.array(Image.alpha_composite(ground, layers).convert("RGB"))


def is_animated(path: Path) -> bool:
    """Whether Pillow finds several frames in a file."""
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as picture:
            return _frame_count(picture) > 1
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _frame_count(picture: Any) -> int:
    return int(getattr(picture, "n_frames", 1))
