"""What an animation is made of: the photo and its subjects, and the motion of the clip's through the chosen frames."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField
from mtransfer.flow.visualize import with_flow
from mtransfer.jobs.context import Run, start
from mtransfer.jobs.recipe import AnimateRecipe
from mtransfer.jobs.render import SURROUNDINGS_SHARE, ZERO_MOTION, Panels, falloff_asked
from mtransfer.jobs.transfer import clip_panels, photo_and_subjects
from mtransfer.log import tell
from mtransfer.media.clip_position import parse_position
from mtransfer.media.crop import WHOLE, Window, swept, window
from mtransfer.media.frame_selection import choose_frames, formats, shown_for_s, shown_fps
from mtransfer.media.photo.photo import Photo
from mtransfer.media.shots import choose_shot
from mtransfer.media.video import Clip
from mtransfer.motion.camera import pan
from mtransfer.motion.clip_motion import MOVING, ClipMotion, camera_on_photo, read_motion, retargeted
from mtransfer.motion.falloff import Falloff
from mtransfer.motion.plausibility import in_place, outside_fraction
from mtransfer.sampling.model_folder import model_side_px
from mtransfer.subject.mask_file import read_mask
from mtransfer.subject.subject import Subject, together, with_mask

MOST_OUTSIDE = 0.25  # of the subject, beyond the photo's border, in any frame
ALL = 0.95  # of the photo: no subject in it that could leave
LOOKED_AT = 9  # frames, spread over all of them
MARGIN_SHARE = 0.04  # of the long side: halo and feathers around where the subject is


@dataclass(frozen=True, eq=False)
class Scene:
    """A photo, its subjects and how they move. Every value of `recipe` is resolved."""

    run: Run
    photo: Photo
    subjects: tuple[Subject, ...]
    strength_mask: Float[Tensor, "1 H W"] | None
    motion: ClipMotion
    recipe: AnimateRecipe
    falloff: Falloff | None = None
    stays: bool = False

    @property
    def mask(self) -> Float[Tensor, "1 1 H W"]:
        """All subjects of the photo together, with the objects that they are parts of."""
        mask = together(self.photo, self.subjects).mask if self.falloff is None else self.falloff.whole
        return mask[None].to(self.run.device)

    def flow(self, index: int) -> FlowField:
        """The flow on the photo from it to frame `index` of the animation, but for the camera's."""
        found = retargeted(
            self.motion,
            self.subjects,
            index,
            strength=self.recipe.strength,
            strength_mask=self.strength_mask,
            max_stretch=self.recipe.stretch_limit,
        )
        if self.stays:
            found = in_place(found, together(self.photo, self.subjects).mask)
        found = found if self.falloff is None else self.falloff.follow(found)
        return FlowField(found.flow.to(self.run.device), found.confidence.to(self.run.device))

    def shown(self, painted: Float[Tensor, "3 H W"], index: int) -> Float[Tensor, "3 H W"]:
        """A painted frame as the camera sees it: moved as the clip's where `camera` is `photo`."""
        if self.recipe.camera != "photo":
            return painted
        camera = camera_on_photo(self.motion, index, self.photo.size)
        return pan(camera, painted, painted[:1], FlowField.from_flow(torch.zeros_like(painted[None, :2])))[0]

    def shown_s(self, order: Sequence[int]) -> list[float]:
        """How long a film shows each of its frames, in an order of frame_selection.play_order."""
        return shown_for_s(order, self.motion.frames, self.run.clip_reader.clip, self.recipe.fps)

    def sampled_window(self) -> Window:
        """The window of the photo in which all frames take place: where the model looks in every one."""
        mask, recipe = self.mask, self.recipe
        if not recipe.sampler.crop:
            return WHOLE
        touched = torch.zeros_like(mask)
        margin = round(MARGIN_SHARE * max(mask.shape[-2:]))
        for index in range(len(self.motion.frames)):
            rows, columns = swept(self.flow(index).flow, mask, margin)
            touched[..., rows, columns] = 1
        return window(touched, SURROUNDINGS_SHARE, model_side_px(recipe.model))


def read_scene(recipe: AnimateRecipe | None = None, **options: Any) -> Scene:
    """Look at the photo and read the motion of the clip's chosen frames. Raises InputError and ModelError."""
    run, recipe = start(AnimateRecipe, recipe, **options)
    formats(recipe.format)
    clip = run.clip_reader.clip
    frames = choose_frames(recipe.frames, clip, lambda first: _shot(run, recipe, first))
    run.resolve(frames=f"{frames.start}:{frames.stop}:{frames.step}", fps=recipe.fps or shown_fps(frames, clip))
    photo, subjects = photo_and_subjects(run, recipe.subject)
    with run.stage("clip"):
        reference = _reference(recipe, clip, frames)
        motion = read_motion(run.clip_reader, run.clip_motion_options(), subjects, frames, reference)
    run.resolve(reference=str(motion.reference), mirror=motion.mirror)
    if recipe.clip_subject == "auto":
        run.resolve(clip_subject=MOVING)
    grey = None if recipe.strength_mask is None else read_mask(recipe.strength_mask, photo.image, grey=True)
    assert isinstance(run.recipe, AnimateRecipe)
    falloff = falloff_asked(run.recipe, photo, together(photo, subjects))
    scene = Scene(run, photo, subjects, grey, motion, run.recipe, falloff, stays=recipe.stay == "always")
    if recipe.stay == "auto":
        stays = _leaves(scene)
        run.resolve(stay="always" if stays else "never")
        scene = replace(scene, stays=stays, recipe=run.recipe)
    if not any(bool(scene.flow(index).flow.any()) for index in range(len(motion.frames))):
        raise InputError(ZERO_MOTION)
    return scene


def _leaves(scene: Scene) -> bool:
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


def panels(scene: Scene, index: int, made: Float[Tensor, "3 H W"]) -> Panels:
    """The preview of frame `index`: what was seen in the clip, what was made of it, and the result."""
    image = scene.photo.image
    return [
        *clip_panels(scene.run.clip_reader, scene.motion, index),
        ("photo and subject", with_mask(image, scene.mask[0].cpu())),
        ("flow on the photo", with_flow(image, scene.flow(index).flow[0].cpu())),
        (f"result, frame {index}", made),
    ]
