"""Composites with everything known: cut-outs over photographs, moved; true flow, masks and after-image come free."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from training.images import ImageBank

Array = NDArray[Any]  # float32, but for what NumPy widens on the way
IDENTITY = np.eye(3, dtype=np.float32)


@dataclass(frozen=True)
class Motion:
    """Sizes of the random motions, in shares of the picture's side unless said otherwise."""

    shift: float = 0.25  # a cut-out's largest displacement
    small: float = 1.5  # power of the uniform draw of displacements: larger means more small ones
    turn_deg: float = 15.0  # standard deviations from here on
    zoom: float = 0.12
    bend: float = 0.02
    parallax: float = 0.0  # of the background: smooth differences of depth
    camera_still: float = 0.4  # probability
    patches: float = 0.0  # probability that a piece of a photograph takes the place of a cut-out
    shadows: float = 0.0  # probability that a cut-out throws one


@dataclass(frozen=True)
class Scene:
    """Two frames float32[H,W,3] in [0,1] and the forward flow float32[H,W,2] in pixels between them.

    `background` is the second frame without its cut-outs; `source` and `target` are the cut-outs' alphas [H,W].
    """

    before: Array
    after: Array
    flow: Array
    background: Array
    source: Array
    target: Array


def compose(rng: Generator, bank: ImageBank, size: int, count: int, motion: Motion) -> Scene:
    """`count` cut-outs over one photograph, `size` pixels a side."""
    picture, place = _background(rng, bank, size)
    still = rng.random() < motion.camera_still
    camera = IDENTITY if still else _camera(rng, size)
    depth = np.zeros((size, size, 2), np.float32) if still else _parallax(rng, size, motion)
    grid = _grid(size)
    before = _look_up(picture, place, grid)
    after = _look_up(picture, place, _inverse(grid, camera, depth))
    background, flow = after.copy(), _bent(grid, camera, depth)
    source = target = np.zeros((size, size), np.float32)
    for _ in range(count):
        cutout, pose, centre = _cutout(rng, bank, size, motion.patches)
        matrix, bend = _motion(rng, centre, size, motion)
        moved = grid + _bent(grid, matrix, bend)
        came_from = _inverse(grid, matrix, bend)
        first, second = _look_up(cutout, pose, grid), _look_up(cutout, pose, came_from)
        if motion.shadows and rng.random() < motion.shadows:
            before, after = _shaded(rng, (before, first), (after, second))
        before, after = _over(before, first), _over(after, second)
        flow = np.where(first[..., 3:] > 0.5, moved - grid, flow)
        source, target = np.maximum(source, first[..., 3]), np.maximum(target, second[..., 3])
    return Scene(before, after, flow.astype(np.float32), background, source, target)


def _shaded(rng: Generator, *frames: tuple[Array, Array]) -> list[Array]:
    """Frames darkened where a cut-out, each frame's own, throws the same soft shadow."""
    size = frames[0][0].shape[0]
    softness, darkness = size * rng.uniform(0.005, 0.04), rng.uniform(0.2, 0.7)
    aside = IDENTITY[:2].copy()
    aside[:, 2] = rng.normal(0, 0.06, 2) * size
    shades = [
        cv2.GaussianBlur(cv2.warpAffine(layer[..., 3], aside, (size, size)), (0, 0), softness) for _, layer in frames
    ]
    return [below * (1 - darkness * shade[..., None]) for (below, _), shade in zip(frames, shades, strict=True)]


def jitter(rng: Generator, image: Array) -> Array:
    """Brightness, contrast, colour, blur and noise as between two frames of a real clip."""
    out = (image - 0.5) * rng.normal(1, 0.05) + 0.5 + rng.normal(0, 0.03) + rng.normal(0, 0.01, 3)
    if rng.random() < 0.3:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.2))
    return np.clip(out + rng.normal(0, rng.uniform(0, 0.02), image.shape), 0, 1).astype(np.float32)


def _background(rng: Generator, bank: ImageBank, size: int) -> tuple[Array, Array]:
    photo = bank.photos[rng.integers(len(bank.photos))]
    short = min(photo.shape[:2])
    # From the whole photograph squeezed into the picture to its own pixels; with room around for the camera.
    scale = np.exp(rng.uniform(0, np.log(max(1.01, short / (1.3 * size)))))
    side = min(short, int(1.3 * size * scale))
    top, left = (rng.integers(length - side + 1) for length in photo.shape[:2])
    picture = _shrunk(photo[top : top + side, left : left + side], scale)
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    place = IDENTITY.copy()
    place[:2, 2] = (np.array(picture.shape[1::-1]) - size) / 2
    return picture, place


def _cutout(rng: Generator, bank: ImageBank, size: int, patches: float) -> tuple[Array, Array, Array]:
    """A cut-out float32[h,w,4], the matrix from picture pixels to its own pixels, and its centre in the picture."""
    cutout = _patch(rng, bank) if rng.random() < patches else bank.cutouts[rng.integers(len(bank.cutouts))]
    wanted = size * rng.uniform(0.2, 0.65)
    scale = max(cutout.shape[:2]) / wanted
    picture = _shrunk(cutout, max(1.0, scale))
    turn = np.deg2rad(rng.normal(0, 12))
    centre = rng.uniform(0.2, 0.8, 2) * size
    left = max(picture.shape[:2]) / wanted
    mirror = rng.choice([-1.0, 1.0])
    cos, sin = np.cos(turn), np.sin(turn)
    linear = left * np.array([[mirror, 0], [0, 1]]) @ np.array([[cos, sin], [-sin, cos]])
    pose = IDENTITY.copy()
    pose[:2, :2] = linear
    pose[:2, 2] = np.array(picture.shape[1::-1]) / 2 - linear @ centre
    return picture, pose, centre


def _patch(rng: Generator, bank: ImageBank) -> NDArray[np.uint8]:
    """A smooth blob cut from a photograph: texture that the cut-outs lack."""
    photo = bank.photos[rng.integers(len(bank.photos))]
    side = int(rng.integers(80, min(300, *photo.shape[:2])))
    top, left = (rng.integers(length - side + 1) for length in photo.shape[:2])
    x = np.linspace(-1, 1, side, dtype=np.float32)
    bumps = cv2.resize(rng.normal(0, 0.4, (4, 4)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    inside = x[None] ** 2 + x[:, None] ** 2 < 0.6 + bumps
    return np.dstack([photo[top : top + side, left : left + side], 255 * inside.astype(np.uint8)])


def _parallax(rng: Generator, size: int, motion: Motion) -> Array:
    """Displacements float32[H,W,2] of a smooth relief seen by a camera that moves sideways."""
    direction = rng.uniform(0, 2 * np.pi)
    relief = rng.random((5, 5, 1)) * rng.normal(0, motion.parallax * size)
    depth = (relief * np.array([np.cos(direction), np.sin(direction)])).astype(np.float32)
    return cv2.resize(depth, (size, size), interpolation=cv2.INTER_CUBIC)


def _camera(rng: Generator, size: int) -> Array:
    spread = 0.03 if rng.random() < 0.85 else 0.1
    matrix = _about(np.array([size / 2, size / 2]), rng.normal(0, 2), np.exp(rng.normal(0, 0.03)))
    matrix[:2, 2] += rng.normal(0, spread, 2) * size
    return matrix


def _motion(rng: Generator, centre: Array, size: int, motion: Motion) -> tuple[Array, Array]:
    """The affine matrix and the smooth bend float32[H,W,2] of one cut-out."""
    matrix = _about(centre, rng.normal(0, motion.turn_deg), np.exp(rng.normal(0, motion.zoom)))
    direction, reach = rng.uniform(0, 2 * np.pi), size * motion.shift * rng.random() ** motion.small
    matrix[:2, 2] += reach * np.array([np.cos(direction), np.sin(direction)])
    bend = rng.normal(0, motion.bend * size, (4, 4, 2)).astype(np.float32)
    return matrix, cv2.resize(bend, (size, size), interpolation=cv2.INTER_CUBIC)


def _about(centre: Array, turn_deg: float, zoom: float) -> Array:
    angle = np.deg2rad(turn_deg)
    matrix = IDENTITY.copy()
    matrix[:2, :2] = zoom * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix[:2, 2] = centre - matrix[:2, :2] @ centre
    return matrix


def _bent(grid: Array, matrix: Array, bend: Array) -> Array:
    return _apply(matrix, grid) - grid + bend


def _inverse(grid: Array, matrix: Array, bend: Array) -> Array:
    """Where each pixel of the second frame was in the first: the affine part exactly, the bend by fixed point."""
    back, source = np.linalg.inv(matrix).astype(np.float32), grid
    for _ in range(6):
        local = cv2.remap(bend, *_maps(source), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        source = _apply(back, grid - local)
    return source


def _grid(size: int) -> Array:
    x = np.arange(size, dtype=np.float32)
    return np.stack(np.meshgrid(x, x), axis=-1)


def _apply(matrix: Array, points: Array) -> Array:
    return (points @ matrix[:2, :2].T + matrix[:2, 2]).astype(np.float32)


def _maps(points: Array) -> tuple[Array, Array]:
    return np.ascontiguousarray(points[..., 0]), np.ascontiguousarray(points[..., 1])


def _look_up(picture: Array, place: Array, points: Array) -> Array:
    border = cv2.BORDER_REFLECT_101 if picture.shape[2] == 3 else cv2.BORDER_CONSTANT
    return cv2.remap(picture, *_maps(_apply(place, points)), cv2.INTER_LINEAR, borderMode=border).astype(np.float32)


def _shrunk(picture: NDArray[np.uint8], scale: float) -> Array:
    """Float picture in [0,1], premultiplied where it has alpha, shrunk by area so that looking it up does not alias."""
    real = picture.astype(np.float32) / 255
    if real.shape[2] == 4:
        real[..., :3] *= real[..., 3:]
        real = cv2.copyMakeBorder(real, 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    size = tuple(max(8, round(side / scale)) for side in real.shape[1::-1])
    return cv2.resize(real, size, interpolation=cv2.INTER_AREA) if scale > 1.02 else real


def _over(below: Array, layer: Array) -> Array:
    return below * (1 - layer[..., 3:]) + layer[..., :3]
