"""A textured disc, moved exactly and in all the ways an edit goes wrong, with every figure of each."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.evaluation.metrics import (
    appearance_kept,
    background_difference,
    fidelity,
    flow_error,
    region_masks,
    vacated_residue,
)
from mtransfer.evaluation.texture import roughness, sharpness
from mtransfer.flow.estimator import DisFlow
from mtransfer.flow.field import translate_flow
from mtransfer.flow.warp import pixel_grid

SCENE_SIZE = (192, 256)
CENTRE_XY, RADIUS = (90, 96), 42
DX, DY = 24, -10
WRONG_WAY = (-24, 10)
SECOND_COPY = (120, 40)  # clear of the old and the new place


def texture(seed: int, coarse: int) -> Tensor:
    """Smooth noise [1,3,H,W] in [0,1] with detail of three sizes."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [[side // step for side in SCENE_SIZE] for step in (coarse, coarse // 4, coarse // 8)]
    layers = [F.interpolate(torch.rand(1, 3, *size, generator=generator), SCENE_SIZE, mode="bicubic") for size in sizes]
    return (0.5 * layers[0] + 0.25 * layers[1] + 0.25 * layers[2]).clamp(0, 1)


def disc() -> Tensor:
    x, y = pixel_grid(torch.zeros(1, 1, *SCENE_SIZE)).unbind(dim=1)
    return ((x - CENTRE_XY[0]).square() + (y - CENTRE_XY[1]).square() < RADIUS**2).float()[None]


def moved(image: Tensor, dx: int, dy: int) -> Tensor:
    return image.roll((dy, dx), (2, 3))


def paste(picture: Tensor, subject: Tensor, mask: Tensor, dx: int, dy: int) -> Tensor:
    return torch.where(moved(mask, dx, dy) > 0.5, moved(subject, dx, dy), picture)


def block_noise(strength: float) -> Tensor:
    coarse = torch.rand(1, 3, SCENE_SIZE[0] // 8, SCENE_SIZE[1] // 8, generator=torch.Generator().manual_seed(9)) - 0.5
    return strength * F.interpolate(coarse, SCENE_SIZE, mode="nearest")


def blurred(image: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(image, (4, 4, 4, 4), mode="replicate"), 9, stride=1)


BACKGROUND = 0.15 + 0.55 * texture(1, 32)
SUBJECT = (0.2 + 0.8 * texture(2, 32)) * torch.tensor([1.0, 0.75, 0.45]).view(1, 3, 1, 1)
MASK = disc()
PHOTO = paste(BACKGROUND, SUBJECT, MASK, 0, 0)
TRUTH = paste(BACKGROUND, SUBJECT, MASK, DX, DY)
FLOW = translate_flow(SCENE_SIZE, DX, DY).flow * MASK
REGIONS = region_masks(FLOW, MASK)

CASES = {
    "identity": PHOTO,
    "exact warp": TRUTH,
    "wrong direction": paste(BACKGROUND, SUBJECT, MASK, *WRONG_WAY),
    "left behind": paste(PHOTO, SUBJECT, MASK, DX, DY),
    "duplicated": paste(TRUTH, SUBJECT, MASK, *SECOND_COPY),
    "blurred": torch.where(REGIONS.subject > 0.5, blurred(TRUTH), TRUTH),
    "block noise": torch.where(REGIONS.subject > 0.5, TRUTH + block_noise(0.12), TRUTH).clamp(0, 1),
    "background changed": torch.where(REGIONS.subject > 0.5, TRUTH, TRUTH + block_noise(0.1)).clamp(0, 1),
}


@cache
def measured(case: str) -> dict[str, float]:
    """Every figure of one case; none but fidelity and the textures know the truth."""
    edited = CASES[case]
    groups = {
        "flow": flow_error(DisFlow(), PHOTO, edited, FLOW, MASK, REGIONS.background),
        "kept": appearance_kept(PHOTO, edited, FLOW, MASK),
        "outside": background_difference(PHOTO, edited, REGIONS.background),
        **fidelity(edited, TRUTH, REGIONS),
    }
    return {
        **{f"{group}_{name}": value for group, values in groups.items() for name, value in values.items()},
        "residue": vacated_residue(PHOTO, edited, MASK, REGIONS.vacated),
        "sharpness": sharpness(edited, REGIONS.subject, TRUTH),
        "roughness": roughness(edited, REGIONS.subject, TRUTH),
    }
