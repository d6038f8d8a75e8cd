"""What an animation is made of: a photo, its subject, and the flow from it to every frame. Where from, others say."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.field import FlowField
from mtransfer.flow.visualize import with_flow
from mtransfer.jobs.context import Run
from mtransfer.jobs.recipe import AnimateEditRecipe, AnimateRecipe
from mtransfer.jobs.render import SURROUNDINGS_SHARE, Panels
from mtransfer.media.crop import WHOLE, Window, swept, window
from mtransfer.media.photo.photo import Photo
from mtransfer.motion.falloff import Falloff
from mtransfer.motion.shadow import Shadow
from mtransfer.parallel import in_background
from mtransfer.sampling.composite import remove_subject
from mtransfer.sampling.model_folder import model_side_px
from mtransfer.subject.subject import Subject, together, with_mask

HELD_BYTES = 2**28  # of flows, the first ones: they are asked for again and again, in order
MARGIN_SHARE = 0.04  # of the long side: halo and feathers around where the subject is


@dataclass(frozen=True, eq=False)
class Scene(ABC):
    """A photo, its subjects and how they move. Every value of `recipe` is resolved.

    `plate` [1,3,H,W] is the photo without its subjects; `held` the flows to the first frames, once they are known.
    """

    run: Run
    photo: Photo
    subjects: tuple[Subject, ...]
    recipe: AnimateRecipe | AnimateEditRecipe
    followers: tuple[Falloff | Shadow, ...]
    plate: "Future[Tensor]"
    held: dict[int, FlowField] = field(default_factory=dict, kw_only=True, repr=False)

    @cached_property
    def mask(self) -> Float[Tensor, "1 1 H W"]:
        """All subjects of the photo together, with what goes with them."""
        return whole_mask(self.run, self.photo, self.subjects, self.followers)

    @property
    @abstractmethod
    def labels(self) -> Sequence[str]:
        """What a sheet writes over every frame."""

    @property
    @abstractmethod
    def kept_side_px(self) -> int:
        """The long side at which the flow is worth keeping."""

    @property
    def clip_reader(self) -> str | None:
        """What decoded the clip, where the motion is of one."""
        return None

    @abstractmethod
    def moved(self, index: int) -> FlowField:
        """The flow of the subjects alone to frame `index`."""

    def flow(self, index: int) -> FlowField:
        """The flow on the photo from it to frame `index` of the animation, but for a camera's."""
        if index in self.held:
            return self.held[index]
        found = self.moved(index)
        for each in self.followers:
            found = each.follow(found)
        found = FlowField(found.flow.to(self.run.device), found.confidence.to(self.run.device))
        if (len(self.held) + 1) * (found.flow.nbytes + found.confidence.nbytes) <= HELD_BYTES:
            self.held[index] = found
        return found

    def shown(self, painted: Float[Tensor, "3 H W"], index: int) -> Float[Tensor, "3 H W"]:
        """A painted frame as a camera sees it."""
        return painted

    @property
    def pans(self) -> bool:
        """Whether a camera moves, so that frames are not shown as they are painted."""
        return False

    @abstractmethod
    def shown_s(self, order: Sequence[int]) -> list[float]:
        """How long a film shows each of its frames, in an order of frame_selection.play_order."""

    def beside(self, order: Sequence[int]) -> Iterator[Float[Tensor, "3 h w"]] | None:
        """The clip's frames in an order of play, where the motion is of one."""
        return None

    def clip_panels(self, index: int) -> Panels:
        """What was seen in the clip, where the motion is of one."""
        return []

    def panels(self, index: int, made: Float[Tensor, "3 H W"]) -> Panels:
        """The preview of frame `index`: what was seen in the clip, what was made of it, and the result."""
        image = self.photo.image
        return [
            *self.clip_panels(index),
            ("photo and subject", with_mask(image, self.mask[0].cpu())),
            ("flow on the photo", with_flow(image, self.flow(index).flow[0].cpu())),
            (f"result, frame {index}", made),
        ]

    def sampled_window(self) -> Window:
        """The window of the photo in which all frames take place: where the model looks in every one."""
        mask, recipe = self.mask, self.recipe
        if not recipe.sampler.crop:
            return WHOLE
        touched = torch.zeros_like(mask)
        margin = round(MARGIN_SHARE * max(mask.shape[-2:]))
        for index in range(len(self.labels)):
            rows, columns = swept(self.flow(index).flow, mask, margin)
            touched[..., rows, columns] = 1
        return window(touched, SURROUNDINGS_SHARE, model_side_px(recipe.model))


def whole_mask(
    run: Run, photo: Photo, subjects: tuple[Subject, ...], along: tuple[Falloff | Shadow, ...]
) -> Float[Tensor, "1 1 H W"]:
    """All subjects of a photo together, with what goes with them, on the run's device."""
    mask = along[-1].whole if along else together(photo, subjects).mask
    return mask[None].to(run.device)


def begin_plate(
    run: Run, photo: Photo, subjects: tuple[Subject, ...], along: tuple[Falloff | Shadow, ...]
) -> "Future[Tensor]":
    """The photo without its subjects and what goes with them, filled while the motion is read."""
    mask = whole_mask(run, photo, subjects, along)
    return in_background(lambda: remove_subject(photo.image[None].to(run.device), mask))
