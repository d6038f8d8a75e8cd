"""Flow as a picture: the colour wheel, and arrows over what moves."""

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from torch import Tensor

from mtransfer.flow.field import FlowField, resize
from mtransfer.media.quantize import from_uint8

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


def to_image(flow: Float[Tensor, "2 H W"]) -> Float32[Tensor, "3 H W"]:
    """Colour-wheel picture of a flow [2,H,W] in pixels: float32[3,H,W] in [0,1]; hue is direction, white is still.

    Saturation is relative to the longest vector of this flow. The wheel of Baker et al., IJCV 2011.
    """
    strength = flow.float().norm(dim=0)
    strength = strength / strength.max().clamp_min(torch.finfo(torch.float32).eps)
    wheel = torch.from_numpy(_wheel()).to(strength)
    place = (torch.atan2(-flow[1], -flow[0]).float() / math.pi + 1) / 2 * (len(wheel) - 1)
    before = place.floor().long()
    colour = torch.lerp(wheel[before], wheel[(before + 1) % len(wheel)], (place - before)[..., None])
    return (1 - strength * (1 - colour.permute(2, 0, 1))).float()


def _wheel() -> NDArray[np.float32]:
    """The wheel's colours [55,3] in [0,1]: from each pure colour to the next in steps that the eye tells apart."""
    steps = (15, 6, 4, 11, 13, 6)  # red to yellow, green, cyan, blue, magenta, and back to red
    corners = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0]], np.float32)
    parts = [np.linspace(corners[i], corners[i + 1], count, endpoint=False) for i, count in enumerate(steps)]
    return np.concatenate(parts).astype(np.float32)
