"""From a flow on a photo to the moved photo: sampled at the model's size, brought to the photo's own, measured."""

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtransfer.errors import InputError, MTransferError
from mtransfer.evaluation.metrics import background_psnr_db, flow_error
from mtransfer.evaluation.moved_as_asked import moved_as_asked, within_px
from mtransfer.flow.estimator import DisFlow
from mtransfer.flow.field import FlowField
from mtransfer.flow.visualize import with_flow
from mtransfer.jobs.context import Run
from mtransfer.jobs.cutout import with_alpha
from mtransfer.jobs.metrics import EditMetrics
from mtransfer.jobs.recipe import PhotoRecipe
from mtransfer.log import tell, warn
from mtransfer.media.border import border_warning
from mtransfer.media.crop import WHOLE, Window, window
from mtransfer.media.photo.alpha import over
from mtransfer.media.photo.photo import Photo
from mtransfer.media.photo.png import Pixels
from mtransfer.motion.clip_motion import MOVING
from mtransfer.motion.falloff import Falloff, falloff_of
from mtransfer.motion.shadow import Shadow, shadow_of
from mtransfer.sampling.composite import WarpComposite, blend, make_composite, remove_subject
from mtransfer.sampling.ddim import Callback
from mtransfer.sampling.highres import Part, SamplingTools, cut, sample_parts, size_to_sample
from mtransfer.sampling.model_folder import model_side_px
from mtransfer.subject.prompt import parse_prompts
from mtransfer.subject.subject import Subject, subject_from_mask, with_mask

SURROUNDINGS_SHARE = 0.35  # of what may change, on every side, for the model to go by
NO_GENERATOR = "the embedded model betters a warp and is no generator; for a good picture use Stable Diffusion"
ZERO_MOTION = "the motion asked for is zero, so nothing would move; ask for more, or for another --strength than 0"
LONGEST = 16  # times the photo's long side: no motion is longer
FIX_MEMORY = "use --low-memory, --model embedded or --device cpu"
Panels = list[tuple[str, Tensor]]


@dataclass(frozen=True)
class TransferOutput:
    """frames float32[T,3,H,W] in [0,1] at the photo's size, the retargeted flow, the subject, and how it went.

    `edit` float32[1,1,H,W] is 1 where pixels may differ from the photo's. `panels` are the preview's pictures. Of a
    photo that is not opaque the colours are straight, and `alpha` float32[T,1,H,W] goes with them.
    """

    frames: Tensor
    flow: FlowField
    subject: Subject
    recipe: PhotoRecipe
    metrics: EditMetrics
    timings: dict[str, float]
    edit: Tensor
    panels: Panels = field(repr=False)
    photo: Photo = field(repr=False)
    alpha: Tensor | None = None

    @property
    def seen(self) -> Tensor:
        """The frames as they are looked at and measured: over the photo's matte where they are not opaque."""
        return over(self.frames, self.alpha, self.photo.matte)

    @property
    def pixels(self) -> Pixels:
        """The first frame in the photo's mode and depth, uint8 or uint16 [H,W,C]; outside the edit the photo's own."""
        made = self.photo.levels(self.frames[0], None if self.alpha is None else self.alpha[0])
        return np.where((self.edit[0, 0] > 0).numpy()[..., None], made, self.photo.pixels)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A job up to its sampling: the photo `own` [1,3,H,W] and `mask` on the run's device, and the draft.

    `tools` and `part` are what is sampled with and in which window; None where the draft is the result.
    """

    run: Run
    photo: Photo
    subject: Subject
    flow: FlowField
    panels: Panels
    own: Tensor
    mask: Tensor
    draft: WarpComposite
    where: Window = WHOLE
    tools: SamplingTools | None = None
    part: Part | None = None

    def seen(self) -> Panels:
        """The preview's pictures of what the job goes by."""
        return [
            *self.panels,
            ("photo and subject", with_mask(self.photo.image, self.subject.mask)),
            ("flow on the photo", with_flow(self.photo.image, self.flow.flow[0].cpu())),
        ]


def prepare(run: Run, photo: Photo, subject: Subject, flow: FlowField, panels: Panels) -> Prepared:
    """All of a job that comes before its sampling. Raises InputError when nothing would move, and ModelError."""
    recipe, own = run.recipe, photo.image[None].to(run.device)
    subject, flow = _with_the_rest(recipe, photo, subject, flow)
    mask = subject.mask[None].to(run.device)
    require_motion(flow)
    warn_of_border(flow.flow.to(run.device), mask)
    with run.stage("warp"):
        background = remove_subject(own, mask)
        run.report("warp", 1, 2, None)
        draft = make_composite(own, flow.flow.to(run.device), mask, background)
    job = Prepared(run, photo, subject, flow, panels, own, mask, draft)
    if not recipe.sampler.steps:
        return job
    where = window(draft.edit, SURROUNDINGS_SHARE, model_side_px(recipe.model)) if recipe.sampler.crop else WHOLE
    with run.stage("model"):
        tools = run.tools()
    return replace(job, where=where, tools=tools, part=cut(flow, own, mask, background, draft, where))


def _with_the_rest(recipe: PhotoRecipe, photo: Photo, subject: Subject, flow: FlowField) -> tuple[Subject, FlowField]:
    """The subject with what goes with it, and how that follows."""
    for each in followers(recipe, photo, subject):
        subject, flow = subject_from_mask(photo.image, each.whole), each.follow(flow)
    return subject, flow


def followers(recipe: PhotoRecipe, photo: Photo, subject: Subject) -> tuple[Falloff | Shadow, ...]:
    """What goes with the subject, each with what came before: the object of which it is a part, then its shadow.

    Not the rest of what the finder took whole, and no shadow of all that is in a picture or that a flow file moves.
    """
    found: list[Falloff | Shadow] = []
    prompts = parse_prompts(recipe.subject)
    if any(prompt.kind in ("file", "box") or prompt.text == MOVING for prompt in prompts):
        falloff = falloff_of(photo.image, subject.mask, recipe.falloff)
        found += [] if falloff is None else [falloff]
    told = getattr(recipe, "flow", None) is not None or getattr(recipe, "align", "") == "none"
    whole = photo.alpha is not None or any(prompt.text == "all" for prompt in prompts)
    if recipe.shadow == "move" and not told and not whole:
        shadow = shadow_of(photo.image, found[-1].whole if found else subject.mask)
        if shadow is not None:
            tell("shadow: found at the subject's foot, so it moves along; --shadow keep leaves it where it is")
            found.append(shadow)
    return tuple(found)


def warn_of_border(flow: Tensor, mask: Tensor) -> None:
    """Say so where much of what comes into sight was beyond the photo's border."""
    if (line := border_warning(flow, mask)) is not None:
        warn(line)


def require_motion(flow: FlowField) -> None:
    """Raises InputError for a flow in which nothing moves, or further than any photo is wide."""
    if not bool(flow.flow.any()):
        raise InputError(ZERO_MOTION)
    longest_px, side_px = float(flow.flow.abs().max()), max(flow.size)
    if longest_px > LONGEST * side_px:
        raise InputError(
            f"the motion asked for is {longest_px:.3g} px, on a photo of {side_px} px; ask for less, or check its unit"
        )


def finish(jobs: Sequence[Prepared]) -> list[TransferOutput]:
    """Sample, bring the results to the photos' sizes, measure: jobs that are alike go through the sampler together.

    The jobs' settings may differ in inputs, subjects, strength and seed alone, or in prompts. When the device's memory
    is full, each of them goes alone. Raises MTransferError when that is too much, too.
    """
    alike: dict[Any, list[int]] = defaultdict(list)
    for place, job in enumerate(jobs):
        alike[_kind(job, place)].append(place)
    outputs: dict[int, TransferOutput] = {}
    for places in alike.values():
        some = [jobs[place] for place in places]
        for place, job, (edited, evaluations) in zip(places, some, _edited(some), strict=True):
            outputs[place] = _measured(job, edited, evaluations)
    return [outputs[place] for place in range(len(jobs))]


def _kind(job: Prepared, place: int) -> Any:
    """What jobs must have in common to be sampled in one pass; what nothing shares is alone."""
    if job.part is None or job.tools is None or job.tools.noise is not None:
        return place
    return size_to_sample(job.tools, job.part.own), job.run.recipe.prompt, job.run.recipe.negative_prompt


def _edited(jobs: Sequence[Prepared]) -> list[tuple[Tensor, int]]:
    if len(jobs) > 1:
        with contextlib.suppress(torch.OutOfMemoryError):
            return _in_one_pass(jobs)
    try:
        return [_in_one_pass([job])[0] for job in jobs]
    except torch.OutOfMemoryError as error:
        raise MTransferError(f"the memory of {jobs[0].run.device} is full; {FIX_MEMORY}") from error


def _in_one_pass(jobs: Sequence[Prepared]) -> list[tuple[Tensor, int]]:
    """The edited photos [1,3,H,W] at their own sizes, and the number of guided evaluations of each."""
    if jobs[0].part is None or jobs[0].tools is None:
        return [(blend(job.own, job.draft.image, job.draft.edit), 0) for job in jobs]
    with contextlib.ExitStack() as stages:
        for job in jobs:
            stages.enter_context(job.run.stage("sample"))
        parts, seeds = [job.part for job in jobs if job.part], [job.run.recipe.seed for job in jobs]
        painted, evaluations = sample_parts(jobs[0].tools, parts, seeds, _reporter(jobs))
    return [(_inserted(job, part), evaluations) for job, part in zip(jobs, painted, strict=True)]


def _inserted(job: Prepared, part: Tensor) -> Tensor:
    edited = job.own.clone()
    edited[..., job.where[0], job.where[1]] = part
    return edited


def _measured(job: Prepared, edited: Tensor, evaluations: int) -> TransferOutput:
    run, draft = job.run, job.draft
    warn_of_no_generator(run.recipe)
    with run.stage("measure"):
        metrics = _measure(job, edited, evaluations)
    if run.clip_was_read:
        metrics["clip_reader"] = run.clip_reader.by
    panels = [*job.seen(), ("warp", draft.image[0].cpu()), ("result", edited[0].cpu())]
    frames, alpha = edited.cpu(), None
    if job.photo.alpha is not None:
        frames, alpha = with_alpha(job.photo, frames, job.flow.flow.cpu(), job.mask.cpu(), draft.edit.cpu())
    return TransferOutput(
        frames, job.flow, job.subject, run.recipe, metrics, run.timings, draft.edit.cpu(), panels, job.photo, alpha
    )


def warn_of_no_generator(recipe: PhotoRecipe) -> None:
    """Say so when the model is asked for more than it can."""
    if recipe.model == "embedded" and recipe.sampler.steps and not recipe.sampler.show_draft:
        warn(f"--preset {recipe.preset}: {NO_GENERATOR}")


def _reporter(jobs: Sequence[Prepared]) -> Callback:
    last: list[float | None] = [None] * len(jobs)

    def report(pipe: Any, index: int, t: float, values: dict[str, Any]) -> None:
        if values["energy"] is not None:
            last[:] = values["energy"].total.tolist()
        for job, energy, x0 in zip(jobs, last, values["x0"].split(1), strict=True):
            job.run.report("sample", index + 1, values["count"], energy)
            if job.run.watch:
                job.run.watch(partial(lambda x0: pipe.decode_latents(x0).clamp(0, 1), x0))

    return report


def _measure(job: Prepared, edited: Tensor, evaluations: int) -> EditMetrics:
    asked = job.flow.flow.to(job.own), job.mask
    by_raft = None
    if evaluations:
        from mtransfer.flow.loading import load_judge  # and with it torchvision, which nothing else needs here

        by_raft = flow_error(load_judge(job.run.guide_name, job.run.device), job.own, edited, *asked)
    return {
        "flow_error_raft": by_raft,
        "flow_error_dis": flow_error(DisFlow(), job.own, edited, *asked),
        "moved_as_asked": moved_as_asked(job.own, edited, *asked),
        "moved_within_px": within_px(job.own),
        "background_psnr_db": background_psnr_db(job.own, edited, job.draft.edit),
        "guided_evaluations": evaluations,
    }
