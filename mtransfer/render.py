"""From a flow on a photo to the moved photo: sampled at the model's size, brought to the photo's own, measured."""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from mtransfer.console import warn
from mtransfer.draft import Draft, blend, make_draft, take_out
from mtransfer.errors import InputError
from mtransfer.field import FlowField, resize
from mtransfer.flow import DisFlow
from mtransfer.guidance import FlowModel
from mtransfer.metrics import background_psnr_db, flow_error
from mtransfer.models import READING_UPDATES, load_flow_model, model_side_px
from mtransfer.photo import Photo
from mtransfer.plan import Callback
from mtransfer.preview import with_flow, with_mask
from mtransfer.raft import MAX_LEVELS
from mtransfer.recipe import PhotoRecipe
from mtransfer.run import Run
from mtransfer.sampler import SIDE_MULTIPLE, MotionGuidedPipeline
from mtransfer.subject import Subject
from mtransfer.window import WHOLE, Window, window

SHORTEST_SIDE_PX = 128
SURROUNDINGS_SHARE = 0.35  # of what may change, on every side, for the model to go by
NO_GENERATOR = "the embedded model betters a warp and is no generator; for a good picture use Stable Diffusion"
Panels = list[tuple[str, Tensor]]


@dataclass(frozen=True)
class TransferOutput:
    """frames float32[T,3,H,W] in [0,1] at the photo's size, the retargeted flow, the subject, and how it went.

    `edit` float32[1,1,H,W] is 1 where pixels may differ from the photo's. `panels` are the preview's pictures.
    """

    frames: Tensor
    flow: FlowField
    subject: Subject
    recipe: PhotoRecipe
    metrics: dict[str, Any]
    timings: dict[str, float]
    edit: Tensor
    panels: Panels = field(repr=False)
    icc_profile: bytes | None = field(default=None, repr=False)


def finish(run: Run, photo: Photo, subject: Subject, flow: FlowField, panels: Panels) -> TransferOutput:
    """Sample at the model's size, bring the result to the photo's, measure."""
    recipe, own = run.recipe, photo.image[None].to(run.device)
    mask = subject.mask[None].to(run.device)
    if not bool(flow.flow.any()):
        raise InputError("the motion asked for is zero, so nothing would move; ask for more, or for --strength above 0")
    with run.stage("warp"):
        background = take_out(own, mask)
        draft = make_draft(own, flow.flow.to(run.device), mask, background)
    if not recipe.sampler.steps:
        edited, evaluations = blend(own, draft.image, draft.edit), 0
    else:
        where = WHOLE
        if recipe.sampler.crop:
            where = window(draft.edit, SURROUNDINGS_SHARE, model_side_px(recipe.model))
        with run.stage("model"):
            tools = load_tools(run)
        with run.stage("sample"):
            part = cut(flow, own, mask, background, draft, where)
            edited = own.clone()
            edited[..., where[0], where[1]], evaluations = sample_part(run, tools, part, _reporter(run))
    warn_of_no_generator(recipe)
    with run.stage("measure"):
        metrics = _measure(run, own, edited, flow, mask, draft) | {"guided_evaluations": evaluations}
    panels = [
        *panels,
        ("photo and subject", with_mask(photo.image, subject.mask)),
        ("flow on the photo", with_flow(photo.image, flow.flow[0].cpu())),
        ("warp", draft.image[0].cpu()),
        ("result", edited[0].cpu()),
    ]
    return TransferOutput(
        edited.cpu(), flow, subject, recipe, metrics, run.timings, draft.edit.cpu(), panels, photo.icc_profile
    )


@dataclass(frozen=True)
class Tools:
    """What sampling needs that is loaded once: the pipeline, the flow net that guides, a generated photo's noise."""

    pipe: MotionGuidedPipeline
    guide: FlowModel
    noise: Tensor | None


@dataclass(frozen=True)
class Part:
    """What of a photo is sampled, at the photo's own size: the flow, the photo, and its draft from parts.

    `own`, `background` and `start`, the draft, are [1,3,H,W] in [0,1], `mask` and `edit` [1,1,H,W].
    """

    flow: FlowField
    own: Tensor
    mask: Tensor
    background: Tensor
    start: Tensor
    edit: Tensor


def cut(flow: FlowField, own: Tensor, mask: Tensor, background: Tensor, draft: Draft, where: Window) -> Part:
    """The part of a job inside a window."""
    rows, columns = where
    pictures = [each[..., rows, columns] for each in (own, mask, background, draft.image, draft.edit)]
    return Part(FlowField(flow.flow[..., rows, columns], flow.confidence[..., rows, columns]), *pictures)


def load_tools(run: Run) -> Tools:
    """The tools that a run's recipe names. Raises ModelError and InputError for what is not there."""
    return Tools(run.pipeline(), run.guide(), _noise(run.recipe))


def warn_of_no_generator(recipe: PhotoRecipe) -> None:
    """Say so when the model is asked for more than it can."""
    if recipe.model == "embedded" and recipe.sampler.steps and not recipe.sampler.show_draft:
        warn(f"--preset {recipe.preset}: {NO_GENERATOR}")


def size_to_sample(run: Run, tools: Tools, own: Tensor) -> tuple[int, int]:
    """(H, W) at which a part that shows `own` is sampled."""
    # A generated photo keeps its size, for which alone its noise is right.
    side = model_side_px(run.recipe.model) if tools.noise is None else max(own.shape[-2:])
    return model_size((own.shape[-2], own.shape[-1]), side)


def sample_part(
    run: Run, tools: Tools, part: Part, on_step: Callback, carried: Tensor | None = None
) -> tuple[Tensor, int]:
    """The edited part at its own size, and the number of guided evaluations.

    What the sampler changed of its start at the model's size is added to the start at the photo's own size, so moved
    detail stays as sharp as the photo. `carried`, at the size to sample, is added to the start beforehand.
    """
    settings, size = run.recipe.sampler, size_to_sample(run, tools, part.own)
    small = F.interpolate(part.own, size, mode="area")
    result = tools.pipe(
        small,
        resize(part.flow, size).flow,
        tools.guide,
        settings,
        mask=F.interpolate(part.mask, size, mode="area"),
        background=F.interpolate(part.background, size, mode="area"),
        prompt=run.recipe.prompt,
        negative_prompt=run.recipe.negative_prompt,
        noise=tools.noise,
        carried=carried,
        energy_terms=run.energy_terms,
        generator=torch.Generator().manual_seed(run.recipe.seed),
        callback_on_step_end=on_step,
        output_type="pt",
    )
    base_small, base = (result.draft.image, part.start) if settings.start == "warp" else (small, part.own)
    change = F.interpolate(result.images - base_small, part.own.shape[-2:], mode="bicubic", align_corners=False)
    return blend(part.own, (base + change).clamp(0, 1), part.edit), result.evaluations


def _noise(recipe: PhotoRecipe) -> Tensor | None:
    if recipe.noise is None:
        return None
    try:
        return load_file(recipe.noise)["noise"]
    except Exception as error:
        raise InputError(f"{recipe.noise}: not a noise file of mtransfer generate ({type(error).__name__})") from error


def model_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """The nearest size with the model's long side, both sides multiples of 64 and at least 128."""
    scale = long_side / max(size)
    height, width = (max(SHORTEST_SIDE_PX, round(s * scale / SIDE_MULTIPLE) * SIDE_MULTIPLE) for s in size)
    return height, width


def _reporter(run: Run) -> Any:
    last: list[float | None] = [None]

    def report(pipe: Any, index: int, t: int, values: dict[str, Any]) -> None:
        if values["energy"] is not None:
            last[0] = float(values["energy"].total.sum())
        run.report("sample", index + 1, values["count"], last[0])

    return report


def _measure(run: Run, own: Tensor, edited: Tensor, flow: FlowField, mask: Tensor, draft: Draft) -> dict[str, Any]:
    target = flow.flow.to(own)
    judges: dict[str, FlowModel] = {
        "raft": load_flow_model(run.guide_name, READING_UPDATES, MAX_LEVELS, run.device),
        "dis": DisFlow(),
    }
    errors = {f"flow_error_{name}": flow_error(judge, own, edited, target, mask) for name, judge in judges.items()}
    return {**errors, "background_psnr_db": background_psnr_db(own, edited, draft.edit)}
