"""Small pictures and clips with a clear subject, for tests of whole commands."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mtransfer.media.video_writer import write_video

SIDE_PX = 160
CENTRE_XY, RADIUS_PX = (70, 80), 30


def textured(height: int, width: int, seed: int) -> torch.Tensor:
    """Smooth random colours float32[3,H,W] in [0,1]."""
    rough = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(rough, (height, width), mode="bicubic").clamp(0, 1)[0]


def disc(right_px: int = 0) -> torch.Tensor:
    """The mask float32[H,W] of a disc, `right_px` further right."""
    y, x = torch.meshgrid(torch.arange(SIDE_PX), torch.arange(SIDE_PX), indexing="ij")
    return ((x - CENTRE_XY[0] - right_px) ** 2 + (y - CENTRE_XY[1]) ** 2 < RADIUS_PX**2).float()


def disc_photo() -> torch.Tensor:
    """A warm disc on a cool ground, both slightly textured: a subject that is found by itself."""
    ground = torch.tensor([0.2, 0.4, 0.7]).view(3, 1, 1).expand(3, SIDE_PX, SIDE_PX)
    colours = ground * (1 - disc()) + disc() * torch.tensor([0.9, 0.5, 0.1]).view(3, 1, 1)
    return (colours + 0.1 * (textured(SIDE_PX, SIDE_PX, seed=2) - 0.5)).clamp(0, 1)


def save_picture(path: Path, colours: torch.Tensor) -> Path:
    """Write float32[3,H,W] in [0,1] in the format the suffix names."""
    Image.fromarray((255 * colours.permute(1, 2, 0)).byte().numpy()).save(path)
    return path


def save_mask(path: Path) -> Path:
    """The disc as a mask file."""
    return save_picture(path, disc().expand(3, -1, -1))


def save_flow(path: Path, right_px: float = 10) -> Path:
    """A flow file .npy that moves the box about the disc to the right."""
    flow = np.zeros((2, SIDE_PX, SIDE_PX), np.float32)
    flow[0, 50:110, 40:100] = right_px
    np.save(path, flow)
    return path


def save_clip(path: Path, step_px: int = 3, frames: int = 6) -> Path:
    """A clip of a finely textured disc that moves to the right over a smooth ground."""
    write_video(torch.stack([clip_frame(step_px * index) for index in range(frames)]), path, 12)
    return path


def clip_frame(moved_px: int) -> torch.Tensor:
    """A frame of such a clip, its disc moved by so much."""
    ground = 0.4 * textured(SIDE_PX, SIDE_PX, seed=3)
    fine = torch.rand(1, 3, SIDE_PX // 4, SIDE_PX // 4, generator=torch.Generator().manual_seed(4))
    texture = torch.nn.functional.interpolate(fine, (SIDE_PX, SIDE_PX), mode="bicubic").clamp(0, 1)[0]
    return torch.where(disc(moved_px) > 0, torch.roll(texture, moved_px, dims=-1), ground)
