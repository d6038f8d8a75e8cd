"""One job under way: its recipe with every `auto` resolved as it goes, and how long each stage took."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from typing import Any, TypeVar

from safetensors.torch import load_file
from torch import Tensor

from mtransfer.devices import choose_device, choose_dtype
from mtransfer.errors import InputError
from mtransfer.flow.estimator import FlowModel
from mtransfer.flow.loading import load_flow_model, resolve_flow_model
from mtransfer.jobs.recipe import ClipRecipe, PhotoRecipe, Recipe
from mtransfer.log import Report, tell, warn
from mtransfer.media.clip_position import parse_position
from mtransfer.media.video import ClipReader
from mtransfer.motion.clip_motion import ClipMotionOptions
from mtransfer.parallel import in_background
from mtransfer.sampling.guidance import EnergyTerm
from mtransfer.sampling.highres import SamplingTools
from mtransfer.sampling.model_folder import model_side_px, require_model, resolve_guidance_decoder, resolve_model
from mtransfer.sampling.settings import FEW_STEPS

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
        _require_effect(recipe, energy_terms)
        settled_recipe = settled(recipe)
        guided = guide is not None or bool(energy_terms)
        sampler = recipe.sampler.for_model(refines=settled_recipe.model == "embedded", guided=guided)
        if sampler.steps:
            require_model(settled_recipe.model)  # before the work that comes first
            in_background(_import_sampler)
        self.recipe = settled_recipe.model_copy(
            update={
                "sampler": sampler,
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

    def pipeline(self) -> Any:
        """The sampler, a MotionGuidedPipeline, with the decoder that guidance looks through."""
        from mtransfer.sampling.loading import load_guidance_decoder

        pipe, name = pipeline_of(self.recipe), self.recipe.guidance_decoder
        if name == "vae":
            return pipe
        return pipe.guided_through(load_guidance_decoder(name, self.device, pipe.vae.dtype))

    def tools(self) -> SamplingTools:
        """What sampling needs. Raises ModelError and InputError for what is not there."""
        recipe = self.recipe
        return SamplingTools(
            pipe=self.pipeline(),
            side_px=model_side_px(recipe.model),
            guide=self.guide() if recipe.sampler.weight else None,
            noise=_noise(recipe),
            settings=recipe.sampler,
            prompt=recipe.prompt,
            negative_prompt=recipe.negative_prompt,
            energy_terms=self.energy_terms,
        )

    @cached_property
    def clip_reader(self) -> ClipReader:
        """The recipe's clip, opened once. Raises InputError."""
        assert isinstance(self.recipe, ClipRecipe)
        reader = ClipReader(self.recipe.clip, deinterlace=self.recipe.deinterlace)
        self.resolve(deinterlace="on" if reader.deinterlaces else "off")
        return reader

    @property
    def clip_was_read(self) -> bool:
        return "clip_reader" in self.__dict__

    def clip_motion_options(self) -> ClipMotionOptions:
        """How the recipe's clip is read."""
        recipe = self.recipe
        assert isinstance(recipe, ClipRecipe)
        return ClipMotionOptions(
            flow_model=recipe.flow_model,
            shot=recipe.shot,
            clip_subject=recipe.clip_subject,
            named_in=parse_position(recipe.clip_subject_at, self.clip_reader.clip) if recipe.clip_subject_at else None,
            camera=recipe.camera,
            align=recipe.align,
            turn=recipe.turn,
            mirror=recipe.mirror,
            device=self.device,
            report=self.report,
            draft=recipe.sampler.steps == 0,
        )

    def guide(self) -> FlowModel:
        """The flow net that guides: the user's own, or as few updates of ours as the preset says."""
        chosen, dtype = self.recipe.sampler, choose_dtype(self.recipe.dtype, self.device)
        return self._guide or load_flow_model(
            self.guide_name, chosen.flow_updates, chosen.flow_levels, self.device, dtype
        )

    @property
    def guide_name(self) -> str:
        """The RAFT that guides and judges: DIS has no gradient, so it only reads."""
        return "auto" if self.recipe.flow_model == "dis" else self.recipe.flow_model


def _import_sampler() -> None:
    """Import the sampler, and with it diffusers: that takes seconds, in which photo and clip can be looked at."""
    import_module("mtransfer.sampling.loading")


def _noise(recipe: PhotoRecipe) -> Tensor | None:
    if recipe.noise is None:
        return None
    try:
        return load_file(recipe.noise)["noise"]
    except Exception as error:
        raise InputError(f"{recipe.noise}: not a noise file of mtransfer generate ({type(error).__name__})") from error


def settled(recipe: T) -> T:
    """The recipe with its model, device and dtype resolved. Raises InputError for a device that is not there."""
    device = choose_device(recipe.device)
    dtype = str(choose_dtype(recipe.dtype, device)).removeprefix("torch.")
    return recipe.model_copy(
        update={"model": resolve_model(recipe.model, device), "device": device.type, "dtype": dtype}
    )


def pipeline_of(recipe: Recipe) -> Any:
    """The sampler, a MotionGuidedPipeline, that a settled recipe names; says so when it has no use for the prompt.

    Raises ModelError when its weights are missing.
    """
    from mtransfer.sampling.loading import load_pipeline  # and with it diffusers, which a draft does without

    device = choose_device(recipe.device)
    pipe = load_pipeline(recipe.model, device, choose_dtype(recipe.dtype, device), recipe.low_memory, recipe.compile)
    if (recipe.prompt or recipe.negative_prompt) and not pipe.takes_prompt:
        warn(f"--prompt: the model {recipe.model} takes no text, so it has no effect")
    if pipe.takes_few_steps:
        tell(f"{recipe.model} is made for few steps: at most {FEW_STEPS} are taken, without classifier-free guidance")
    elif pipe.takes_prompt and not (recipe.prompt or recipe.negative_prompt):
        tell("no --prompt: sampled without classifier-free guidance, at half its cost")
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
    _require_one(kind, recipe, values)
    recipe = recipe or kind.build(values, [])
    return Run(recipe, report, guide, energy_terms, watch), recipe


def _require_one(kind: type[Recipe], recipe: object, values: dict[str, Any]) -> None:
    """Raises InputError unless there is either a recipe of this kind or fields."""
    name = _with_article(kind.__name__)
    if recipe is None and not values:
        raise InputError(f"nothing to do: give {name}, or its fields by name, such as photo='a.jpg', strength=2")
    if recipe is not None and not isinstance(recipe, kind):
        raise InputError(f"{_with_article(type(recipe).__name__)} is not {name}; give one, or its fields by name")
    if recipe is not None and values:
        changes = ", ".join(f"'{key}': {value!r}" for key, value in values.items())
        raise InputError(
            f"{', '.join(values)}: cannot be given beside a recipe; change the recipe first: "
            f"{kind.__name__}.build({{{changes}}}, [], recipe.model_dump())"
        )


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _require_effect(recipe: PhotoRecipe, terms: Sequence[EnergyTerm]) -> None:
    """Raises InputError for guidance by nothing; says so of a prompt that nobody reads."""
    chosen = recipe.sampler
    if chosen.steps and chosen.weight and not (chosen.w_flow or chosen.w_color or terms):
        raise InputError(
            "sampler.w_flow 0 and sampler.w_color 0: leave nothing to guide by; keep one, or set sampler.weight=0"
        )
    if not chosen.steps and (recipe.prompt or recipe.negative_prompt):
        warn(f"--prompt: --preset {recipe.preset} asks no model, so it has no effect")
