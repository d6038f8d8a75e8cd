"""Sheets of labelled pictures, and two films side by side. Frames are float32[3,H,W] in [0,1]."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.media.gif import spread
from mtransfer.media.quantize import from_uint8, to_uint8

PANEL_PX, LABEL_PX, COLUMNS = 320, 26, 4
SHEET_FRAMES, SHEET_COLUMNS = 48, 6
SIDE_BY_SIDE_PX = 480  # height
GAP_PX = 8

Frame = Float[Tensor, "3 _ _"]  # sizes may differ between the films of one call


def sheet(panels: Sequence[tuple[str, Float[Tensor, "3 H W"]]], columns: int = COLUMNS) -> Float[Tensor, "3 h w"]:
    """Labelled panels in rows of `columns`, scaled to the same long side, the rows as high as the highest panel."""
    pictures = [_panel(image) for _, image in panels]
    height = max(picture.shape[0] for picture in pictures)
    tiles = [_tile(label, picture, height) for (label, _), picture in zip(panels, pictures, strict=True)]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns if len(tiles) > columns else 0)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return from_uint8(np.vstack(rows))


def contact_sheet(frames: Callable[[int], Frame], labels: Sequence[str]) -> Float[Tensor, "3 h w"]:
    """Labelled frames in rows; of many frames SHEET_FRAMES evenly chosen."""
    chosen = spread(len(labels), SHEET_FRAMES)
    columns = min(SHEET_COLUMNS, math.ceil(math.sqrt(len(chosen))))
    return sheet([(labels[index], frames(index)) for index in chosen], columns)


def side_by_side(left: Iterable[Frame], right: Iterable[Frame]) -> Iterator[Frame]:
    """Pairs of frames beside each other on white, all of one height."""
    for pair in zip(left, right, strict=True):
        first, second = (_of_height(frame, min(SIDE_BY_SIDE_PX, pair[1].shape[-2])) for frame in pair)
        yield torch.cat([first, first.new_ones(3, first.shape[1], GAP_PX), second], dim=2)


def _of_height(frame: Tensor, height: int) -> Tensor:
    size = (height, max(1, round(frame.shape[-1] * height / frame.shape[-2])))
    mode = "area" if height < frame.shape[-2] else "bicubic"
    return F.interpolate(frame[None], size, mode=mode)[0].clamp(0, 1)


def _panel(image: Tensor) -> np.ndarray:
    scale = PANEL_PX / max(image.shape[-2:])
    pixels = to_uint8(image)
    size = tuple(max(1, round(side * scale)) for side in pixels.shape[1::-1])
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))


def _tile(label: str, picture: np.ndarray, height: int) -> np.ndarray:
    tile = np.full((height + LABEL_PX + 8, PANEL_PX + 8, 3), 255, np.uint8)
    left, top = 4 + (PANEL_PX - picture.shape[1]) // 2, LABEL_PX + (height - picture.shape[0]) // 2
    tile[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    cv2.putText(tile, label, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1, cv2.LINE_AA)
    return tile
