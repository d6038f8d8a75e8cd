"""One job under way: its recipe with every `auto` resolved as it goes, and how long each stage took."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import Tensor

from mtransfer.console import Report, warn
from mtransfer.errors import InputError
from mtransfer.guidance import EnergyTerm, FlowModel
from mtransfer.models import (
    choose_device,
    choose_dtype,
    load_flow_model,
    load_guidance_decoder,
    load_pipeline,
    load_reader,
    require_model,
    resolve_flow_model,
    resolve_guidance_decoder,
    resolve_model,
)
from mtransfer.recipe import PhotoRecipe, Recipe
from mtransfer.sampler import MotionGuidedPipeline

T = TypeVar("T", bound=Recipe)
R = TypeVar("R", bound=PhotoRecipe)
Watch = Callable[[Callable[[], Tensor]], None]  # gets what makes the picture [1,3,h,w] in [0,1] as it is so far


def _silent(stage: str, done: int, total: int, energy: float | None) -> None:
    pass


class Run:
    """One job under way: its recipe with `auto` resolved as it goes, and how long each stage took."""

    def __init__(
        self,
        recipe: PhotoRecipe,
        report: Report,
        guide: FlowModel | None,
        energy_terms: Sequence[EnergyTerm],
        watch: Watch | None = None,
    ) -> None:
        self.report, self.timings, self.watch = report, dict[str, float](), watch
        self.energy_terms, self._guide = energy_terms, guide
        settled_recipe = settled(recipe)
        if settled_recipe.sampler.steps:
            require_model(settled_recipe.model)  # before the work that comes first
        self.recipe = settled_recipe.model_copy(
            update={
                "flow_model": resolve_flow_model(recipe.flow_model),
                "guidance_decoder": resolve_guidance_decoder(recipe.guidance_decoder, settled_recipe.model),
            }
        )
        self.device = choose_device(self.recipe.device)

    def resolve(self, **values: Any) -> None:
        """Note what an `auto` of the recipe has come to mean."""
        self.recipe = self.recipe.model_copy(update=values)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.report(name, 0, 1, None)
        started = time.monotonic()
        yield
        self.timings[name] = round(time.monotonic() - started, 3)

    def pipeline(self) -> MotionGuidedPipeline:
        """The sampler, with the decoder that guidance looks through."""
        pipe, name = pipeline_of(self.recipe), self.recipe.guidance_decoder
        pipe.guidance_vae = None if name == "vae" else load_guidance_decoder(name, self.device, pipe.vae.dtype)
        return pipe

    def reader(self) -> FlowModel:
        """The flow estimator that reads clips."""
        return load_reader(self.recipe.flow_model, self.device)

    def guide(self) -> FlowModel:
        """The flow net that guides: the user's own, or as few updates of ours as the preset says."""
        chosen = self.recipe.sampler
        return self._guide or load_flow_model(self.guide_name, chosen.flow_updates, chosen.flow_levels, self.device)

    @property
    def guide_name(self) -> str:
        """The RAFT that guides and judges: DIS has no gradient, so it only reads."""
        return "auto" if self.recipe.flow_model == "dis" else self.recipe.flow_model


def settled(recipe: T) -> T:
    """The recipe with its model, device and dtype resolved. Raises InputError for a device that is not there."""
    device = choose_device(recipe.device)
    dtype = str(choose_dtype(recipe.dtype, device)).removeprefix("torch.")
    return recipe.model_copy(
        update={"model": resolve_model(recipe.model, device), "device": device.type, "dtype": dtype}
    )


def pipeline_of(recipe: Recipe) -> MotionGuidedPipeline:
    """The sampler a settled recipe names; says so when it has no use for the prompt.

    Raises ModelError when its weights are missing.
    """
    device = choose_device(recipe.device)
    pipe = load_pipeline(recipe.model, device, choose_dtype(recipe.dtype, device), recipe.low_memory, recipe.compile)
    if (recipe.prompt or recipe.negative_prompt) and not pipe.takes_prompt:
        warn(f"--prompt: the model {recipe.model} takes no text, so it has no effect")
    return pipe


def start(
    kind: type[R],
    recipe: R | None,
    report: Report = _silent,
    guide: FlowModel | None = None,
    energy_terms: Sequence[EnergyTerm] = (),
    watch: Watch | None = None,
    **values: Any,
) -> tuple[Run, R]:
    if (recipe is None) == (not values):
        raise InputError(f"give a {kind.__name__}, or its fields by name")
    recipe = recipe or kind.build(values, [])
    return Run(recipe, report, guide, energy_terms, watch), recipe
