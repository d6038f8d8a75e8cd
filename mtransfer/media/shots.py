"""Where a clip is cut: frames that neither share colours nor follow from each other by motion."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mtransfer.cache import remember
from mtransfer.errors import InputError
from mtransfer.log import warn
from mtransfer.media.video import ClipReader

SIDE_PX = 96
COLOUR_BINS = (8, 4, 4)  # of hue, saturation and value
STRANGE = 0.4  # a cut's least score, and
PEAK = 2.5  # how many times that of the frames around it
AROUND = 3  # frames to each side
SHORTEST_FRAMES = 4  # of a shot: what is shorter is a flash
LEAST_FLOW_PX = 32  # a side of what is handed to OpenCV's dense flow at this preset


@dataclass(frozen=True)
class Shot:
    """Frames `first` to `end`, exclusive, between two cuts; `number` from 1 on."""

    number: int
    first: int
    end: int


def find_shots(reader: ClipReader) -> tuple[Shot, ...]:
    """The shots of a clip, remembered on disk."""
    count = reader.clip.frame_count

    def look() -> dict[str, torch.Tensor]:
        return {"cuts": torch.tensor(cuts_of(scores(reader.walk(range(count), SIDE_PX))))}

    key = {"clip": reader.key, "side": SIDE_PX, "thresholds": [STRANGE, PEAK, AROUND, SHORTEST_FRAMES]}
    cuts = remember("shots", key, look)["cuts"].long().tolist()
    firsts = [0, *cuts]
    return tuple(Shot(i + 1, *pair) for i, pair in enumerate(zip(firsts, [*cuts, count], strict=True)))


def choose_shot(reader: ClipReader, number: int, frames: tuple[int, ...]) -> Shot:
    """Shot `number` of a clip, or with 0 the one of the first of `frames` (frame 0 where there are none).

    Raises InputError, naming --shot, for a number that is not there and for frames of another shot.
    """
    clip, shots = reader.clip, find_shots(reader)
    if number > len(shots):
        raise InputError(f"--shot {number}: {clip.path} has {len(shots)}; use 1 to {len(shots)}")
    first = frames[0] if frames else 0
    shot = shots[number - 1] if number else next(each for each in shots if first < each.end)
    strange = [frame for frame in frames if not shot.first <= frame < shot.end]
    if strange:
        raise InputError(
            f"frame {strange[0]} of {clip.path} is outside shot {shot.number} (frames {shot.first} to {shot.end - 1}); "
            "take frames of one shot, which --shot N chooses"
        )
    return shot


def warn_of_shots(reader: ClipReader, shot: Shot) -> None:
    """Say, of a clip with cuts, how many shots there are and which one is taken."""
    shots = find_shots(reader)
    if len(shots) > 1:
        starts = ", ".join(str(each.first) for each in shots)
        warn(f"{reader.path} has {len(shots)} shots, from frames {starts}; taken is shot {shot.number} (--shot N)")


def scores(frames: Iterator[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """For each frame but the first how little it has to do with the one before, in [0,1]."""
    found, before = [], next(frames)
    for frame in frames:
        found.append(_colours_changed(before, frame) * _unexplained(before, frame))
        before = frame
    return np.sqrt(np.array(found, dtype=np.float64))


def cuts_of(score: NDArray[np.float64]) -> list[int]:
    """The numbers of the frames that begin a new shot."""
    cuts: list[int] = []
    for index, value in enumerate(score):
        near = np.concatenate([score[max(0, index - AROUND) : index], score[index + 1 : index + 1 + AROUND]])
        usual = float(np.median(near)) if len(near) else 0.0
        far_enough = index + 1 - (cuts[-1] if cuts else 0) >= SHORTEST_FRAMES
        if value > max(STRANGE, PEAK * usual) and value >= near.max(initial=0) and far_enough:
            cuts.append(index + 1)
    return cuts


def _colours_changed(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """The Hellinger distance between two frames' colours, in [0,1]."""
    histograms = []
    for frame in (first, second):
        hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
        counts = cv2.calcHist([hsv], [0, 1, 2], None, list(COLOUR_BINS), [0, 180, 0, 256, 0, 256])
        histograms.append(counts / counts.sum())
    return float(cv2.compareHist(histograms[0], histograms[1], cv2.HISTCMP_BHATTACHARYYA))


def _unexplained(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """What motion leaves of the difference between two frames, over what differs from chance pixels, in [0,1]."""
    greys = [padded(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)) for frame in (first, second)]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(greys[0], greys[1], None)
    height, width = greys[0].shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(greys[1], x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    left = np.abs(greys[0].astype(np.float32) - moved).mean()
    return min(1.0, float(left) / max(1.0, float(greys[0].std() + greys[1].std()) / 2))


def padded(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8[H,W] with its last row and column repeated to the size that OpenCV's dense flow needs."""
    down, across = (max(0, LEAST_FLOW_PX - side) for side in grey.shape)
    return np.asarray(cv2.copyMakeBorder(grey, 0, down, 0, across, cv2.BORDER_REPLICATE), np.uint8)
