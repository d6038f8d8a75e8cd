"""A photo that moves as a clip does: its subjects, and the motion of the clip's through the chosen frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField
from mtransfer.jobs.animation.scene import Scene, begin_plate
from mtransfer.jobs.context import Run, start
from mtransfer.jobs.recipe import AnimateRecipe
from mtransfer.jobs.render import ZERO_MOTION, Panels, followers
from mtransfer.jobs.transfer import clip_panels, photo_and_subjects
from mtransfer.log import tell
from mtransfer.media.clip_position import parse_position
from mtransfer.media.contact_sheet import SIDE_BY_SIDE_PX
from mtransfer.media.frame_selection import choose_frames, formats, shown_for_s, shown_fps
from mtransfer.media.quantize import from_uint8
from mtransfer.media.shots import choose_shot
from mtransfer.media.video import Clip
from mtransfer.motion.camera import pan
from mtransfer.motion.clip_motion import MOVING, ClipMotion, camera_on_photo, read_flow, read_motion, retargeted
from mtransfer.motion.plausibility import in_place, outside_fraction
from mtransfer.parallel import in_background
from mtransfer.subject.mask_file import read_mask
from mtransfer.subject.subject import together

MOST_OUTSIDE = 0.25  # of the subject, beyond the photo's border, in any frame
ALL = 0.95  # of the photo: no subject in it that could leave
LOOKED_AT = 9  # frames, spread over all of them


@dataclass(frozen=True, eq=False)
class ClipScene(Scene):
    """A scene that moves as a clip does."""

    recipe: AnimateRecipe
    motion: ClipMotion
    strength_mask: Float[Tensor, "1 H W"] | None
    stays: bool

    @property
    def labels(self) -> Sequence[str]:
        """As `Scene.labels`: the frames' numbers, here and in the clip."""
        return [f"{index} (clip {frame})" for index, frame in enumerate(self.motion.frames)]

    @property
    def kept_side_px(self) -> int:
        """As `Scene.kept_side_px`: that at which the clip was read."""
        return max(self.motion.field.size)

    @property
    def clip_reader(self) -> str | None:
        """As `Scene.clip_reader`."""
        return self.run.clip_reader.by

    def moved(self, index: int) -> FlowField:
        """As `Scene.moved`."""
        found = retargeted(
            self.motion,
            self.subjects,
            index,
            strength=self.recipe.strength,
            strength_mask=self.strength_mask,
            max_stretch=self.recipe.stretch_limit,
        )
        return in_place(found, together(self.photo, self.subjects).mask) if self.stays else found

    @property
    def pans(self) -> bool:
        """As `Scene.pans`: where `camera` is `photo`."""
        return self.recipe.camera == "photo"

    def shown(self, painted: Float[Tensor, "3 H W"], index: int) -> Float[Tensor, "3 H W"]:
        """As `Scene.shown`: moved as the clip's camera."""
        if not self.pans:
            return painted
        camera = camera_on_photo(self.motion, index, self.photo.size)
        return pan(camera, painted, painted[:1], FlowField.from_flow(torch.zeros_like(painted[None, :2])))[0]

    def shown_s(self, order: Sequence[int]) -> list[float]:
        """As `Scene.shown_s`: as long as the clip does."""
        return shown_for_s(order, self.motion.frames, self.run.clip_reader.clip, self.recipe.fps)

    def beside(self, order: Sequence[int]) -> Iterator[Float[Tensor, "3 h w"]] | None:
        """As `Scene.beside`."""
        height, width = self.run.clip_reader.clip.size
        side = round(SIDE_BY_SIDE_PX * max(1.0, width / height))
        frames = self.run.clip_reader.walk(
            [self.motion.frames[index] for index in order], long_side=min(side, max(height, width))
        )
        return map(from_uint8, frames)

    def clip_panels(self, index: int) -> Panels:
        """As `Scene.clip_panels`."""
        return clip_panels(self.run.clip_reader, self.motion, index)


def read_clip_scene(recipe: AnimateRecipe | None = None, **options: Any) -> ClipScene:
    """Look at the photo and read the motion of the clip's chosen frames. Raises InputError and ModelError."""
    run, recipe = start(AnimateRecipe, recipe, **options)
    formats(recipe.format)
    clip = run.clip_reader.clip
    frames = choose_frames(recipe.frames, clip, lambda first: _shot(run, recipe, first))
    run.resolve(frames=f"{frames.start}:{frames.stop}:{frames.step}", fps=recipe.fps or shown_fps(frames, clip))
    reading, reference = (run.clip_reader, run.clip_motion_options()), _reference(recipe, clip, frames)
    flow = in_background(lambda: read_flow(*reading, frames, reference))
    photo, subjects = photo_and_subjects(run, recipe.subject)
    assert isinstance(run.recipe, AnimateRecipe)
    along = followers(run.recipe, photo, together(photo, subjects))
    plate = begin_plate(run, photo, subjects, along)
    with run.stage("clip"):
        motion = read_motion(*reading, subjects, frames, reference, flow=flow.result())
    run.resolve(reference=str(motion.reference), mirror=motion.mirror)
    if recipe.clip_subject == "auto":
        run.resolve(clip_subject=MOVING)
    grey = None if recipe.strength_mask is None else read_mask(recipe.strength_mask, photo.image, grey=True)
    scene = ClipScene(run, photo, subjects, run.recipe, along, plate, motion, grey, recipe.stay == "always")
    if recipe.stay == "auto":
        stays = _leaves(scene)
        run.resolve(stay="always" if stays else "never")
        scene = replace(scene, stays=stays, recipe=run.recipe, held={} if stays else scene.held)
    if not any(bool(scene.flow(index).flow.any()) for index in range(len(motion.frames))):
        raise InputError(ZERO_MOTION)
    return scene


def _leaves(scene: ClipScene) -> bool:
    """Whether too much of the subject ends outside the photo in some frame; says so."""
    if float(scene.mask.mean()) > ALL:
        return False
    count = len(scene.motion.frames)
    looked_at = sorted({round(place) for place in np.linspace(0, count - 1, min(count, LOOKED_AT))})
    outside = max(outside_fraction(scene.flow(index).flow, scene.mask[0]) for index in looked_at)
    if outside > MOST_OUTSIDE:
        tell(f"stay: {outside:.0%} of the subject would leave the photo, so it moves in place; --stay never lets it go")
    return outside > MOST_OUTSIDE


def _shot(run: Run, recipe: AnimateRecipe, first: int | None) -> range:
    """The frames of the shot that is named, or else of the one that frame `first` belongs to."""
    shot = choose_shot(run.clip_reader, recipe.shot, () if first is None else (first,))
    return range(shot.first, shot.end)


def _reference(recipe: AnimateRecipe, clip: Clip, frames: Sequence[int]) -> int | None:
    words = {"first": frames[0], "auto": None}
    return words[recipe.reference] if recipe.reference in words else parse_position(recipe.reference, clip)
