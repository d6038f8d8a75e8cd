"""The jobs: a recipe in, a moved photo out."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.cache import file_hash, remember
from mtransfer.clip import parse_pair, probe, read_frames, require_pair
from mtransfer.elementary import edit_field
from mtransfer.errors import InputError
from mtransfer.field import FlowField
from mtransfer.flow import estimate_field
from mtransfer.models import EMBEDDED_SIDE_PX, flow_model_id, reading_side_px
from mtransfer.photo import Photo, read_photo
from mtransfer.preview import with_flow, with_mask
from mtransfer.recipe import EditRecipe, TransferRecipe
from mtransfer.render import Panels, TransferOutput, finish
from mtransfer.retarget import (
    Fit,
    camera_flow,
    fit_frames,
    fit_similarity,
    moving_subject,
    retarget,
    subject_motion_px,
    without_camera,
)
from mtransfer.run import Run, start
from mtransfer.segmenters import segment_by
from mtransfer.subject import Subject, resolve_word, segment, subject_from_mask

CANDIDATES, NEAREST_SHARE = 7, 0.06  # frames tried as B, from this share of the clip to its end
MOVING = "moving"  # the subject of a clip, or of a flow file, when none is named


def transfer(recipe: TransferRecipe | None = None, **options: Any) -> TransferOutput:
    """Move the photo's subject the way the clip's subject moves.

    Takes a recipe, or its fields by name: transfer(clip="a.mp4", photo="b.jpg", preset="draft", sampler={"steps": 20}).
    Also `report(stage, done, total, energy)`, called on the way; `guide`, a FlowModel in place of the one `flow_model`
    names; `energy_terms`, EnergyTerms to add to the energy. Raises InputError and ModelError, one line each.
    """
    run, recipe = start(TransferRecipe, recipe, **options)
    photo, subject = _photo_and_subject(run, recipe.subject)
    with run.stage("clip"):
        frames, pair = _read_pair(recipe, run)
        run.resolve(
            pair=f"{pair[0]}:{pair[1]}", clip_subject=MOVING if recipe.clip_subject == "auto" else recipe.clip_subject
        )
        reading = _read_flow(run, frames, recipe.clip, pair)
        clip_subject, motion = _clip_motion(recipe, frames, reading, pair[0])
    with run.stage("retarget"):
        fit = _fit(recipe, clip_subject, subject)
        flow = retarget(motion, fit, clip_subject.mask, subject.mask, recipe.strength)
    panels: Panels = [
        (f"clip, frame {pair[0]}", with_mask(frames[0], clip_subject.mask)),
        (f"clip, frame {pair[1]}", frames[1]),
        ("its flow", with_flow(frames[0], motion.flow[0])),
    ]
    return finish(run, photo, subject, flow, panels)


def edit(recipe: EditRecipe | None = None, **options: Any) -> TransferOutput:
    """Move the photo's subject along a flow file or elementary motions.

    Takes what `transfer` takes: edit(photo="b.jpg", translate="40,0"). Raises InputError and ModelError.
    """
    run, recipe = start(EditRecipe, recipe, **options)
    told_by_flow = recipe.flow is not None and recipe.subject in ("auto", MOVING)
    photo, subject = _photo_and_subject(run, "all" if told_by_flow else recipe.subject)
    if told_by_flow:
        run.resolve(subject=MOVING)
    subject, flow = edit_field(recipe, photo, subject)
    return finish(run, photo, subject, flow, [])


def _photo_and_subject(run: Run, spec: str) -> tuple[Photo, Subject]:
    with run.stage("photo"):
        recipe = run.recipe
        photo = read_photo(recipe.photo)
        run.resolve(subject=resolve_word(spec, photo.alpha))
        return photo, segment_by(recipe.segmenter, photo.image, spec, photo.alpha, device=run.device)


def _read_pair(recipe: TransferRecipe, run: Run) -> tuple[Tensor, tuple[int, int]]:
    """Frames A and B [2,3,H,W] at the size flow is read at, and their numbers."""
    clip = probe(recipe.clip)
    require_pair(clip)
    pair = parse_pair(recipe.pair, clip) if recipe.pair else _liveliest_pair(recipe, clip.frame_count, run)
    side = min(reading_side_px(recipe.flow_model), max(clip.size))
    return read_frames(clip, list(pair), long_side=side).to(run.device), pair


def _liveliest_pair(recipe: TransferRecipe, frame_count: int, run: Run) -> tuple[int, int]:
    """The first frame and the one with the largest confident subject motion, of a few tried."""
    shares = np.geomspace(NEAREST_SHARE, 1, CANDIDATES)  # dense near A, where flow is surest
    candidates = [int(index) for index in np.unique((shares * (frame_count - 1)).round()) if index > 0]
    frames = read_frames(recipe.clip, [0, *candidates], long_side=EMBEDDED_SIDE_PX).to(run.device)
    motions = []
    for index, second in zip(candidates, frames[1:], strict=True):
        reading = _read_flow(run, torch.stack([frames[0], second]), recipe.clip, (0, index))
        try:
            motions.append(subject_motion_px(*_subject_and_camera(frames[0], reading)))
        except InputError:
            motions.append(0.0)
    if not any(motions):
        raise InputError(f"{recipe.clip}: nothing moves against the camera; choose frames with --pair A:B")
    return 0, candidates[int(np.argmax(motions))]


def _read_flow(run: Run, frames: Tensor, clip: Path, pair: tuple[int, int]) -> FlowField:
    """Flow and confidence from the first frame to the second, from the cache where they were read before."""
    key = {
        "clip": file_hash(clip),
        "pair": pair,
        "size": frames.shape[-2:],
        "model": flow_model_id(run.recipe.flow_model),
        "device": run.device.type,
    }

    def read() -> dict[str, Tensor]:
        field = estimate_field(run.reader(), frames[:1], frames[1:])
        return {"flow": field.flow, "confidence": field.confidence}

    held = remember("flow", key, read)
    return FlowField(held["flow"].to(frames), held["confidence"].to(frames))


def _subject_and_camera(frame: Tensor, reading: FlowField) -> tuple[Subject, FlowField, Tensor]:
    subject, camera = moving_subject(frame, reading)
    return subject, reading, camera


def _clip_motion(recipe: TransferRecipe, frames: Tensor, reading: FlowField, first: int) -> tuple[Subject, FlowField]:
    """The clip's subject in its frame `first`, and its flow with the camera's taken off where asked."""
    if recipe.clip_subject in ("auto", MOVING):
        subject, camera = moving_subject(frames[0], reading)
    else:
        # Points, boxes and masks are of the clip's own size.
        whole = segment(read_frames(recipe.clip, [first])[0], recipe.clip_subject, flag="--clip-subject")
        small = F.interpolate(whole.mask[None], frames.shape[-2:], mode="area")[0]
        subject = subject_from_mask(frames[0], small.to(frames))
        camera = camera_flow(reading, 1 - subject.mask)
    if recipe.camera == "keep" or recipe.clip_subject == "all":
        return subject, reading
    return subject, FlowField(without_camera(reading.flow, camera), reading.confidence)


def _fit(recipe: TransferRecipe, clip_subject: Subject, subject: Subject) -> Fit:
    if recipe.align == "none":
        height_width = [tuple(s.image.shape[-2:]) for s in (clip_subject, subject)]
        return fit_frames(*height_width)  # type: ignore[arg-type]
    return fit_similarity(clip_subject, subject)
