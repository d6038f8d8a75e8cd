"""The motion of a clip's subjects, read through its frames and put onto a photo's subjects frame by frame.

    motion = read_motion(run, recipe, photo_subjects, frames, reference)   # once a clip; read flow is cached on disk
    for index, frame in enumerate(motion.frames):
        flow = retargeted(motion, photo_subjects, index, strength=recipe.strength, strength_mask=grey)

`flow` is a FlowField with T = 1 at the photo's size, of the motion from the reference frame to `motion.frames[index]`:
zero for the reference frame itself and outside the photo's subjects. With `camera == "photo"` the photo itself is to be
moved first, by `camera_on_photo(motion, index, size)`, and the flow is of the subjects in the photo so moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.clip import probe, read_frames
from mtransfer.field import FlowField
from mtransfer.flow import estimate_field
from mtransfer.models import reading_side_px
from mtransfer.recipe import ClipRecipe
from mtransfer.retarget import Fit, fit_similarity, moving_subject, retarget, without_camera
from mtransfer.run import Run
from mtransfer.subject import Subject


@dataclass(frozen=True, eq=False)
class ClipMotion:
    """The motion of a clip's subjects from its reference frame to each wanted frame.

    `field` has one frame for each of `frames`, at the size flow is read at, anchored on the reference frame, the
    camera's part taken off unless kept. `camera` are the homographies of the camera from the reference frame to each
    frame, in pixels of that size; identity where the camera is kept. `fits` map each subject onto the photo's.
    """

    reference: int  # frame number in the clip
    frames: tuple[int, ...]  # frame numbers, in the order asked for
    times_s: tuple[float, ...]  # when each of them is shown
    picture: Tensor  # float32[3,h,w] in [0,1], the reference frame
    subjects: tuple[Subject, ...]  # in the reference frame
    field: FlowField
    camera: Tensor  # float32[T,3,3]
    fits: tuple[Fit, ...]


def read_motion(
    run: Run, recipe: ClipRecipe, photo_subjects: Sequence[Subject], frames: Sequence[int], reference: int | None = None
) -> ClipMotion:
    """Read how the clip's subjects move from `reference` to each of `frames`, frame numbers of the clip, one shot.

    Without a reference, the one of `frames` whose subject looks most like the photo's. Clip and photo subjects pair
    in order. Raises InputError for frames across a cut, for nothing that moves and for a subject that is not there.
    """
    clip = probe(recipe.clip)
    first = frames[0] if reference is None else reference
    side = min(reading_side_px(recipe.flow_model), max(clip.size))
    pictures = read_frames(clip, [first, *frames], long_side=side).to(run.device)
    fields = [estimate_field(run.reader(), pictures[:1], picture[None]) for picture in pictures[1:]]
    subject, camera = moving_subject(pictures[0], fields[-1])
    flow = torch.cat([without_camera(field.flow, camera) for field in fields])
    field = FlowField(flow, torch.cat([field.confidence for field in fields]))
    times_s = tuple(clip.timestamps_s[frame] for frame in frames)
    homographies = torch.eye(3).expand(len(flow), -1, -1)
    fits = (fit_similarity(subject, photo_subjects[0]),)
    return ClipMotion(first, tuple(frames), times_s, pictures[0], (subject,), field, homographies, fits)


def retargeted(
    motion: ClipMotion,
    photo_subjects: Sequence[Subject],
    index: int,
    *,
    strength: float = 1.0,
    strength_mask: Float[Tensor, "1 H W"] | None = None,
) -> FlowField:
    """The flow (T = 1) on the photo, at its size, of the motion to `motion.frames[index]`.

    `strength_mask` in [0,1] multiplies it pixel by pixel.
    """
    field = FlowField(motion.field.flow[index : index + 1], motion.field.confidence[index : index + 1])
    return retarget(field, motion.fits[0], motion.subjects[0].mask, photo_subjects[0].mask, strength)


def camera_on_photo(motion: ClipMotion, index: int, size: tuple[int, int]) -> Float[Tensor, "3 3"]:
    """The camera's motion to `motion.frames[index]` as a homography of a photo of `size` = (H, W) pixels, float64.

    The clip's frame is laid over the photo's, centre on centre and long side on long side.
    """
    return torch.eye(3, dtype=torch.float64)
