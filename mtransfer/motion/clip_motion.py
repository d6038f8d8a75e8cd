"""The motion of a clip's subjects, read through its frames and put onto a photo's subjects frame by frame.

    motion = read_motion(reader, options, photo_subjects, frames, reference)   # once a clip; flow is cached on disk
    for index, frame in enumerate(motion.frames):
        flow = retargeted(motion, photo_subjects, index, strength=1.0, strength_mask=grey)

`flow` is a FlowField with T = 1 at the photo's size, of the motion from the reference frame to `motion.frames[index]`:
zero for the reference frame itself and outside the photo's subjects. With `camera == "photo"` the photo itself is to be
moved first, by `camera_on_photo(motion, index, size)`, and the flow is of the subjects before that.
Which frames there are to take: `shots.choose_shot(reader, options.shot, frames)`, whose Shot has `first` and
`end`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from mtransfer.cache import remember
from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField
from mtransfer.flow.texture_mask import texture_mask
from mtransfer.flow.warp import dilate
from mtransfer.log import Report, tell, warn
from mtransfer.media.clip_position import require_pair
from mtransfer.media.photo.sizes import require_size
from mtransfer.media.shots import choose_shot, warn_of_shots
from mtransfer.media.video import ClipReader
from mtransfer.motion.camera import fit_cameras, resized, steadied, without_camera
from mtransfer.motion.clip_flow import Reading, read_clip
from mtransfer.motion.mask_propagation import track, within
from mtransfer.motion.motion_segmentation import moving_subjects, sure_places
from mtransfer.motion.retarget import Align, Fit, fit_subjects, retarget
from mtransfer.motion.stretch import limit_stretch
from mtransfer.motion.temporal_smoothing import smooth_over_time
from mtransfer.subject.detection.mobile_sam import mobile_sam_hash
from mtransfer.subject.detection.saliency import saliency_hash
from mtransfer.subject.prompt import SubjectPrompt, parse_prompts
from mtransfer.subject.segment import segment
from mtransfer.subject.shape import faces_the_other_way, likeness
from mtransfer.subject.subject import Subject, subject_from_mask

MOVING = "moving"  # the subject of a clip when none is named
CLEARLY_MORE_ALIKE = 0.02  # of overlap, for a frame to be the reference instead of the first
HALO_SHARE = 0.04  # of the long side, around a subject
LEAST_SHARE = 0.02  # of a subject that must be known in a frame


@dataclass(frozen=True)
class ClipMotionOptions:
    """How a clip is read and put onto a photo; the fields are those of the recipe's options of these names.

    A `draft` reads coarsely.
    """

    flow_model: str
    shot: int
    clip_subject: str
    named_in: int | None  # the frame that clip_subject's points, boxes and masks are of; None: the reference
    camera: str
    align: Align
    turn: bool
    mirror: bool | None
    device: torch.device
    report: Report
    draft: bool


@dataclass(frozen=True, eq=False)
class ClipMotion:
    """The motion of a clip's subjects from its reference frame to each wanted frame.

    `field` has one frame for each of `frames`, at the size flow is read at, anchored on the reference frame, the
    camera's part taken off unless kept. `camera` are the homographies of the camera from the reference frame to each
    frame, in pixels of that size; identity where the camera is kept. `fits` map each subject onto the photo's.
    """

    reference: int  # frame number in the clip
    frames: tuple[int, ...]  # frame numbers, ascending
    picture: Tensor  # float32[3,h,w] in [0,1], the reference frame
    subjects: tuple[Subject, ...]  # in the reference frame
    masks: Tensor  # bool[T,S,h,w], each subject in each frame
    field: FlowField
    camera: Tensor  # float32[T,3,3]
    fits: tuple[Fit, ...]
    mirror: bool  # whether the fits mirror left for right


@dataclass(frozen=True, eq=False)
class ClipFlow:
    """A clip read from frame `start`, and the flow from there to each of the wanted frames."""

    start: int
    reading: Reading
    field: FlowField


def read_flow(
    reader: ClipReader,
    options: ClipMotionOptions,
    frames: Sequence[int],
    reference: int | None = None,
    *,
    quick: bool = False,
) -> ClipFlow:
    """What of `read_motion` hangs on no photo, and may be begun before one is looked at. Raises as it does."""
    require_pair(reader.clip)
    require_size(reader.clip.size, str(reader.path))
    wanted = tuple(frames)
    named = () if options.named_in is None else (options.named_in,)
    shot = choose_shot(reader, options.shot, (*wanted, *named) if reference is None else (reference, *wanted, *named))
    if not quick:  # else it is read once more
        warn_of_shots(reader, shot)
    start = wanted[0] if reference is None else reference
    read = (start, *wanted, *named)
    reading = read_clip(reader, options.flow_model, read, options.device, options.report, quick=quick or options.draft)
    return ClipFlow(start, reading, reading.flow_from(start, wanted))


def read_motion(
    reader: ClipReader,
    options: ClipMotionOptions,
    photo_subjects: Sequence[Subject],
    frames: Sequence[int],
    reference: int | None = None,
    *,
    quick: bool = False,
    flow: ClipFlow | None = None,
) -> ClipMotion:
    """Read how the clip's subjects move from `reference` to each of `frames`, ascending frame numbers of one shot.

    Without a reference it is the one of `frames` whose subject looks most like the photo's. Clip and photo subjects
    pair in order. `quick`, as drafts always are, for a first look. `flow` is what `read_flow` of the same has read
    before. Raises InputError for frames across a cut, for nothing that moves and for a subject that is not there.
    """
    wanted, count = tuple(frames), len(photo_subjects)
    flow = flow or read_flow(reader, options, wanted, reference, quick=quick)
    start, reading, field = flow.start, flow.reading, flow.field

    def find() -> dict[str, Tensor]:
        seen = torch.stack([each.mask for each in _clip_subjects(options, reader, reading, start, field, count)])
        return {"subjects": seen, "masks": track(seen[:, 0], *reading.path(start, wanted), quick=quick)}

    asked = {"start": start, "wanted": list(wanted), "count": count, "coarsely": quick, "named_in": options.named_in}
    subjects, masks = _followed(options, reading, asked, find)
    if reference is None and (best := _most_alike(masks, photo_subjects, wanted)) != start:
        start, subjects = best, _subjects_at(reading, best, masks[wanted.index(best)])
        field = reading.flow_from(start, wanted)
    everything = torch.cat([each.mask for each in subjects]).amax(dim=0, keepdim=True)
    cameras = _cameras(options, field, everything, reading.picture(start), reading.pictures_of(wanted))
    still = FlowField(without_camera(field.flow, cameras), within(field, everything, masks))
    *times, start_time = reader.clip.times_in_frames([*wanted, start])
    still = _held(smooth_over_time(still, torch.tensor(times), start_time), everything, wanted)
    mirror = _mirrored(options, subjects[0], photo_subjects[0])
    fits = _fits(options, subjects, photo_subjects, mirror=mirror)
    return ClipMotion(start, wanted, reading.picture(start), subjects, masks, still, cameras.float(), fits, mirror)


def _fits(
    options: ClipMotionOptions, subjects: Sequence[Subject], photo_subjects: Sequence[Subject], *, mirror: bool
) -> tuple[Fit, ...]:
    return tuple(
        fit_subjects(own, photo, options.align, turn=options.turn, mirror=mirror)
        for own, photo in zip(subjects, photo_subjects, strict=True)
    )


def retargeted(
    motion: ClipMotion,
    photo_subjects: Sequence[Subject],
    index: int,
    *,
    strength: float = 1.0,
    strength_mask: Float[Tensor, "1 H W"] | None = None,
    max_stretch: float = 0.0,
    on_smoothed: Callable[[], object] | None = None,
) -> FlowField:
    """The flow (T = 1) on the photo, at its size, of the motion to `motion.frames[index]`.

    Where photo subjects overlap the first counts. `strength_mask` in [0,1] multiplies the flow pixel by pixel. Motion
    that stretches parts of a subject by more than `max_stretch` is smoothed (see `limit_stretch`), and `on_smoothed`
    called; 0: it is not.
    """
    field = FlowField(motion.field.flow[index : index + 1], motion.field.confidence[index : index + 1])
    total = torch.zeros_like(photo_subjects[0].mask).expand(3, -1, -1)
    for fit, own, photo in reversed(list(zip(motion.fits, motion.subjects, photo_subjects, strict=True))):
        one = retarget(field, fit, own.mask, photo.mask, strength)
        plausible = limit_stretch(one.flow, photo.mask, max_stretch)
        if on_smoothed is not None and plausible is not one.flow:
            on_smoothed()
        total = torch.where(photo.mask > 0, torch.cat([plausible, one.confidence], dim=1)[0], total)
    flow = total[None, :2] if strength_mask is None else total[None, :2] * strength_mask
    return FlowField(flow, total[None, 2:])


def camera_on_photo(motion: ClipMotion, index: int, size: tuple[int, int]) -> Float64[Tensor, "3 3"]:
    """The camera's motion to `motion.frames[index]` as a homography of a photo of `size` = (H, W) pixels.

    The clip's frame is laid over the photo's, centre on centre and long side on long side.
    """
    height, width = motion.field.size
    scale = max(size) / max(height, width)
    offset = ((size[1] - 1) - scale * (width - 1)) / 2, ((size[0] - 1) - scale * (height - 1)) / 2
    return resized(motion.camera[index].double(), scale, offset)


def _followed(
    options: ClipMotionOptions, reading: Reading, asked: dict[str, Any], find: Callable[[], dict[str, Tensor]]
) -> tuple[tuple[Subject, ...], Bool[Tensor, "T S h w"]]:
    """The subjects in the first frame, and their masks in each wanted one; kept on disk, for the clip's next photo."""
    named = [] if options.clip_subject == MOVING else parse_prompts(options.clip_subject)
    if any(prompt.kind == "file" for prompt in named):  # which may change
        found = find()
    else:
        by = {"subject": options.clip_subject, "nets": [saliency_hash(), mobile_sam_hash()]}
        found = remember("clipsubject", reading.key | asked | by, find)
    picture = reading.picture(asked["start"])
    return tuple(subject_from_mask(picture, mask) for mask in found["subjects"].to(picture)), found["masks"].bool()


def _clip_subjects(
    options: ClipMotionOptions, reader: ClipReader, reading: Reading, start: int, field: FlowField, count: int
) -> tuple[Subject, ...]:
    picture = reading.picture(start)
    if options.clip_subject in ("auto", MOVING):
        try:
            return moving_subjects(picture, field, count, sure_places(picture))
        except InputError as error:
            raise InputError(f"{reader.path}: {error}") from None
    prompts = parse_prompts(options.clip_subject)
    if len(prompts) == count == 1 and (number := prompts[0].number) is not None:
        return moving_subjects(picture, field, number, sure_places(picture))[-1:]
    if len(prompts) != count:
        raise InputError(f"--clip-subject: {len(prompts)} for {count} of the photo; give as many of each, they pair")
    there = start if options.named_in is None else options.named_in
    image = reader.read([there])[0]  # points, boxes and masks are of the clip's own size
    subjects = tuple(_named(image, prompt, reading.picture(there)) for prompt in prompts)
    if there == start:
        return subjects
    masks = track(torch.cat([each.mask for each in subjects]), *reading.path(there, [start]), quick=options.draft)
    if not bool(masks[0].flatten(1).any(dim=1).all()):
        raise InputError(f"--clip-subject: what is named in frame {there} is not in sight in frame {start}")
    return _subjects_at(reading, start, masks[0])


def _named(image: Tensor, prompt: SubjectPrompt, picture: Tensor) -> Subject:
    mask = segment(image, prompt, flag="--clip-subject").mask
    return subject_from_mask(picture, F.interpolate(mask[None], picture.shape[-2:], mode="area")[0])


def _subjects_at(reading: Reading, frame: int, masks: Bool[Tensor, "S h w"]) -> tuple[Subject, ...]:
    picture = reading.picture(frame)
    return tuple(subject_from_mask(picture, mask[None].to(picture)) for mask in masks)


def _most_alike(masks: Bool[Tensor, "T S h w"], photo_subjects: Sequence[Subject], frames: tuple[int, ...]) -> int:
    """The frame whose first subject, centred and equal in area, overlaps most with the photo's, or the first."""
    photo = photo_subjects[0].mask
    alike = [likeness(mask[:1].to(photo), photo) if bool(mask[0].any()) else 0.0 for mask in masks]
    return frames[alike.index(max(alike))] if max(alike) > alike[0] + CLEARLY_MORE_ALIKE else frames[0]


def _cameras(
    options: ClipMotionOptions, field: FlowField, subjects: Tensor, picture: Tensor, others: Tensor
) -> Float64[Tensor, "T 3 3"]:
    if options.camera == "keep" or options.clip_subject == "all":
        return torch.eye(3, dtype=torch.float64).expand(len(field.flow), -1, -1)
    # Flow carries a subject's motion into the plain ground around it.
    reach = round(HALO_SHARE * max(field.size))
    outside = (1 - dilate(subjects[None], reach)[0]) * texture_mask(picture)
    return steadied(fit_cameras(field, outside), picture, others, outside)


def _held(field: FlowField, subjects: Float[Tensor, "1 h w"], frames: tuple[int, ...]) -> FlowField:
    """Where the subjects are lost from sight they stay as they were last seen. Raises InputError if never seen."""
    share = (field.confidence * subjects).sum(dim=(1, 2, 3)) / subjects.sum()
    seen = [index for index, each in enumerate(share.tolist()) if each > LEAST_SHARE]
    if not seen:
        raise InputError("the clip's subject cannot be followed in these frames; choose others or name --clip-subject")
    if len(seen) == len(frames):
        return field
    lost = [frames[index] for index in range(len(frames)) if index not in seen]
    warn(f"the clip's subject is lost in {len(lost)} of {len(frames)} frames, first in {lost[0]}; it holds still there")
    nearest = [min(seen, key=lambda other: abs(frames[other] - frame)) for frame in frames]
    return FlowField(field.flow[nearest], field.confidence[nearest])


def _mirrored(options: ClipMotionOptions, own: Subject, photo: Subject) -> bool:
    """Whether the motion is mirrored: as asked for, else where the subjects' silhouettes clearly face apart."""
    if options.mirror is not None or options.align == "none":
        return bool(options.mirror)
    mirror = faces_the_other_way(own.mask, photo.mask)
    if mirror:
        tell("mirrored: the photo's subject faces the other way than the clip's; --no-mirror undoes it")
    return mirror
