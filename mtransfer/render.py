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
from mtransfer.preview import with_flow, with_mask
from mtransfer.raft import MAX_LEVELS
from mtransfer.recipe import PhotoRecipe
from mtransfer.run import Run
from mtransfer.sampler import SIDE_MULTIPLE
from mtransfer.subject import Subject
from mtransfer.window import WHOLE, window

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
    edited, evaluations = blend(own, draft.image, draft.edit), 0
    if recipe.sampler.steps:
        rows, columns = WHOLE
        if recipe.sampler.crop:
            rows, columns = window(draft.edit, SURROUNDINGS_SHARE, model_side_px(recipe.model))
        cut = [each[..., rows, columns] for each in (own, mask, background, draft.image, draft.edit)]
        part = FlowField(flow.flow[..., rows, columns], flow.confidence[..., rows, columns])
        edited[..., rows, columns], evaluations = _sample(run, part, *cut)
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


def _sample(
    run: Run, flow: FlowField, own: Tensor, mask: Tensor, background: Tensor, start: Tensor, edit: Tensor
) -> tuple[Tensor, int]:
    """The edited photo at its own size, and the number of guided evaluations.

    What the sampler changed of its start at the model's size is added to the start at the photo's own size, so moved
    detail stays as sharp as the photo.
    """
    settings = run.recipe.sampler
    with run.stage("model"):
        noise, pipe, guide = _noise(run.recipe), run.pipeline(), run.guide()
    # A generated photo keeps its size, for which alone its noise is right.
    side = model_side_px(run.recipe.model) if noise is None else max(own.shape[-2:])
    size = model_size((own.shape[-2], own.shape[-1]), side)
    small = F.interpolate(own, size, mode="area")
    with run.stage("sample"):
        result = pipe(
            small,
            resize(flow, size).flow,
            guide,
            settings,
            mask=F.interpolate(mask, size, mode="area"),
            background=F.interpolate(background, size, mode="area"),
            prompt=run.recipe.prompt,
            negative_prompt=run.recipe.negative_prompt,
            noise=noise,
            energy_terms=run.energy_terms,
            generator=torch.Generator().manual_seed(run.recipe.seed),
            callback_on_step_end=_reporter(run),
            output_type="pt",
        )
    if run.recipe.model == "embedded" and not settings.show_draft:
        warn(f"--preset {run.recipe.preset}: {NO_GENERATOR}")
    base_small, base = (result.draft.image, start) if settings.start == "warp" else (small, own)
    change = F.interpolate(result.images - base_small, own.shape[-2:], mode="bicubic", align_corners=False)
    return blend(own, (base + change).clamp(0, 1), edit), result.evaluations


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
