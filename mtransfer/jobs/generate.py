"""An image made by the model itself, with the noise it came from: it can be edited without inversion."""

import torch
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.jobs.context import pipeline_of, settled
from mtransfer.jobs.recipe import GenerateRecipe
from mtransfer.log import Report
from mtransfer.sampling.highres import SHORTEST_SIDE_PX
from mtransfer.sampling.model_folder import model_side_px
from mtransfer.sampling.settings import SIDE_MULTIPLE

LARGEST_SIDE_PX = 2048


def generate(recipe: GenerateRecipe, report: Report) -> tuple[Tensor, Tensor, GenerateRecipe]:
    """The image float32[3,H,W] in [0,1], its start noise [1,C,h,w], and the recipe with everything resolved."""
    recipe = settled(recipe)
    size = _size(recipe.size, model_side_px(recipe.model))
    recipe = recipe.model_copy(update={"size": f"{size[1]}x{size[0]}"})
    report("generate", 0, 1, None)
    image, noise = pipeline_of(recipe).generate(
        size,
        recipe.sampler,
        recipe.prompt,
        recipe.negative_prompt,
        torch.Generator().manual_seed(recipe.seed),
        on_step=lambda done, total: report("generate", done, total, None),
    )
    return image[0].cpu(), noise.cpu(), recipe


def _size(text: str, side: int) -> tuple[int, int]:
    """(H, W) of `WIDTHxHEIGHT`; a square of the model's side where nothing is said."""
    if not text:
        return side, side
    try:
        width, height = (int(part) for part in text.split("x"))
    except ValueError:
        raise InputError(f"--size {text}: write it as WIDTHxHEIGHT, such as 512x512") from None
    if any(side % SIDE_MULTIPLE or not SHORTEST_SIDE_PX <= side <= LARGEST_SIDE_PX for side in (width, height)):
        raise InputError(f"--size {text}: sides are multiples of 64 from {SHORTEST_SIDE_PX} to {LARGEST_SIDE_PX}")
    return height, width
