"""Short animations: a photo's subject moves the way a clip's does, painted frame by frame.

Frames are painted into a folder, and those that are there already are not painted again.
"""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mtransfer.evaluation.metrics import flow_error
from mtransfer.evaluation.moved_as_asked import moved_as_asked, within_px
from mtransfer.files import atomic_write
from mtransfer.flow.estimator import DisFlow
from mtransfer.flow.field import FlowField, resize
from mtransfer.flow.warp import magnitude
from mtransfer.jobs.animation.clip_scene import read_clip_scene
from mtransfer.jobs.animation.edit_scene import read_edit_scene
from mtransfer.jobs.animation.scene import Scene
from mtransfer.jobs.context import Run
from mtransfer.jobs.metrics import AnimationMetrics
from mtransfer.jobs.recipe import AnimateEditRecipe, AnimateRecipe
from mtransfer.jobs.render import warn_of_border, warn_of_no_generator
from mtransfer.media.crop import WHOLE
from mtransfer.media.frame_selection import play_order
from mtransfer.media.photo.photo import save_png
from mtransfer.media.quantize import from_uint8
from mtransfer.parallel import in_order
from mtransfer.sampling.ddim import Callback
from mtransfer.sampling.frames import FrameRenderer
from mtransfer.subject.subject import Subject

THREADS, LARGEST_AT_ONCE = 2, 2**22  # for frames of so many pixels


@dataclass(frozen=True, eq=False)
class Animation:
    """frames float32[T,3,H,W] in [0,1] at the photo's size, and how they came to be.

    `flow` has the motion from the photo to every frame, at the size at which it was found; `order` says which
    frame is shown when, and `shown_s` for how many seconds: as long as the clip does, at `recipe.fps` frames a second.
    """

    frames: Tensor
    order: tuple[int, ...]
    shown_s: tuple[float, ...]
    flow: FlowField
    subjects: tuple[Subject, ...]
    recipe: AnimateRecipe | AnimateEditRecipe
    metrics: AnimationMetrics
    timings: dict[str, float]


def animate(recipe: AnimateRecipe | None = None, **options: Any) -> Animation:
    """Move the photo's subject through the frames of a clip.

    Takes what `transfer` takes: animate(clip="a.mp4", photo="b.jpg", frames="0:24", preset="draft"). The frames are
    held in memory; the command keeps them on disk instead. Raises InputError and ModelError.
    """
    return _in_memory(read_clip_scene(recipe, **options))


def animate_edit(recipe: AnimateEditRecipe | None = None, **options: Any) -> Animation:
    """Move the photo's subject from rest to an edit, or there and back.

    Takes what `edit` takes: animate_edit(photo="b.jpg", translate="40,0", frames=24). Raises InputError and ModelError.
    """
    return _in_memory(read_edit_scene(recipe, **options))


def read_scene(recipe: AnimateRecipe | AnimateEditRecipe, **options: Any) -> Scene:
    """The scene of either recipe. Raises InputError and ModelError."""
    if isinstance(recipe, AnimateRecipe):
        return read_clip_scene(recipe, **options)
    return read_edit_scene(recipe, **options)


def _in_memory(scene: Scene) -> Animation:
    with tempfile.TemporaryDirectory(prefix="mtransfer-") as folder:
        flow, metrics = paint_frames(scene, Path(folder))
        frames = torch.stack([scene.shown(load_frame(Path(folder), index), index) for index in range(len(flow.flow))])
    order = play_order(len(frames), scene.recipe.loop)
    shown = frames, tuple(order), tuple(scene.shown_s(order))
    return Animation(*shown, flow, scene.subjects, scene.recipe, metrics, scene.run.timings)


def paint_frames(scene: Scene, folder: Path, text: str = "") -> tuple[FlowField, AnimationMetrics]:
    """Paint every frame that is not in `folder` yet, as a PNG that carries `text`.

    Returns the flow from the photo to each frame, at the size at which it was found, and figures on the result.
    """
    renderer = _renderer(scene)
    with scene.run.stage("frames"):
        kept = (_warp if renderer.tools is None else _sample)(scene, renderer, folder, text)
    field = FlowField(*(torch.cat([getattr(each, part) for each in kept]).cpu() for part in ("flow", "confidence")))
    warn_of_no_generator(scene.recipe)
    return field, _figures(scene, renderer, folder, liveliest(field))


def _renderer(scene: Scene) -> FrameRenderer:
    run, tools, where = scene.run, None, WHOLE
    with run.stage("model"):
        if scene.recipe.sampler.steps:
            tools, where = run.tools(), scene.sampled_window()
    with run.stage("plate"):
        own = scene.photo.image[None].to(run.device)
        return FrameRenderer(tools, own, scene.mask, where, run.recipe.seed, scene.plate.result())


def _sample(scene: Scene, renderer: FrameRenderer, folder: Path, text: str) -> list[FlowField]:
    """Paint the frames one after the other, as each begins with the one before; those that are there are taken up."""
    size, count, kept = _kept_size(scene), len(scene.labels), []
    for index in range(count):
        flow = scene.flow(index)
        kept.append(resize(flow, size))
        if frame_path(folder, index).exists():
            renderer.recall(flow, load_frame(folder, index)[None].to(flow.flow))
        else:
            _save(renderer.paint(flow, _reporter(scene.run, index, count)), scene, folder, index, text)
    return kept


def _warp(scene: Scene, renderer: FrameRenderer, folder: Path, text: str) -> list[FlowField]:
    """Paint frames that are the warp alone: they do not hang on each other, so that small ones are painted by twos."""
    size, count, kept = _kept_size(scene), len(scene.labels), []

    def paint(index: int) -> tuple[FlowField, Tensor, Tensor]:
        flow = scene.flow(index)
        frame, vacated = renderer.warped(flow)
        if frame_path(folder, index).exists():
            frame = load_frame(folder, index)[None].to(frame)
        else:
            _save(frame, scene, folder, index, text)
        return resize(flow, size), frame, vacated

    for index, (flow, frame, vacated) in enumerate(in_order(paint, range(count), _threads(scene))):
        renderer.note(frame, vacated)
        kept.append(flow)
        _reporter(scene.run, index, count)(None, 0, 0, {"energy": None, "count": 1})
    return kept


def _threads(scene: Scene) -> int:
    """How many frames are worked on at once: one where it is large enough to keep all processors busy, and memory."""
    height, width = scene.photo.size
    return THREADS if height * width <= LARGEST_AT_ONCE else 1


def _save(frame: Float[Tensor, "1 3 H W"], scene: Scene, folder: Path, index: int, text: str) -> None:
    with atomic_write(frame_path(folder, index)) as part:  # a frame that is there is whole
        save_png(frame[0], part, scene.photo.icc_profile, text)


def frame_path(folder: Path, index: int) -> Path:
    """Where a frame lies."""
    return folder / f"{index:04d}.png"


def load_frame(folder: Path, index: int) -> Float[Tensor, "3 H W"]:
    """A frame that was painted, in [0,1]."""
    with Image.open(frame_path(folder, index)) as picture:
        return from_uint8(np.array(picture))


def liveliest(field: FlowField) -> int:
    """The frame whose motion is the largest on average."""
    return int(magnitude(field.flow).mean(dim=(1, 2, 3)).argmax())


def _kept_size(scene: Scene) -> tuple[int, int]:
    """(H, W) of the photo, no larger than its flow is worth keeping."""
    height, width = scene.photo.size
    scale = min(1.0, scene.kept_side_px / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _stage(index: int, count: int) -> str:
    return f"frames: {index + 1} of {count}"


def _reporter(run: Run, index: int, count: int) -> Callback:
    def report(pipe: Any, step: int, t: float, values: dict[str, Any]) -> None:
        energy = None if values["energy"] is None else float(values["energy"].total.sum())
        done = index * values["count"] + step + 1
        run.report(_stage(index, count), done, count * values["count"], energy)
        if run.watch and pipe is not None:
            run.watch(lambda: pipe.decode_latents(values["x0"][:1]).clamp(0, 1))

    return report


def _figures(scene: Scene, renderer: FrameRenderer, folder: Path, index: int) -> AnimationMetrics:
    """Flicker in levels of 255, guided evaluations of this run, and how the liveliest frame moved."""
    own, frame = scene.photo.image[None], load_frame(folder, index)[None]
    with scene.run.stage("measure"):
        asked = scene.flow(index).flow.cpu(), scene.mask.cpu()
        warn_of_border(*asked)
        error, moved = flow_error(DisFlow(), own, frame, *asked), moved_as_asked(own, frame, *asked)
    figures: AnimationMetrics = {
        "frames": len(scene.labels),
        "guided_evaluations": renderer.evaluations,
        "flicker_255": float(np.mean(renderer.flicker)) if renderer.flicker else math.nan,
        "moved_as_asked": moved,
        "moved_within_px": within_px(own),
        "flow_error_dis": {"frame": index, **error},
    }
    if scene.clip_reader is not None:
        figures["clip_reader"] = scene.clip_reader
    return figures
