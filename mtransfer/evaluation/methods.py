"""Other ways to make the same edit, to compare with: warps, other settings of the shared sampler, other methods.

Images float32[1,3,H,W] in [0,1], flows [1,2,H,W] in pixels, masks [1,1,H,W] in [0,1].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import torch
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.evaluation import diffusers_methods
from mtransfer.evaluation.drag import drag
from mtransfer.evaluation.motion_caption import instruction_of
from mtransfer.flow.estimator import FlowModel
from mtransfer.flow.warp import forward_warp
from mtransfer.media.quantize import from_uint8, to_uint8
from mtransfer.sampling.pipeline import MotionGuidedPipeline
from mtransfer.sampling.settings import SamplerSettings

TELEA_RADIUS_PX = 5
# Settings of the shared sampler, each a preset and what is changed of it.
SAMPLED: dict[str, tuple[str, dict[str, object]]] = {
    "sdedit_photo": ("sdedit", {"start": "photo"}),
    "sdedit_warp": ("sdedit", {}),
    "repaint": ("repaint", {}),
    "draft": ("draft", {}),
    "fast_unguided": ("fast", {"steps": 84, "weight": 0.0}),
    "fast_guided": ("fast", {"steps": 84, "weight": 0.15}),
    "fast": ("fast", {}),
    "best": ("best", {}),
    "paper": ("paper", {}),
    "paper_50": ("paper", {"steps": 50}),
}
METHODS = ("warp", "warp_telea", *SAMPLED, "drag", *diffusers_methods.MODELS)


@dataclass(frozen=True)
class Problem:
    """An edit to be made: the photo at the model's size, its target flow, and the subject's mask.

    `prompt` says what the photo shows, `instruction` what is to be done; by default it is made from the flow.
    """

    photo: Tensor
    flow: Tensor
    mask: Tensor
    prompt: str = ""
    instruction: str = ""


def run_method(
    name: str,
    problem: Problem,
    pipe: MotionGuidedPipeline,
    guide: FlowModel,
    seed: int = 0,
    models: Mapping[str, str] = diffusers_methods.MODELS,
) -> tuple[Tensor, int]:
    """The edited photo and the number of guided evaluations.

    `models` names the weights of the methods that have their own. Raises InputError for a method that is not known,
    ModelError for weights that are not on this disk.
    """
    known_methods(name)
    if name in SAMPLED:
        return _sampled(name, problem, pipe, guide, seed)
    return _alone(name, problem, pipe, seed, models), 0


def known_methods(text: str) -> list[str]:
    """The methods that `a,b` names. Raises InputError for one that is not known."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in METHODS:
            raise InputError(f"method {name}: unknown; use some of {', '.join(METHODS)}")
    return names


def missing(name: str, models: Mapping[str, str] = diffusers_methods.MODELS) -> str | None:
    """The weights that a method lacks on this disk, by name; None when it can run."""
    return models[name] if name in models and not diffusers_methods.is_here(name, models[name]) else None


def _sampled(
    name: str, problem: Problem, pipe: MotionGuidedPipeline, guide: FlowModel, seed: int
) -> tuple[Tensor, int]:
    preset, changes = SAMPLED[name]
    settings = SamplerSettings.from_preset(preset, **changes)
    made = pipe(
        problem.photo,
        problem.flow,
        guide,
        settings.for_embedded() if pipe.refines else settings,
        mask=problem.mask,
        prompt=problem.prompt,
        generator=torch.Generator().manual_seed(seed),
        output_type="pt",
    )
    return made.images.clamp(0, 1), made.evaluations


def _alone(name: str, problem: Problem, pipe: MotionGuidedPipeline, seed: int, models: Mapping[str, str]) -> Tensor:
    """A method with a way of its own."""
    photo, flow, mask, prompt = problem.photo, problem.flow, problem.mask, problem.prompt
    where: dict[str, Any] = {"device": problem.photo.device, "seed": seed}
    ways: dict[str, Callable[[], Tensor]] = {
        "warp": lambda: forward_warp_over(problem),
        "warp_telea": lambda: warp_telea(problem),
        "drag": lambda: drag(pipe, photo, flow, mask, prompt=prompt).image,
        "inpaint": lambda: diffusers_methods.inpaint(photo, flow, mask, prompt, models["inpaint"], **where),
        "instruct": lambda: diffusers_methods.instruct(
            photo, problem.instruction or instruction_of(flow, mask, prompt), models["instruct"], **where
        ),
    }
    return ways[name]()


def forward_warp_over(problem: Problem) -> Tensor:
    """The moved subject over the photo as it is: its old place still shows it."""
    return _pasted(problem, problem.photo)


def warp_telea(problem: Problem) -> Tensor:
    """The moved subject over the photo with the old place inpainted (Telea, Journal of Graphics Tools 2004)."""
    hole = (problem.mask[0, 0] > 0.05).byte().cpu().numpy()
    filled = cv2.inpaint(to_uint8(problem.photo[0]), hole, TELEA_RADIUS_PX, cv2.INPAINT_TELEA)
    return _pasted(problem, from_uint8(filled)[None].to(problem.photo))


def _pasted(problem: Problem, background: Tensor) -> Tensor:
    """The warped subject over a background, by its warped mask."""
    warped, target = forward_warp(problem.photo, problem.flow, problem.mask)
    return background + target * (warped - background)
