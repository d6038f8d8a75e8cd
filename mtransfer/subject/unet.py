"""The embedded segmenter: a small UNet that finds a photo's subject by itself, or from a point or a box."""

from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from jaxtyping import Float
from torch import Tensor

from mtransfer.cache import file_hash
from mtransfer.catalog import WEIGHTS
from mtransfer.errors import InputError, ModelError

Box = tuple[float, float, float, float]

FOLD = 2  # pixels folded into channels a side
SIDES_PX, SIDE_MULTIPLE = (192, 128), 32  # small, a subject is seen whole; large, its outline is
CLICK_SHARE = 0.03  # of the long side: the spot that stands for a point
SURE = 0.6  # mean certainty inside the mask, below which the net does not know
HINTS = 2  # channels beside the colours: points, boxes


def build_segmenter() -> UNet2DModel:
    """The untrained net: FOLD x FOLD pixels of colours and hints in, logits of those pixels out."""
    return UNet2DModel(
        sample_size=SIDES_PX[0] // FOLD,
        in_channels=(3 + HINTS) * FOLD**2,
        out_channels=FOLD**2,
        block_out_channels=(24, 48, 72, 96),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D",) * 4,
        up_block_types=("UpBlock2D",) * 4,
        add_attention=True,
        attention_head_dim=24,
    )


def logits_of(net: UNet2DModel, image: Float[Tensor, "B 3 H W"], hints: Float[Tensor, "B 2 H W"]) -> Tensor:
    """Logits [B,1,H,W] that a pixel is the subject's; sides are multiples of 32."""
    folded = F.pixel_unshuffle(torch.cat([2 * image - 1, hints], dim=1), FOLD)
    return F.pixel_shuffle(net(folded, torch.zeros(len(image), device=image.device)).sample, FOLD)


def point_hint(size: tuple[int, int], x: float, y: float) -> Float[Tensor, "H W"]:
    """A soft spot at a point, in pixels."""
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in size)
    squared = (rows[:, None] - y) ** 2 + (columns[None] - x) ** 2
    return torch.exp(-squared / (2 * (CLICK_SHARE * max(size)) ** 2))


def box_hint(size: tuple[int, int], box: Box) -> Float[Tensor, "H W"]:
    """1 inside a box x0,y0,x1,y1 in pixels."""
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in size)
    inside = ((columns >= box[0]) & (columns <= box[2]))[None] & ((rows >= box[1]) & (rows <= box[3]))[:, None]
    return inside.float()


@torch.no_grad()
def find_subject(
    image: Float[Tensor, "3 H W"],
    *,
    point: tuple[float, float] | None = None,
    box: Box | None = None,
    flag: str = "--subject",
) -> Float[Tensor, "1 H W"]:
    """A rough mask [1,H,W] in [0,1] of the subject of `image` in [0,1], or of what is at the point or in the box.

    Points and boxes are in pixels of the image. Raises InputError, naming the option `flag`, when the net is unsure.
    """
    likely = torch.stack([_likely(image.cpu(), side, point, box) for side in SIDES_PX]).mean(dim=0)
    inside = likely > 0.5
    if not bool(inside.any()) or float(likely[inside].mean() * 2 - 1) < SURE:
        if point is None and box is None:
            raise InputError(f"{flag} auto: no clear subject found; point at it with {flag} x,y or a box")
        given = ",".join(f"{number:g}" for number in box or point or ())
        raise InputError(f"{flag} {given}: no clear subject found there; draw a tighter box, or give a mask file")
    return likely.to(image)


def _likely(image: Tensor, side: int, point: tuple[float, float] | None, box: Box | None) -> Tensor:
    """The net's word on every pixel [1,H,W], from the image at `side` pixels."""
    height, width = image.shape[-2:]
    scale = side / max(height, width)
    size = tuple(max(SIDE_MULTIPLE, round(s * scale / SIDE_MULTIPLE) * SIDE_MULTIPLE) for s in (height, width))
    small = F.interpolate(image[None], size, mode="area")
    across, down = size[1] / width, size[0] / height
    hints = torch.zeros(1, HINTS, *size)
    if point is not None:
        hints[0, 0] = point_hint((size[0], size[1]), point[0] * across, point[1] * down)
    if box is not None:
        hints[0, 1] = box_hint((size[0], size[1]), (box[0] * across, box[1] * down, box[2] * across, box[3] * down))
    likely = torch.sigmoid(logits_of(load_segmenter(), small, hints))
    return F.interpolate(likely, (height, width), mode="bilinear", align_corners=False)[0]


@lru_cache(maxsize=1)
def segmenter_hash() -> str:
    """Of the embedded net's weights: what is found by them depends on them."""
    return file_hash(WEIGHTS / "segmenter" / "diffusion_pytorch_model.safetensors")


@lru_cache(maxsize=1)
def load_segmenter() -> UNet2DModel:
    """The embedded net. Raises ModelError when its weights are missing or broken."""
    folder: Path = WEIGHTS / "segmenter"
    try:
        net = UNet2DModel.from_pretrained(folder, use_safetensors=True, low_cpu_mem_usage=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: embedded weights missing or broken; install mtransfer again") from error
    return net.float().eval().requires_grad_(False)
