"""A photo that moves from rest to an edit, as one key pose with in-betweens."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField
from mtransfer.jobs.animation.inbetween import Inbetweens
from mtransfer.jobs.animation.key_poses import MOST_POSES, Pose, end_pose, motion_at, parse_pose
from mtransfer.jobs.animation.scene import Scene, begin_plate
from mtransfer.jobs.context import start
from mtransfer.jobs.recipe import AnimateEditRecipe
from mtransfer.jobs.render import followers, require_motion
from mtransfer.jobs.transfer import edit_motion, edited
from mtransfer.media.frame_selection import formats
from mtransfer.motion.edit_motion import EditMotion, edit_field

KEPT_SIDE_PX = 1024


@dataclass(frozen=True, eq=False)
class EditScene(Scene):
    """A scene that moves to an edit: `whole` is the flow at its end."""

    recipe: AnimateEditRecipe
    asked: EditMotion
    whole: FlowField

    @property
    def labels(self) -> Sequence[str]:
        """As `Scene.labels`."""
        return [str(index) for index in range(self.recipe.frames)]

    @property
    def kept_side_px(self) -> int:
        """As `Scene.kept_side_px`."""
        return KEPT_SIDE_PX

    def share(self, index: int) -> float:
        """How much of the edit has happened at a frame."""
        passed = index / (self.recipe.frames - 1)
        return passed**2 * (3 - 2 * passed) if self.recipe.ease == "smooth" else passed

    def moved(self, index: int) -> FlowField:
        """As `Scene.moved`: turned and scaled by a share, so that what turns goes along its arc."""
        share = self.share(index)
        if self.asked.flow is not None:
            return FlowField(self._inbetweens.at(share), self.whole.confidence)
        between = motion_at(share, self.asked, self.poses)
        return edit_field(between, self.photo, self.subjects[0])[1]

    @cached_property
    def poses(self) -> tuple[Pose, ...]:
        """From rest to the edit."""
        return Pose(), *map(parse_pose, self.recipe.via), end_pose(self.asked)

    @cached_property
    def _inbetweens(self) -> Inbetweens:
        return Inbetweens(self.whole.flow, self.subjects[0].mask)

    def shown_s(self, order: Sequence[int]) -> list[float]:
        """As `Scene.shown_s`."""
        return [1 / self.recipe.fps] * len(order)


def read_edit_scene(recipe: AnimateEditRecipe | None = None, **options: Any) -> EditScene:
    """Look at the photo and work out the edit. Raises InputError and ModelError."""
    run, recipe = start(AnimateEditRecipe, recipe, **options)
    formats(recipe.format)
    _require_poses(recipe)
    photo, subject, flow = edited(run, recipe)
    require_motion(flow)
    assert isinstance(run.recipe, AnimateEditRecipe)
    along = followers(run.recipe, photo, subject)
    plate = begin_plate(run, photo, (subject,), along)
    return EditScene(run, photo, (subject,), run.recipe, along, plate, edit_motion(recipe), flow)


def _require_poses(recipe: AnimateEditRecipe) -> None:
    """Raises InputError for poses that cannot be gone through."""
    if recipe.via and recipe.flow is not None:
        raise InputError("--via: a flow file says only where the motion ends; give --translate, --rotate and --scale")
    if len(recipe.via) > MOST_POSES:
        raise InputError(f"--via: {len(recipe.via)} poses, at most {MOST_POSES} can be gone through; leave some out")
    for each in recipe.via:
        parse_pose(each)
