"""The same edit by every method that can run here, measured alike: would another have done better?

Pictures float32[1,3,H,W] in [0,1] at the photo's size.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.errors import MTransferError
from mtransfer.evaluation import diffusers_methods, methods
from mtransfer.evaluation.drag import EMBEDDED, PUBLISHED
from mtransfer.evaluation.figures import Edit, measure
from mtransfer.evaluation.methods import METHODS, SAMPLED, Problem
from mtransfer.evaluation.motion_caption import instruction_of
from mtransfer.flow.field import FlowField, resize
from mtransfer.flow.io import save_field
from mtransfer.flow.loading import load_flow_model
from mtransfer.flow.warp import moved_region
from mtransfer.jobs.context import pipeline_of
from mtransfer.jobs.recipe import EditRecipe, TransferRecipe
from mtransfer.jobs.render import SURROUNDINGS_SHARE
from mtransfer.jobs.transfer import edit, prepare_either
from mtransfer.log import Report, lines_to, say
from mtransfer.media.crop import WHOLE, window
from mtransfer.sampling.composite import blend, make_composite
from mtransfer.sampling.highres import model_size
from mtransfer.sampling.model_folder import STABLE_DIFFUSION_SIDE_PX, model_side_px
from mtransfer.sampling.settings import SamplerSettings

SLOW = ("best", "paper", "paper_50")  # minutes to an hour each: only when named
AT_PHOTO_SIZE = ("warp", "warp_telea")
OF_THE_METHOD = ("warp", "model", "sample")  # stages of a job that are not reading and measuring
SHARED = ("photo", "model", "prompt", "negative_prompt", "seed", "device", "dtype", "low_memory", "guidance_decoder")


@dataclass(frozen=True, eq=False)
class Asked:
    """What is compared: the job that gives the flow, the methods (none: all that can run), and words and weights."""

    recipe: TransferRecipe | EditRecipe
    methods: Sequence[str] = ()
    instruction: str = ""
    models: Mapping[str, str] = field(default_factory=lambda: diffusers_methods.MODELS)


@dataclass(frozen=True, eq=False)
class Made:
    """What one method made: the picture, how long that took, how good it is, and with which settings."""

    name: str
    image: Tensor
    seconds: float
    figures: dict[str, float | None]
    settings: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Comparison:
    """All methods' results on one edit. `skipped` says of each method that made none what it lacks or why it failed."""

    asked: Asked
    recipe: TransferRecipe | EditRecipe  # with every `auto` resolved
    edit: Edit
    made: list[Made]
    skipped: dict[str, str]
    panels: list[tuple[str, Tensor]]  # what was seen on the way to the flow


def compare(asked: Asked, flow_file: Path, report: Report) -> Comparison:
    """Run every method; `flow_file` is written with the flow they are all given.

    Raises InputError and ModelError; what a method cannot do with this edit only leaves that method out.
    """
    chosen, skipped = choose(asked.methods, asked.models)
    recipe, panels = _read_motion(asked, flow_file, report)
    first = edit(_recipe_of("draft", recipe, flow_file))
    flow = first.flow.flow[:1]
    given = Edit(first.subject.image[None], flow, moved_region(flow))
    work = _Work(asked, recipe, given, flow_file)
    made: list[Made] = []
    for number, name in enumerate(chosen):
        report(f"methods: {name}", number, len(chosen), None)
        try:
            made.append(work.do(name))
        except MTransferError as error:
            skipped[name] = str(error)
    if not made:
        raise MTransferError(
            "no method made a picture: " + "; ".join(f"{name}: {why}" for name, why in skipped.items())
        )
    return Comparison(asked, recipe, given, made, skipped, panels)


def choose(named: Sequence[str], models: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The methods to run, and those left out with what they lack.

    Raises InputError for a name that is no method, ModelError for a named one whose weights are not on this disk.
    """
    if named:
        chosen = methods.known_methods(",".join(named))
        for name in chosen:
            if methods.missing(name, models):
                diffusers_methods.load_peer(name, models[name], torch.device("cpu"))  # which says so, and how to get it
        return chosen, {}
    lacking = {name: f"{path} is not on this disk" for name in METHODS if (path := methods.missing(name, models))}
    slow = {name: f"slow; ask for it with --methods {name}" for name in SLOW}
    return [name for name in METHODS if name not in lacking | slow], lacking | slow


def _read_motion(
    asked: Asked, flow_file: Path, report: Report
) -> tuple[TransferRecipe | EditRecipe, list[tuple[str, Tensor]]]:
    """The job's recipe with what it came to, and its panels; its flow is saved."""
    job = prepare_either(asked.recipe, report=report)
    # As edited: where the field was not trusted it has been carried on.
    save_field(FlowField.from_flow(job.flow.flow[:1]), flow_file)
    resolved = job.run.recipe
    assert isinstance(resolved, (TransferRecipe, EditRecipe))
    return resolved, job.seen()


def _recipe_of(name: str, recipe: TransferRecipe | EditRecipe, flow_file: Path) -> EditRecipe:
    """The edit along the flow by a method that is a setting of the shared sampler."""
    preset, changes = SAMPLED[name]
    shared = {key: getattr(recipe, key) for key in SHARED}
    if recipe.model == "embedded":  # which takes no text, and would say so each time
        shared |= {"prompt": "", "negative_prompt": ""}
    sampler = SamplerSettings.from_preset(preset, **changes)
    flow_model = "auto" if recipe.flow_model == "dis" else recipe.flow_model
    return EditRecipe(**shared, flow=flow_file, flow_model=flow_model, preset=preset, sampler=sampler)


@contextlib.contextmanager
def _once(said: set[str]) -> Iterator[None]:
    """What is warned of meanwhile is said if it was not said before: the same job is done many times over."""
    heard: list[str] = []
    try:
        with lines_to(heard.append):
            yield
    finally:
        for line in heard:
            warning = line.split(": ", 2)[-1] if line.startswith("warning: --preset") else line
            if warning not in said:
                say(line)
            said.add(warning)


@dataclass(frozen=True, eq=False)
class _Work:
    """One edit, to be made in many ways."""

    asked: Asked
    recipe: TransferRecipe | EditRecipe
    edit: Edit
    flow_file: Path
    said: set[str] = field(default_factory=set)

    def do(self, name: str) -> Made:
        image, seconds, settings = self._sampled(name) if name in SAMPLED else self._other(name)
        device = torch.device(self.recipe.device)
        return Made(name, image.cpu(), seconds, measure(self.edit, image, device), settings)

    def _sampled(self, name: str) -> tuple[Tensor, float, dict[str, Any]]:
        with _once(self.said):
            output = edit(_recipe_of(name, self.recipe, self.flow_file))
        seconds = sum(output.timings.get(stage, 0.0) for stage in OF_THE_METHOD)
        return output.seen, seconds, {"preset": output.recipe.preset, **output.recipe.sampler.model_dump(mode="json")}

    def _other(self, name: str) -> tuple[Tensor, float, dict[str, Any]]:
        """A method with a way of its own: warps at the photo's size, the others at their model's."""
        started = time.monotonic()
        image = self._run(name, self.edit) if name in AT_PHOTO_SIZE else self._by_model(name)
        return image, time.monotonic() - started, self._settings(name)

    def _run(self, name: str, part: Edit) -> Tensor:
        words = {"prompt": self.recipe.prompt, "instruction": self.instruction()}
        problem = Problem(part.photo, part.flow, part.mask, **words)
        guide = load_flow_model("auto", 1, 1, torch.device(self.recipe.device))
        return methods.run_method(name, problem, pipeline_of(self.recipe), guide, self.recipe.seed, self.asked.models)[
            0
        ]

    def _by_model(self, name: str) -> Tensor:
        """In a window about the edit, at the model's size; what it changed is added to what it began with."""
        photo, flow, mask = self.edit.photo, self.edit.flow, self.edit.mask
        region = make_composite(photo, flow, mask, photo).edit
        # Of dragging nothing is the photo's: on top of the photo's own detail the old outlines would show.
        begun = make_composite(photo, flow, mask).image if name == "inpaint" else photo * (name != "drag")
        side = STABLE_DIFFUSION_SIDE_PX if name in diffusers_methods.MODELS else model_side_px(self.recipe.model)
        rows, columns = WHOLE if name == "instruct" else window(region, SURROUNDINGS_SHARE, side)
        own, moved, inside, start = (each[..., rows, columns] for each in (photo, flow, mask, begun))
        size = model_size((own.shape[-2], own.shape[-1]), side)
        small, small_mask, small_start = (F.interpolate(each, size, mode="area") for each in (own, inside, start))
        made = self._run(name, Edit(small, resize(FlowField.from_flow(moved), size).flow, small_mask)).cpu()
        change = F.interpolate(made - small_start, own.shape[-2:], mode="bicubic", align_corners=False)
        if name == "instruct":  # which edits the whole picture
            return (start + change).clamp(0, 1)
        result = photo.clone()
        result[..., rows, columns] = blend(own, (start + change).clamp(0, 1), region[..., rows, columns])
        return result

    def instruction(self) -> str:
        """The instruction given, or the motion in words."""
        return self.asked.instruction or instruction_of(self.edit.flow, self.edit.mask, self.recipe.prompt)

    def _settings(self, name: str) -> dict[str, Any]:
        if name == "drag":
            return vars(EMBEDDED if self.recipe.model == "embedded" else PUBLISHED)
        if name == "instruct":
            return {"model": self.asked.models[name], "instruction": self.instruction()}
        return {"model": self.asked.models[name]} if name in diffusers_methods.MODELS else {}
