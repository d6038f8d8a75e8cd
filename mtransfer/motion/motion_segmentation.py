"""The subjects of a clip: what moves against the camera, completed to whole objects by what stands out in the frame."""

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.typing import NDArray
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField
from mtransfer.flow.texture_mask import TEXTURE_PX, texture_mask
from mtransfer.flow.warp import dilate, erode, magnitude
from mtransfer.media.quantize import to_uint8
from mtransfer.motion.camera import camera_flow, fit_cameras
from mtransfer.subject.detection.completion import complete_object
from mtransfer.subject.detection.picture import Picture
from mtransfer.subject.mask_refinement import refine
from mtransfer.subject.regions import convex_hull
from mtransfer.subject.subject import Subject, subject_from_mask

ROUNDS = 3
LOOKED_AT = 8  # frames, evenly among those read, in which motion is looked for
STILL_SHARE = 0.3  # of the fastest motion: what is slower is not the subject
STILL_PX = 0.75
SMALLEST_SUBJECT_SHARE = 0.004
SMALLEST_PART = 0.05  # of the first part, to be one with it
OF_IT = 0.4  # of a part that moves, in an object that it tells about
KEPT = 0.8  # overlap of an object with its refinement
TOGETHER_SHARE = 0.4  # of a part, that one turn or growth must explain
TOGETHER_PX, TOGETHER_TOLERANCE = 1.0, 0.15  # of the mean motion
FEWEST, THINNED = 64, 3  # pixels to fit to; every how many-th is taken
LEAST_TRUST = 0.05  # so that what is never confident still has a speed
NEAR_TEXTURE_PX = 10
STRAY_SHARE = 0.03  # of the long side: how far a tracked silhouette may be off
NOTHING_MOVES = "nothing moves against the camera in these frames; choose others with --pair A:B, or --clip-subject x,y"


def sure_places(image: Float[Tensor, "3 H W"]) -> Float[Tensor, "1 H W"]:
    """1 near structure, 0 on plain ground, where flow agrees with itself and means nothing."""
    return dilate(texture_mask(image)[None], NEAR_TEXTURE_PX)[0]


def moving_subjects(
    image: Float[Tensor, "3 H W"], field: FlowField, count: int = 1, sure: Float[Tensor, "1 H W"] | None = None
) -> tuple[Subject, ...]:
    """The `count` largest coherent motions against the camera, the one that moves most first.

    Subject and camera are found in turn, each from the other, where flow is `sure` (default: everywhere). Raises
    InputError when fewer move.
    """
    chosen = np.unique(np.linspace(0, len(field.flow) - 1, LOOKED_AT).round().astype(int))
    sure = torch.ones_like(field.confidence[0]) if sure is None else sure.to(field.flow)
    some = FlowField(field.flow[chosen], field.confidence[chosen] * sure)
    nothing = torch.zeros_like(field.confidence[0])
    masks: list[Tensor] = []
    moving = nothing
    for _ in range(ROUNDS):
        cameras = fit_cameras(some, 1 - torch.stack([nothing, *masks]).amax(dim=0))
        masks, moving = _moving(some, cameras, sure[0].cpu().numpy() > 0, count)
    if not masks:
        raise InputError(NOTHING_MOVES)
    if len(masks) < count:
        raise InputError(f"{len(masks)} things move in the clip, not {count}; name each with --clip-subject")
    # Flow carries a subject's motion into the plain ground around it, far, and seems sure of it.
    structured = erode(texture_mask(image)[None], TEXTURE_PX // 2 + 1)[0]
    seen = moving * (some.confidence.mean(dim=0) > 0.5)
    reach = round(STRAY_SHARE * max(image.shape))
    deep = [erode((mask * seen)[None], reach)[0] * structured for mask in masks]
    all_that_moves = moving if count == 1 else None
    refined = [_whole(image, *pair, all_that_moves) for pair in zip(masks, deep, strict=True)]
    return tuple(subject_from_mask(image, mask) for mask in refined)


def _whole(
    image: Float[Tensor, "3 H W"],
    part: Float[Tensor, "1 H W"],
    surely: Float[Tensor, "1 H W"],
    all_that_moves: Float[Tensor, "1 H W"] | None,
) -> Tensor:
    """The mask [1,H,W] of the whole object of which a part moves; where none stands out, the part, drawn to edges."""
    picture = Picture(to_uint8(image))
    known = picture.on_small_grid(part[0].cpu().numpy())
    moving = None if all_that_moves is None else picture.on_small_grid(all_that_moves[0].cpu().numpy())
    region = complete_object(picture, known, moving)
    if region is None:
        return refine(image, part, surely)
    whole, around = (
        torch.from_numpy(picture.on_full_grid(each))[None].to(image) for each in (region, convex_hull(region))
    )
    if (region & known).sum() > OF_IT * known.sum():
        whole = torch.maximum(whole, surely * around)  # a notch of another colour; beyond the hull it is moving ground
    return refine(image, whole, whole * surely, keep=KEPT)


def _moving(
    field: FlowField, cameras: Float64[Tensor, "T 3 3"], sure: NDArray[np.bool_], count: int
) -> tuple[list[Tensor], Tensor]:
    """Connected parts [1,H,W] of what is `sure` that move most against the camera, confidently; their gaps closed.

    And all that moves, its gaps open.
    """
    still = torch.cat([camera_flow(camera, field.flow) for camera in cameras])
    speed_px = magnitude(field.flow - still)[:, 0]
    trust = field.confidence[:, 0]
    weight = trust.clamp_min(LEAST_TRUST)
    speed = ((speed_px * weight).sum(dim=0) / weight.sum(dim=0)).cpu().numpy()
    confident = (speed_px * trust).mean(dim=0).cpu().numpy()
    moving = (sure & (speed > max(STILL_PX, STILL_SHARE * float(np.quantile(confident, 0.99))))).astype(np.uint8)
    labels = _parts(moving)
    motion = np.bincount(labels.ravel(), confident.ravel())
    motion[0] = 0
    ordered = [label for label in np.argsort(-motion) if motion[label] > 0]
    parts = [labels == label for label in ordered]
    if count == 1 and len(parts) > 1:
        liveliest = int((speed_px * trust).sum(dim=(1, 2)).argmax())
        parts = [_turning_together(parts, field.flow[liveliest].cpu().numpy(), trust[liveliest].cpu().numpy() > 0.5)]
    masks = [torch.from_numpy(_filled(part))[None].to(field.flow) for part in parts[:count]]
    return [mask for mask in masks if mask.mean() > SMALLEST_SUBJECT_SHARE], torch.from_numpy(moving)[None].to(
        field.flow
    )


def _filled(part: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A part with what it surrounds: the centre of what turns or grows stands still."""
    outlines, _ = cv2.findContours(part.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros(part.shape, np.float32), outlines, -1, 1.0, cv2.FILLED))


def _turning_together(
    parts: list[NDArray[np.bool_]], flow: NDArray[np.float32], trusted: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The first part and those that turn or grow about one place with it, and what lies between them and does too.

    What turns stands still near its centre, so its ends are found apart.
    """
    joined = parts[0]
    for part in parts[1:]:
        both = [_shared_motion(joined | part, flow, trusted, here) for here in (joined, part)]
        if part.mean() > SMALLEST_PART * joined.mean() and min(share for share, _ in both) > TOGETHER_SHARE:
            between = cv2.convexHull(cv2.findNonZero((joined | part).astype(np.uint8)))
            hull = cv2.fillConvexPoly(np.zeros(part.shape, np.uint8), between, 1) > 0
            joined = joined | part | (hull & both[0][1])
    return joined


def _shared_motion(
    union: NDArray[np.bool_], flow: NDArray[np.float32], trusted: NDArray[np.bool_], here: NDArray[np.bool_]
) -> tuple[float, NDArray[np.bool_]]:
    """The share of `here` that a similarity fitted to the union's motion explains, and all that it explains."""
    y, x = np.mgrid[: union.shape[0], : union.shape[1]]
    start, moved = np.stack([x, y], axis=-1), np.stack([x + flow[0], y + flow[1]], axis=-1)
    known = union & trusted
    if known.sum() < FEWEST or not (here & known).any():
        return 0.0, known
    tolerance_px = TOGETHER_PX + TOGETHER_TOLERANCE * float(np.hypot(*flow[:, known]).mean())
    cv2.setRNGSeed(0)
    matrix, _ = cv2.estimateAffinePartial2D(
        start[known][::THINNED].astype(np.float64),
        moved[known][::THINNED].astype(np.float64),
        ransacReprojThreshold=tolerance_px,
    )
    if matrix is None:
        return 0.0, known
    explained = np.linalg.norm(start @ matrix[:, :2].T + matrix[:, 2] - moved, axis=-1) < tolerance_px
    return float(explained[here & known].mean()), explained


def _parts(moving: NDArray[np.uint8]) -> NDArray[np.int32]:
    reach = max(3, round(0.02 * max(moving.shape))) | 1
    closed = cv2.morphologyEx(moving, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    return np.asarray(cv2.connectedComponents(opened)[1])


def subject_motion_px(subject: Subject, still: FlowField) -> tuple[list[float], list[float]]:
    """For each frame the subject's mean motion in pixels where it is confident, and the share of it that is.

    `still` is a field with the camera's motion taken off.
    """
    sure = subject.mask[None] * still.confidence
    total = sure.sum(dim=(1, 2, 3))
    motion_px = (magnitude(still.flow) * sure).sum(dim=(1, 2, 3)) / total.clamp_min(1e-6)
    return motion_px.tolist(), (total / subject.mask.sum()).tolist()
