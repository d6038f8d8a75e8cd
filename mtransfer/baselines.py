"""Other ways to make the same edit, to compare with: warps, and other settings of the shared sampler.

Images float32[1,3,H,W] in [0,1], flows [1,2,H,W] in pixels, masks [1,1,H,W] in [0,1].
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from mtransfer.draft import make_draft
from mtransfer.errors import InputError
from mtransfer.guidance import FlowModel
from mtransfer.sampler import MotionGuidedPipeline
from mtransfer.settings import SamplerSettings

TELEA_RADIUS_PX = 5
# Settings of the shared sampler, each a preset and what is changed of it.
SAMPLED: dict[str, tuple[str, dict[str, object]]] = {
    "sdedit_photo": ("sdedit", {"start": "photo"}),
    "sdedit_warp": ("sdedit", {}),
    "repaint": ("repaint", {}),
    "draft": ("draft", {}),
    "fast_unguided": ("fast", {"weight": 0.0}),
    "fast": ("fast", {}),
    "best": ("best", {}),
    "paper": ("paper", {}),
}
METHODS = ("warp", "warp_telea", *SAMPLED)


@dataclass(frozen=True)
class Problem:
    """An edit to be made: the photo at the model's size, its target flow, and the subject's mask."""

    photo: Tensor
    flow: Tensor
    mask: Tensor


def run_method(
    name: str, problem: Problem, pipe: MotionGuidedPipeline, guide: FlowModel, seed: int = 0
) -> tuple[Tensor, int]:
    """The edited photo and the number of guided evaluations. Raises InputError for a method that is not known."""
    if name == "warp":
        return forward_warp_over(problem), 0
    if name == "warp_telea":
        return warp_telea(problem), 0
    if name not in SAMPLED:
        raise InputError(f"method {name}: unknown; use some of {', '.join(METHODS)}")
    preset, changes = SAMPLED[name]
    made = pipe(
        problem.photo,
        problem.flow,
        guide,
        SamplerSettings.from_preset(preset, **changes),
        mask=problem.mask,
        generator=torch.Generator().manual_seed(seed),
        output_type="pt",
    )
    return made.images.clamp(0, 1), made.evaluations


def forward_warp_over(problem: Problem) -> Tensor:
    """The moved subject over the photo as it is: its old place still shows it."""
    return make_draft(problem.photo, problem.flow, problem.mask, problem.photo).image


def warp_telea(problem: Problem) -> Tensor:
    """The moved subject over the photo with the old place inpainted (Telea, Journal of Graphics Tools 2004)."""
    pixels = (255 * problem.photo[0].permute(1, 2, 0)).round().byte().cpu().numpy()
    hole = (problem.mask[0, 0] > 0.05).byte().cpu().numpy()
    filled = cv2.inpaint(pixels, hole, TELEA_RADIUS_PX, cv2.INPAINT_TELEA).astype(np.float32) / 255
    background = torch.from_numpy(filled).permute(2, 0, 1)[None].to(problem.photo)
    return make_draft(problem.photo, problem.flow, problem.mask, background).image
