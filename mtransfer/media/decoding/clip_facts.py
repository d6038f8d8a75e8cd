"""What a decoder knows of a clip before its frames are asked for."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Progress = Callable[[], None]  # called now and then while a decoder works, so that it is known not to stall
Deinterlace = Literal["auto", "on", "off"]
ReaderName = Literal["pyav", "decord", "pillow"]


@dataclass(frozen=True)
class ClipFacts:
    """How frames are stored and shown.

    size: (H, W) of the stored frames, before they are turned and stretched. orientation: a flip left for right first,
    then quarter turns counter-clockwise. sample_aspect: width to height of a stored pixel. times: of each frame, in
    ticks of `time_base` seconds, from 0 on; end: when the last frame ends. `by`: the reader.
    """

    by: ReaderName
    container: str
    codec: str
    size: tuple[int, int]
    times: tuple[int, ...]
    end: int
    time_base: tuple[int, int]
    orientation: tuple[bool, int] = (False, 0)
    sample_aspect: tuple[int, int] = (1, 1)
    interlaced: bool = False
    hdr: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ClipFacts":
        tuples: dict[str, Any] = {key: tuple(each) for key, each in values.items() if isinstance(each, list)}
        return cls(**{**values, **tuples})


class FrameSource(Protocol):
    """An opened clip. Raises InputError, one line, for a frame that cannot be decoded."""

    facts: ClipFacts

    def frame(self, index: int, size: tuple[int, int] | None) -> NDArray[np.uint8]:
        """Frame `index` as stored, uint8[H,W,3] RGB; `size` is a hint for formats whose conversion is slow."""
