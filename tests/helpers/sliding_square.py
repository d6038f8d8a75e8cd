"""A textured square that slides over textured ground."""

import torch
import torch.nn.functional as F
from torch import Tensor

SIZE, CPU = (96, 128), torch.device("cpu")
HEIGHT, WIDTH = SIZE
SQUARE_PX, TOP, LEFT = 40, 28, 12


def texture(height: int, width: int, seed: int) -> Tensor:
    rough = torch.rand(1, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(rough, (height, width), mode="bicubic").clamp(0, 1)[0]


def sliding(shifts_px: list[int], bar: range | None = None) -> Tensor:
    """A square, shifted to the right by so many pixels in each frame, uint8[N,3,H,W], behind a bar if there is one."""
    ground, square, frames = 0.5 * texture(*SIZE, seed=0), texture(SQUARE_PX, SQUARE_PX, seed=1), []
    for shift in shifts_px:
        frame = ground.clone()
        frame[:, TOP : TOP + SQUARE_PX, LEFT + shift : LEFT + shift + SQUARE_PX] = square
        if bar is not None:
            frame[:, :, bar.start : bar.stop] = texture(HEIGHT, len(bar) // 4 * 4, seed=2)
        frames.append(frame)
    return (255 * torch.stack(frames)).round().byte()
