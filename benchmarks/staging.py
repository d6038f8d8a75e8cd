"""All that chance decides in a case: where its actors stand, how they move, and what is wrong with the guidance."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from scipy import ndimage
from torch import Tensor

from benchmarks.rendering import Actor, Affine, Bend, Path2D, Size, affine_about, go_forward, posed

MARGIN_PX = 4  # between a subject and the picture's edge
MOTION_PX, CLIP_MOTION_PX = (15, 60), (15, 45)  # of the fastest twentieth of the subject
SLOWEST_PX = 8  # mean motion
SUBJECT_SHARE = (0.05, 0.25)
STAYING_SHARE = (0.4, 0.75)  # of a subject that leaves the picture
SAME_SIZE = (0.87, 1.15)  # ratio of lengths: the photo's subject is larger or smaller than the clip's
LARGEST_ZOOM = 1.25  # of a cut-out: more looks blurred
ATTEMPTS, PHOTO_ATTEMPTS = 20_000, 200
FLOW_ERROR_SHARE = (0.05, 0.15)  # of the mean motion
MASK_OFF_PX = (4, 8)
UNKNOWN_SHARE = (0.05, 0.25)  # of the mask
KEPT_SHARE = 0.4  # a mask eroded further than this would be another subject


def place_background(
    rng: Generator, picture: Tensor, size: Size, scales: tuple[float, float], *, centred: bool
) -> Affine:
    """The map of a background float32[1,3,h,w] into the picture, shrunk within `scales`, as it is or mirrored.

    The picture lies wholly inside the background: at its centre, with room around for a camera, or anywhere.
    """
    scale, sign = rng.uniform(*scales), rng.choice([-1.0, 1.0])
    room = scale * (np.array(picture.shape[:1:-1]) - 1) - np.array(size[::-1])
    offset = -(room / 2 if centred else rng.uniform(0, 1, 2) * room) - 0.5
    if sign < 0:
        offset[0] += scale * (picture.shape[-1] - 1)
    return Affine(torch.diag(torch.tensor([sign * scale, scale])), torch.from_numpy(offset))


def stage_edit(
    rng: Generator, kind: str, cast: Sequence[Actor], size: Size, *, growing: bool
) -> tuple[tuple[Actor, ...], list[Path2D]]:
    """Actors placed and moved at random in a picture of `size` = (H, W) until the rules of the kind hold.

    `growing` says which way to scale or stretch: chance alone would mostly shrink, which fits more often.
    """
    for _ in range(ATTEMPTS):
        actors = tuple(_posed(rng, actor, size, len(cast)) for actor in cast)
        motions = [MOTIONS[kind](rng, actor, growing) for actor in actors]
        if _keeps_rules(kind, actors, motions, size):
            return actors, motions
    raise RuntimeError(f"no {kind} found for its pictures; widen the limits")


def _posed(rng: Generator, actor: Actor, size: Size, count: int = 1) -> Actor:
    height, width = size
    # The larger half of the shares is drawn more often, for it fits less often.
    wanted_px = np.interp(rng.random() ** 0.5, (0, 1), SUBJECT_SHARE) * height * width / count
    scale = min((wanted_px / actor.area_px) ** 0.5, LARGEST_ZOOM)
    x, y = rng.uniform(0.1, 0.9, 2) * (width, height)
    return posed(actor, (x, y), scale, rng.normal(0, 4), bool(rng.random() < 0.5))


def _keeps_rules(kind: str, actors: Sequence[Actor], motions: Sequence[Path2D], size: Size) -> bool:
    starts = [actor.points() for actor in actors]
    ends = [go_forward(motion, start) for motion, start in zip(motions, starts, strict=True)]
    share = sum(actor.area_px for actor in actors) / (size[0] * size[1])
    return (
        SUBJECT_SHARE[0] <= share <= SUBJECT_SHARE[1]
        and all(bool(_inside(start, size, MARGIN_PX).all()) for start in starts)
        and all(_moves_enough(*pair, MOTION_PX) for pair in zip(starts, ends, strict=True))
        and all(_ends_well(kind, end, size) for end in ends)
        and all(_apart(*pair) for side in (starts, ends) for pair in itertools.combinations(side, 2))
    )


def _ends_well(kind: str, end: Tensor, size: Size) -> bool:
    if kind == "leaving":
        return _between(float(_inside(end, size, 0).double().mean()), STAYING_SHARE)
    return bool(_inside(end, size, MARGIN_PX).all())


def _inside(points: Tensor, size: Size, margin_px: float) -> Tensor:
    x, y = points[:, 0], points[:, 1]
    last_x, last_y = size[1] - 1 - margin_px, size[0] - 1 - margin_px
    return (x >= margin_px) & (x <= last_x) & (y >= margin_px) & (y <= last_y)


def _moves_enough(start: Tensor, end: Tensor, limits_px: tuple[float, float]) -> bool:
    moved_px = (end - start).norm(dim=1)
    return _between(float(moved_px.quantile(0.95)), limits_px) and float(moved_px.mean()) >= SLOWEST_PX


def _between(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def _apart(first: Tensor, second: Tensor) -> bool:
    """Whether the boxes of two actors leave a gap."""
    low = torch.maximum(first.amin(dim=3), second.amin(dim=3))
    high = torch.minimum(first.amax(dim=3), second.amax(dim=3))
    return bool((low > high + MARGIN_PX).any())


def _translate(rng: Generator, actor: Actor, growing: bool) -> Path2D:
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(18, 58)
    return (affine_about((0, 0), shift_px=(length * np.cos(angle), length * np.sin(angle))),)


def _rotate(rng: Generator, actor: Actor, growing: bool) -> Path2D:
    return (affine_about(actor.centroid_xy, rng.choice([-1, 1]) * rng.uniform(20, 60)),)


def _scale(rng: Generator, actor: Actor, growing: bool) -> Path2D:
    factor = np.exp(_signed(rng.uniform(0.24, 0.5), growing))
    return (affine_about(actor.centroid_xy, scale_xy=(factor, factor)),)


def _stretch(rng: Generator, actor: Actor, growing: bool) -> Path2D:
    factors = np.exp([_signed(rng.uniform(0.24, 0.5), growing), rng.uniform(-0.08, 0.08)])
    x, y = rng.permutation(factors)
    return (affine_about(actor.centroid_xy, scale_xy=(x, y)),)


def _signed(log_zoom: float, growing: bool) -> float:
    return log_zoom if growing else -log_zoom


def _deform(rng: Generator, actor: Actor, growing: bool) -> Path2D:
    """Bent like a bow one way, then a little the other."""
    reach = float(actor.area_px) ** 0.5
    first, second = rng.choice([-1, 1], 2) * rng.uniform((22, 6), (50, 16))
    angle = rng.uniform(0, np.pi)
    bends = [(angle, first, rng.uniform(-10, 10)), (angle + np.pi / 2, second, rng.uniform(-10, 10))]
    return tuple(Bend(actor.centroid_xy, turn, reach, curve, wave) for turn, curve, wave in bends)


def _wander(rng: Generator, actor: Actor, growing: bool) -> Path2D:
    return (affine_about(actor.centroid_xy, rng.normal(0, 8)), *_translate(rng, actor, growing))


MOTIONS: dict[str, Callable[[Generator, Actor, bool], Path2D]] = {
    "translate": _translate,
    "rotate": _rotate,
    "scale": _scale,
    "stretch": _stretch,
    "two": _wander,
    "deform": _deform,
    "leaving": _wander,
}


def stage_clip(
    rng: Generator,
    motion: str,
    camera: str,
    cast: tuple[Actor, Actor],
    sizes: tuple[Size, Size],
    length: int,
    *,
    growing: bool,
) -> tuple[Actor, Actor, list[Affine], list[Affine]]:
    """The clip's actor, the photo's, and for each of `length` frames the actor's motion and the camera's.

    `sizes` are the clip's and the photo's, (H, W). Motions are against the world, cameras map the world as frame 0
    shows it into the frame.
    """
    for _ in range(ATTEMPTS):
        actor = _posed(rng, cast[0], sizes[0])
        motions = _subject_path(rng, motion, actor, length, growing)
        cameras = _camera_path(rng, camera, sizes[0], length)
        if not _fits_clip(actor, motions, cameras, sizes[0]):
            continue
        for _ in range(PHOTO_ATTEMPTS):
            other = _posed(rng, cast[1], sizes[1])
            if _fits_photo(actor, other, motions[-1], sizes[1]):
                return actor, other, motions, cameras
    raise RuntimeError(f"no {motion} under a {camera} camera found for its pictures; widen the limits")


def _fits_clip(actor: Actor, motions: list[Affine], cameras: list[Affine], size: Size) -> bool:
    start, paths = actor.points(), zip(motions, cameras, strict=True)
    return (
        actor.area_px >= SUBJECT_SHARE[0] * size[0] * size[1]
        and _moves_enough(start, motions[-1].forward(start), CLIP_MOTION_PX)
        and all(bool(_inside(go_forward(path, start), size, MARGIN_PX).all()) for path in paths)
    )


def _fits_photo(actor: Actor, other: Actor, motion: Affine, size: Size) -> bool:
    start = other.points()
    end = carried(motion, actor, other).forward(start)
    return (
        not _between((other.area_px / actor.area_px) ** 0.5, SAME_SIZE)
        and other.area_px >= SUBJECT_SHARE[0] * size[0] * size[1]
        and bool(_inside(torch.cat([start, end]), size, MARGIN_PX).all())
        and _moves_enough(start, end, MOTION_PX)
    )


def carried(motion: Affine, actor: Actor, other: Actor) -> Affine:
    """The motion of one actor on another: centroid on centroid, lengths scaled by the root of the areas' ratio."""
    ratio = (other.area_px / actor.area_px) ** 0.5
    here, there = (torch.tensor(one.centroid_xy, dtype=torch.float64) for one in (actor, other))
    offset = there - ratio * here
    return Affine(motion.linear, ratio * motion.offset + offset - motion.linear @ offset)


def _subject_path(rng: Generator, motion: str, actor: Actor, length: int, growing: bool) -> list[Affine]:
    angle, shift = rng.uniform(0, 2 * np.pi), rng.uniform(15, 45) if motion == "translate" else rng.uniform(0, 8)
    turn = rng.choice([-1, 1]) * rng.uniform(20, 45) if motion == "rotate" else 0.0
    zoom = _signed(rng.uniform(0.24, 0.45), growing) if motion == "scale" else 0.0
    return _steady(actor.centroid_xy, turn, zoom, (shift * np.cos(angle), shift * np.sin(angle)), length)


def _camera_path(rng: Generator, camera: str, size: Size, length: int) -> list[Affine]:
    angle, shift = rng.uniform(0, 2 * np.pi), rng.uniform(12, 26) if camera == "pan" else 0.0
    turn = rng.choice([-1, 1]) * rng.uniform(4, 8) if camera == "roll" else 0.0
    zoom = rng.choice([-1, 1]) * rng.uniform(0.07, 0.14) if camera == "zoom" else 0.0
    centre = (size[1] - 1) / 2, (size[0] - 1) / 2
    return _steady(centre, turn, zoom, (shift * np.cos(angle), shift * np.sin(angle)), length)


def _steady(
    centre_xy: tuple[float, float], turn_deg: float, log_zoom: float, shift_px: tuple[float, float], length: int
) -> list[Affine]:
    """From rest to the whole motion in even steps."""
    return [
        affine_about(centre_xy, s * turn_deg, (np.exp(s * log_zoom),) * 2, (s * shift_px[0], s * shift_px[1]))
        for s in np.linspace(0, 1, length)
    ]


@dataclass(frozen=True)
class Guidance:
    """What a method is given: flow [1,2,H,W] in pixels, confidence and mask [1,1,H,W] in [0,1]; `fault` in words."""

    flow: Tensor
    confidence: Tensor
    mask: Tensor
    fault: str


def perfect(flow: Tensor, mask: Tensor) -> Guidance:
    """The truth itself."""
    return Guidance(flow, torch.ones_like(mask), mask, "")


def imperfect(rng: Generator, extended: Tensor, mask: Tensor, how: str) -> Guidance:
    """The truth with all three faults. `extended`: the true flow, continued beyond the mask.

    `how` the mask is off: 'dilated', 'eroded' (dilated where little would be left) or 'shifted'. The flow is 0 outside
    the given mask, and 0 with confidence 0 in the patches. Its error is measured where mask and given mask agree.
    """
    width_px = int(rng.integers(MASK_OFF_PX[0], MASK_OFF_PX[1] + 1))
    given, how = _wrong_mask(rng, mask, how, width_px)
    confidence = 1 - _patches(rng, given)
    known = (given > 0) & (confidence > 0)
    share = rng.uniform(*FLOW_ERROR_SHARE)
    error = _smooth(rng, tuple(mask.shape[-2:]), 2)  # type: ignore[arg-type]
    judged = (known & (mask > 0.5))[0, 0]
    scale = share * extended[0][:, judged].norm(dim=0).mean() / error[0][:, judged].norm(dim=0).mean()
    fault = f"mask {how} {width_px} px, flow {100 * share:.0f} % off"
    return Guidance((extended + scale * error) * known, confidence, given, fault)


def _wrong_mask(rng: Generator, mask: Tensor, how: str, width_px: int) -> tuple[Tensor, str]:
    if how == "shifted":
        return _shifted(rng, mask, width_px), how
    eroded = _grown(mask, -width_px)
    if how == "eroded" and eroded.sum() > KEPT_SHARE * mask.sum():
        return eroded, how
    return _grown(mask, width_px), "dilated"


def _grown(mask: Tensor, width_px: int) -> Tensor:
    """The silhouette moved outwards by `width_px` pixels, soft-edged; inwards where negative."""
    inside = (mask[0, 0] > 0.5).numpy()
    depth = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    grown = np.clip(0.5 + depth + width_px, 0, 1)
    return torch.from_numpy((255 * grown).round() / 255).float()[None, None]


def _shifted(rng: Generator, mask: Tensor, width_px: int) -> Tensor:
    angle = rng.uniform(0, 2 * np.pi)
    by = width_px * np.array([np.sin(angle), np.cos(angle)])
    moved = ndimage.shift(mask[0, 0].numpy(), by, order=1).clip(0, 1)
    return torch.from_numpy((255 * moved).round() / 255).float()[None, None]


def _patches(rng: Generator, mask: Tensor) -> Tensor:
    """Smooth blobs [1,1,H,W], 1 inside, over a share of the mask."""
    height, width = mask.shape[-2:]
    noise = _smooth(rng, (height, width), 1, cells=9)
    values = noise[mask > 0.5]
    return (noise > values.quantile(1 - rng.uniform(*UNKNOWN_SHARE))).float() * (mask > 0)


def _smooth(rng: Generator, size: tuple[int, int], channels: int, cells: int = 4) -> Tensor:
    """Smooth noise float32[1,channels,H,W] whose hills are about size / cells wide."""
    coarse = torch.from_numpy(rng.normal(0, 1, (1, channels, cells, cells))).float()
    return F.interpolate(coarse, size, mode="bicubic", align_corners=True)
