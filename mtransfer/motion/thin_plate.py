"""Silhouette onto silhouette: a thin-plate spline between two outlines, on top of a fit that is already near."""

from dataclasses import replace

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from mtransfer.motion.retarget import Fit
from mtransfer.subject.subject import Subject

OUTLINE_POINTS = 64
GRID_PX = 8  # the spline is smooth: it is evaluated this far apart
SMOOTHING = (1.0, 10.0, 100.0, 1e3, 1e4)  # tried in turn until the spline folds nowhere
SMALLEST_AREA = 0.2  # of a grid cell after the spline

Points = NDArray[np.float64]


def bent(fit: Fit, clip: Subject, photo: Subject) -> Fit:
    """`fit` with a bend that lays the photo's outline on the clip's (Bookstein, 1989), smooth enough not to fold."""
    inverse, offset = torch.linalg.inv(fit.linear).double().numpy(), fit.offset.double().numpy()
    ours, theirs = outline((photo.mask > 0.5).numpy()[0]), outline((clip.mask > 0.5).numpy()[0])
    ours = (ours - offset) @ inverse.T
    if np.linalg.det(inverse) < 0:  # a mirrored outline runs the other way round
        ours = ours[::-1]
    theirs = matched(ours, theirs)
    size = (clip.mask.shape[-2], clip.mask.shape[-1])
    for smoothing in SMOOTHING:
        bend = _spline(ours, theirs - ours, size, smoothing)
        if _folds_nowhere(bend):
            return replace(fit, bend=_enlarged(bend, size))
    return fit


def outline(mask: NDArray[np.bool_]) -> Points:
    """The longest outline of a mask, OUTLINE_POINTS points (x, y) evenly along it."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    longest = max(contours, key=len)[:, 0].astype(np.float64)
    closed = np.vstack([longest, longest[:1]])
    along = np.concatenate([[0.0], np.linalg.norm(np.diff(closed, axis=0), axis=1).cumsum()])
    wanted = np.linspace(0, along[-1], OUTLINE_POINTS, endpoint=False)
    return np.stack([np.interp(wanted, along, closed[:, axis]) for axis in (0, 1)], axis=1)


def matched(ours: Points, theirs: Points) -> Points:
    """`theirs`, begun where the two outlines run nearest to each other all along."""
    shifted = [np.roll(theirs, -shift, axis=0) for shift in range(len(theirs))]
    return min(shifted, key=lambda points: float(np.square(points - ours).sum()))


def _spline(points: Points, values: Points, size: tuple[int, int], smoothing: float) -> Points:
    """The spline's values [h,w,2] on a coarse grid over a picture of `size`."""
    rows, columns = (np.arange(0, side + GRID_PX, GRID_PX, dtype=np.float64) for side in size)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1)
    # The outline's hull is as far as the spline is known: beyond it a plane's growth would throw points away.
    places = np.clip(grid, points.min(axis=0), points.max(axis=0)).reshape(-1, 2)
    spline = RBFInterpolator(points, values, kernel="thin_plate_spline", smoothing=smoothing)
    return np.asarray(spline(places)).reshape(*grid.shape)


def _folds_nowhere(bend: Points) -> bool:
    down, across = (np.asarray(np.gradient(bend, GRID_PX, axis=axis)) for axis in (0, 1))
    area = (1 + across[..., 0]) * (1 + down[..., 1]) - across[..., 1] * down[..., 0]
    return bool(area.min() > SMALLEST_AREA)


def _enlarged(bend: Points, size: tuple[int, int]) -> Float[Tensor, "1 2 H W"]:
    x, y = np.meshgrid(*(np.arange(side, dtype=np.float32) / GRID_PX for side in size[::-1]))
    planes = [cv2.remap(plane, x, y, cv2.INTER_LINEAR) for plane in np.moveaxis(bend.astype(np.float32), -1, 0)]
    return torch.from_numpy(np.stack(planes))[None]
