"""Scenes that move by known maps: each frame is sampled afresh from the originals, so flow and masks are exact."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.flow.warp import pixel_grid, sample

SUBSAMPLES = 3  # a pixel's side: originals are up to twice as large as they are shown
FAINTEST = 0.03  # alpha below it is no subject
MARGIN_SHARE = 0.4  # transparent room around a cut-out, for its shadow
SHADOW_OPACITY = 0.6

Size = tuple[int, int]


class Step(Protocol):
    """An invertible map of the plane on points [1,2,H,W], (x, y) in pixels."""

    def forward(self, points: Tensor) -> Tensor: ...

    def backward(self, points: Tensor) -> Tensor: ...


Path2D = Sequence[Step]


@dataclass(frozen=True)
class Affine:
    """p goes to linear @ p + offset: float64 [2,2] and [2], in pixels."""

    linear: Tensor
    offset: Tensor

    def forward(self, points: Tensor) -> Tensor:
        return torch.einsum("ij,bjhw->bihw", self.linear, points) + self.offset.view(1, 2, 1, 1)

    def backward(self, points: Tensor) -> Tensor:
        return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(self.linear), points - self.offset.view(1, 2, 1, 1))


@dataclass(frozen=True)
class Bend:
    """Shifts points along one axis by a smooth function of their place on the other: never folds, inverts exactly.

    At a distance `reach_px` from the centre along `angle_rad` the shift is up to `curve_px` + `wave_px`.
    """

    centre_xy: tuple[float, float]
    angle_rad: float
    reach_px: float
    curve_px: float
    wave_px: float

    def forward(self, points: Tensor) -> Tensor:
        return points + self._shift(points)

    def backward(self, points: Tensor) -> Tensor:
        return points - self._shift(points)

    def _shift(self, points: Tensor) -> Tensor:
        cos, sin = math.cos(self.angle_rad), math.sin(self.angle_rad)
        x, y = points[:, :1] - self.centre_xy[0], points[:, 1:] - self.centre_xy[1]
        along = (cos * x + sin * y) / self.reach_px
        shift = self.curve_px * along.square() + self.wave_px * torch.sin(math.pi * along)
        return torch.cat([-sin * shift, cos * shift], dim=1)


def affine_about(
    centre_xy: tuple[float, float],
    turn_deg: float = 0.0,
    scale_xy: tuple[float, float] = (1.0, 1.0),
    shift_px: tuple[float, float] = (0.0, 0.0),
) -> Affine:
    """Scale, turn (counter-clockwise on screen), then shift, about a centre."""
    cos, sin = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    turn = torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)
    linear = turn @ torch.diag(torch.tensor(scale_xy, dtype=torch.float64))
    centre, shift = (torch.tensor(pair, dtype=torch.float64) for pair in (centre_xy, shift_px))
    return Affine(linear, centre - linear @ centre + shift)


def go_forward(path: Path2D, points: Tensor) -> Tensor:
    """Points after every step of a path."""
    for step in path:
        points = step.forward(points)
    return points


def go_back(path: Path2D, points: Tensor) -> Tensor:
    """Where points were before every step of a path."""
    for step in reversed(path):
        points = step.backward(points)
    return points


def grid64(size: Size) -> Tensor:
    """The (x, y) of every pixel centre, float64 [1,2,H,W]."""
    return pixel_grid(torch.empty(1, 1, *size, dtype=torch.float64))


@dataclass(frozen=True)
class Actor:
    """A cut-out and its shadow float32[1,4,h,w], premultiplied, and the map `pose` of their pixels into the picture.

    `weight_px` is the area and `middle` [1,2,1,1] the centre of mass in the cut-out's own pixels, `inside` [1,2,1,N]
    places all over it.
    """

    texture: Tensor
    shadow: Tensor | None
    weight_px: float
    middle: Tensor
    inside: Tensor
    pose: Affine

    @property
    def area_px(self) -> float:
        """Area in the picture."""
        return self.weight_px * float(self.pose.linear.det().abs())

    @property
    def centroid_xy(self) -> tuple[float, float]:
        """Centre of mass in the picture."""
        x, y = self.pose.forward(self.middle).flatten().tolist()
        return x, y

    def points(self) -> Tensor:
        """Places in the picture all over the cut-out, [1,2,1,N]."""
        return self.pose.forward(self.inside)


@dataclass(frozen=True)
class Scene:
    """Actors before a background float32[1,3,h,w], `place` its map into the picture of `size` = (H, W)."""

    size: Size
    background: Tensor
    place: Affine
    actors: tuple[Actor, ...]


@dataclass(frozen=True)
class Frame:
    """A picture float32[1,3,H,W] in [0,1], each actor's mask and all shadows' opacity, float32[1,1,H,W] in [0,1]."""

    image: Tensor
    masks: tuple[Tensor, ...]
    shadow: Tensor

    @property
    def mask(self) -> Tensor:
        """All actors' masks together."""
        return torch.stack(self.masks).amax(dim=0)


def draw(scene: Scene, motions: Sequence[Path2D], camera: Path2D = ()) -> Frame:
    """The scene after each actor has moved along its path and the camera along its own; 8-bit values."""
    image = _look_up(scene.background, (scene.place, *camera), scene.size, "reflection")
    shadow, masks = torch.zeros_like(image[:, :1]), []
    for actor, motion in zip(scene.actors, motions, strict=True):
        path = (actor.pose, *motion, *camera)
        if actor.shadow is not None:
            layer = _look_up(actor.shadow, path, scene.size)
            image, shadow = image * (1 - layer[:, 3:]), torch.maximum(shadow, layer[:, 3:])
        layer = _look_up(actor.texture, path, scene.size)
        alpha = layer[:, 3:] * (layer[:, 3:] > FAINTEST)
        image = image * (1 - alpha) + torch.minimum(layer[:, :3], alpha)
        masks.append(_eight_bit(alpha))
    return Frame(_eight_bit(image), tuple(masks), shadow)


def exact_flow(frame: Frame, motions: Sequence[Path2D], camera: Path2D = ()) -> Tensor:
    """Forward flow float32[1,2,H,W] in pixels: actors move wherever their masks are above 0, the rest as the camera."""
    grid = grid64((frame.image.shape[-2], frame.image.shape[-1]))
    still = (go_forward(camera, grid) - grid).float()
    return torch.where(frame.mask > 0, extended_flow(frame, [(*motion, *camera) for motion in motions]), still)


def extended_flow(frame: Frame, motions: Sequence[Path2D]) -> Tensor:
    """The same under a still camera, but every pixel moves with the actor nearest to it."""
    grid = grid64((frame.image.shape[-2], frame.image.shape[-1]))
    flows = torch.cat([(go_forward(motion, grid) - grid).float() for motion in motions])
    away = torch.cat([_distance_px(mask) for mask in frame.masks])
    return flows.gather(0, away.argmin(dim=0, keepdim=True).expand(1, 2, -1, -1))


def load_background(path: Path) -> Tensor:
    """A picture file as float32[1,3,h,w] in [0,1]."""
    pixels = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return _tensor(pixels.astype(np.float32) / 255)


def load_actor(path: Path, *, shadow: bool) -> Actor:
    """A cut-out file, not yet posed, with room around it; with a soft shadow on the ground under it if asked."""
    pixels = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA).astype(np.float32) / 255
    pixels[..., :3] *= pixels[..., 3:]
    room = round(MARGIN_SHARE * max(pixels.shape[:2]))
    texture = F.pad(_tensor(pixels), (room,) * 4)
    alpha = texture[:, 3:].double()
    grid, weight = grid64((alpha.shape[2], alpha.shape[3])), alpha.sum()
    inside = grid[:, :, alpha[0, 0] > FAINTEST][:, :, None, ::7]
    middle = (grid * alpha).sum(dim=(2, 3), keepdim=True) / weight
    still = affine_about((0.0, 0.0))
    return Actor(texture, _contact_shadow(texture) if shadow else None, float(weight), middle, inside, still)


def posed(actor: Actor, centre_xy: tuple[float, float], scale: float, turn_deg: float, mirrored: bool) -> Actor:
    """An actor as loaded, scaled, turned and put with its centre of mass at `centre_xy`."""
    x, y = actor.centroid_xy
    shift = centre_xy[0] - x, centre_xy[1] - y
    return replace(actor, pose=affine_about((x, y), turn_deg, (-scale if mirrored else scale, scale), shift))


def _contact_shadow(texture: Tensor) -> Tensor:
    """The silhouette flattened onto the ground at its foot, blurred, in black."""
    alpha = texture[0, 3].numpy()
    rows = np.flatnonzero(alpha.max(axis=1) > 0.5)
    height = rows[-1] - rows[0]
    depth = max(4, round(0.16 * height))
    flat = cv2.resize(alpha[rows[0] : rows[-1]], (alpha.shape[1], depth), interpolation=cv2.INTER_AREA)
    ground = np.zeros_like(alpha)
    top = rows[-1] - round(0.65 * depth)
    ground[top : top + depth] = flat
    soft = SHADOW_OPACITY * cv2.GaussianBlur(ground, (0, 0), max(2.0, 0.035 * height))
    return F.pad(torch.from_numpy(soft)[None, None], (0, 0, 0, 0, 3, 0))


def _look_up(texture: Tensor, path: Path2D, size: Size, padding_mode: str = "zeros") -> Tensor:
    height, width = size
    fine = (grid64((SUBSAMPLES * height, SUBSAMPLES * width)) + 0.5) / SUBSAMPLES - 0.5
    points = go_back(path, fine).float()
    pixels = sample(texture, points, mode="bicubic", padding_mode=padding_mode)
    return F.avg_pool2d(pixels, SUBSAMPLES).clamp(0, 1)


def _distance_px(mask: Tensor) -> Tensor:
    """How far each pixel is from a mask, float32[1,1,H,W]; 0 inside."""
    outside = (mask[0, 0] == 0).numpy().astype(np.uint8)
    return torch.from_numpy(cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))[None, None]


def _eight_bit(values: Tensor) -> Tensor:
    """What a file can hold, so that a case in memory and one on disk are the same."""
    return (255 * values.clamp(0, 1)).round() / 255


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
