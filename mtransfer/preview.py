"""The preview sheet: what was seen in the clip, what was made of it, and the result, side by side with labels."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.field import FlowField, resize, to_image
from mtransfer.media.quantize import from_uint8, to_uint8

PANEL_PX, LABEL_PX, COLUMNS = 320, 26, 4
ARROWS_ACROSS = 14
DRAWN_PX = 1280  # long side at which a flow is drawn at most


def with_flow(image: Float[Tensor, "3 H W"], flow: Float[Tensor, "2 H W"]) -> Float[Tensor, "3 h w"]:
    """An image with the flow over it: colour where it moves, and arrows of true length. Large ones are shrunk."""
    scale = DRAWN_PX / max(image.shape[-2:])
    if scale < 1:
        size = round(image.shape[-2] * scale), round(image.shape[-1] * scale)
        image = F.interpolate(image[None], size, mode="area")[0]
        flow = resize(FlowField.from_flow(flow[None]), size).flow[0]
    moving = flow.ne(0).any(dim=0, keepdim=True).to(image)
    tinted = image * (1 - 0.55 * moving) + 0.55 * moving * to_image(flow)
    canvas = np.ascontiguousarray((255 * tinted.clamp(0, 1)).byte().permute(1, 2, 0).cpu().numpy())
    step = max(8, max(image.shape[-2:]) // ARROWS_ACROSS)
    width = max(1, max(image.shape[-2:]) // 320)
    for y in range(step // 2, image.shape[-2], step):
        for x in range(step // 2, image.shape[-1], step):
            dx, dy = (float(v) for v in flow[:, y, x])
            if dx or dy:
                cv2.arrowedLine(
                    canvas, (x, y), (round(x + dx), round(y + dy)), (20, 20, 20), width, cv2.LINE_AA, 0, 0.25
                )
    return from_uint8(canvas).to(image)


def sheet(panels: Sequence[tuple[str, Float[Tensor, "3 H W"]]], columns: int = COLUMNS) -> Float[Tensor, "3 h w"]:
    """Labelled panels in rows of `columns`, scaled to the same long side, the rows as high as the highest panel."""
    pictures = [_panel(image) for _, image in panels]
    height = max(picture.shape[0] for picture in pictures)
    tiles = [_tile(label, picture, height) for (label, _), picture in zip(panels, pictures, strict=True)]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns if len(tiles) > columns else 0)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return from_uint8(np.vstack(rows))


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
