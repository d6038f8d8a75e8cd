"""The jobs: a recipe in, a moved photo out."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.clip import parse_pair, probe, read_frames, require_pair
from mtransfer.console import Report, warn
from mtransfer.draft import Draft, blend, make_draft
from mtransfer.elementary import edit_field
from mtransfer.errors import InputError
from mtransfer.field import FlowField, resize
from mtransfer.flow import DisFlow, estimate_field
from mtransfer.guidance import FlowModel
from mtransfer.metrics import background_psnr_db, flow_error
from mtransfer.models import (
    EMBEDDED_SIDE_PX,
    choose_device,
    choose_dtype,
    load_flow_model,
    load_pipeline,
    model_side_px,
    reading_side_px,
    resolve_flow_model,
    resolve_model,
)
from mtransfer.photo import Photo, read_photo
from mtransfer.preview import with_flow, with_mask
from mtransfer.raft import MAX_LEVELS
from mtransfer.recipe import EditRecipe, Recipe, TransferRecipe
from mtransfer.retarget import Fit, camera_flow, fit_frames, fit_similarity, moving_subject, retarget, subject_motion_px
from mtransfer.sampler import SIDE_MULTIPLE
from mtransfer.subject import Subject, segment

CANDIDATES, NEAREST_SHARE = 7, 0.06  # frames tried as B, from this share of the clip to its end
READING_UPDATES = 12  # RAFT updates when reading a clip: no gradient needed, so more than in guidance
SHORTEST_SIDE_PX = 128

Panels = list[tuple[str, Tensor]]


def _silent(stage: str, done: int, total: int, energy: float | None) -> None:
    pass


@dataclass(frozen=True)
class TransferOutput:
    """frames float32[T,3,H,W] in [0,1] at the photo's size, the retargeted flow, the subject, and how it went.

    `edit` float32[1,1,H,W] is 1 where pixels may differ from the photo's. `panels` are the preview's pictures.
    """

    frames: Tensor
    flow: FlowField
    subject: Subject
    recipe: Recipe
    metrics: dict[str, Any]
    timings: dict[str, float]
    edit: Tensor
    panels: Panels = field(repr=False)
    icc_profile: bytes | None = field(default=None, repr=False)


class _Run:
    """One job under way: its recipe with `auto` resolved as it goes, and how long each stage took."""

    def __init__(self, recipe: Recipe, report: Report) -> None:
        self.report, self.timings = report, dict[str, float]()
        self.device = choose_device(recipe.device)
        self.model = resolve_model(recipe.model)
        resolved = {"model": self.model, "flow_model": resolve_flow_model(recipe.flow_model)}
        self.recipe = recipe.model_copy(update=resolved)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.report(name, 0, 1, None)
        started = time.monotonic()
        yield
        self.timings[name] = round(time.monotonic() - started, 3)

    def reader(self) -> FlowModel:
        """The flow estimator that reads clips, coarse to fine."""
        return load_flow_model(self.recipe.flow_model, READING_UPDATES, MAX_LEVELS, self.device)

    @property
    def guide_name(self) -> str:
        """The RAFT that guides and judges: DIS has no gradient, so it only reads."""
        return "auto" if self.recipe.flow_model == "dis" else self.recipe.flow_model


def transfer(recipe: TransferRecipe, report: Report = _silent) -> TransferOutput:
    """Move the photo's subject the way the clip's subject moves. Raises InputError and ModelError, one line each."""
    run = _Run(recipe, report)
    photo, subject = _photo_and_subject(recipe, run)
    with run.stage("clip"):
        frames, pair = _read_pair(recipe, run)
        run.recipe = run.recipe.model_copy(update={"pair": f"{pair[0]}:{pair[1]}"})
        reading = estimate_field(run.reader(), frames[:1], frames[1:])
        clip_subject, motion = _clip_motion(recipe, frames, reading)
    with run.stage("retarget"):
        fit = _fit(recipe, clip_subject, subject)
        flow = retarget(motion, fit, clip_subject.mask, subject.mask, recipe.strength)
    panels: Panels = [
        (f"clip, frame {pair[0]}", with_mask(frames[0], clip_subject.mask)),
        (f"clip, frame {pair[1]}", frames[1]),
        ("its flow", with_flow(frames[0], motion.flow[0])),
    ]
    return _finish(run, photo, subject, flow, panels)


def edit(recipe: EditRecipe, report: Report = _silent) -> TransferOutput:
    """Move the photo's subject along a flow file or elementary motions. Raises InputError and ModelError."""
    run = _Run(recipe, report)
    # A flow file says itself what moves.
    shown = recipe if recipe.flow is None else recipe.model_copy(update={"subject": "all"})
    photo, subject = _photo_and_subject(shown, run)
    subject, flow = edit_field(recipe, photo, subject)
    return _finish(run, photo, subject, flow, [])


def _photo_and_subject(recipe: Recipe, run: _Run) -> tuple[Photo, Subject]:
    with run.stage("photo"):
        photo = read_photo(recipe.photo)
        return photo, segment(photo.image, recipe.subject, photo.alpha)


def _read_pair(recipe: TransferRecipe, run: _Run) -> tuple[Tensor, tuple[int, int]]:
    """Frames A and B [2,3,H,W] at the size flow is read at, and their numbers."""
    clip = probe(recipe.clip)
    require_pair(clip)
    pair = parse_pair(recipe.pair, clip) if recipe.pair else _liveliest_pair(recipe, clip.frame_count, run)
    side = min(reading_side_px(recipe.flow_model), max(clip.size))
    return read_frames(clip, list(pair), long_side=side).to(run.device), pair


def _liveliest_pair(recipe: TransferRecipe, frame_count: int, run: _Run) -> tuple[int, int]:
    """The first frame and the one with the largest confident subject motion, of a few tried."""
    shares = np.geomspace(NEAREST_SHARE, 1, CANDIDATES)  # dense near A, where flow is surest
    candidates = [int(index) for index in np.unique((shares * (frame_count - 1)).round()) if index > 0]
    frames = read_frames(recipe.clip, [0, *candidates], long_side=EMBEDDED_SIDE_PX).to(run.device)
    motions = []
    for second in frames[1:]:
        reading = estimate_field(run.reader(), frames[:1], second[None])
        try:
            motions.append(subject_motion_px(*_subject_and_camera(frames[0], reading)))
        except InputError:
            motions.append(0.0)
    if not any(motions):
        raise InputError(f"{recipe.clip}: nothing moves against the camera; choose frames with --pair A:B")
    return 0, candidates[int(np.argmax(motions))]


def _subject_and_camera(frame: Tensor, reading: FlowField) -> tuple[Subject, FlowField, Tensor]:
    subject, camera = moving_subject(frame, reading)
    return subject, reading, camera


def _clip_motion(recipe: TransferRecipe, frames: Tensor, reading: FlowField) -> tuple[Subject, FlowField]:
    """The clip's subject, and its flow with the camera's taken off where asked."""
    if recipe.clip_subject == "auto":
        subject, camera = moving_subject(frames[0], reading)
    else:
        subject = segment(frames[0], recipe.clip_subject, flag="--clip-subject")
        camera = camera_flow(reading, 1 - subject.mask)
    if recipe.camera == "keep" or recipe.clip_subject == "all":
        return subject, reading
    return subject, FlowField(reading.flow - camera, reading.confidence)


def _fit(recipe: TransferRecipe, clip_subject: Subject, subject: Subject) -> Fit:
    if recipe.align == "none":
        height_width = [tuple(s.image.shape[-2:]) for s in (clip_subject, subject)]
        return fit_frames(*height_width)  # type: ignore[arg-type]
    return fit_similarity(clip_subject, subject)


def _finish(run: _Run, photo: Photo, subject: Subject, flow: FlowField, panels: Panels) -> TransferOutput:
    """Sample at the model's size, bring the result to the photo's, measure."""
    recipe, own = run.recipe, photo.image[None].to(run.device)
    mask = subject.mask[None].to(run.device)
    if not bool(flow.flow.any()):
        raise InputError("the motion asked for is zero, so nothing would move; ask for more, or for --strength above 0")
    with run.stage("warp"):
        draft = make_draft(own, flow.flow.to(run.device), mask)
    if recipe.sampler.steps == 0:
        edited, evaluations = blend(own, draft.image, draft.edit), 0
    else:
        edited, evaluations = _sample(run, own, flow, mask, draft)
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


def _sample(run: _Run, own: Tensor, flow: FlowField, mask: Tensor, draft: Draft) -> tuple[Tensor, int]:
    """The edited photo at its own size, and the number of guided evaluations.

    What the sampler changed of its start at the model's size is added to the start at the photo's own size, so moved
    detail stays as sharp as the photo.
    """
    settings = run.recipe.sampler
    with run.stage("model"):
        pipe = load_pipeline(run.model, run.device, choose_dtype(run.recipe.dtype, run.device))
        if (run.recipe.prompt or run.recipe.negative_prompt) and not pipe.takes_prompt:
            warn(f"--prompt: the model {run.model} takes no text, so it has no effect")
        guide = load_flow_model(run.guide_name, settings.flow_updates, settings.flow_levels, run.device)
    size = model_size(tuple(own.shape[-2:]), model_side_px(run.model))  # type: ignore[arg-type]
    small = F.interpolate(own, size, mode="area")
    with run.stage("sample"):
        result = pipe(
            small,
            resize(flow, size).flow,
            guide,
            settings,
            mask=F.interpolate(mask, size, mode="area"),
            prompt=run.recipe.prompt,
            negative_prompt=run.recipe.negative_prompt,
            generator=torch.Generator().manual_seed(run.recipe.seed),
            callback_on_step_end=_reporter(run),
            output_type="pt",
        )
    started_warm = settings.start == "warp"
    base_small, base = (result.draft.image, draft.image) if started_warm else (small, own)
    change = F.interpolate(result.images - base_small, own.shape[-2:], mode="bicubic", align_corners=False)
    return blend(own, (base + change).clamp(0, 1), draft.edit), result.evaluations


def model_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """The nearest size with the model's long side, both sides multiples of 64 and at least 128."""
    scale = long_side / max(size)
    height, width = (max(SHORTEST_SIDE_PX, round(s * scale / SIDE_MULTIPLE) * SIDE_MULTIPLE) for s in size)
    return height, width


def _reporter(run: _Run) -> Any:
    last: list[float | None] = [None]

    def report(pipe: Any, index: int, t: int, values: dict[str, Any]) -> None:
        if values["energy"] is not None:
            last[0] = float(values["energy"].total.sum())
        run.report("sample", index + 1, values["count"], last[0])

    return report


def _measure(run: _Run, own: Tensor, edited: Tensor, flow: FlowField, mask: Tensor, draft: Draft) -> dict[str, Any]:
    target = flow.flow.to(own)
    judges: dict[str, FlowModel] = {
        "raft": load_flow_model(run.guide_name, READING_UPDATES, MAX_LEVELS, run.device),
        "dis": DisFlow(),
    }
    errors = {f"flow_error_{name}": flow_error(judge, own, edited, target, mask) for name, judge in judges.items()}
    return {**errors, "background_psnr_db": background_psnr_db(own, edited, draft.edit)}
