"""Key poses on the way from rest to an edit, and where the subject is between them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtransfer.errors import InputError
from mtransfer.motion.edit_motion import EditMotion, parse_xy

Point = NDArray[np.float64]
MOST_POSES = 64
NO_MOTION = 1e-6  # share of an edit


@dataclass(frozen=True)
class Pose:
    """Pixels to the right and down, degrees counter-clockwise on screen, and a factor; rest by default."""

    dx: float = 0.0
    dy: float = 0.0
    rotate: float = 0.0
    scale: float = 1.0


def parse_pose(text: str) -> Pose:
    """A pose written dx,dy or dx,dy,deg or dx,dy,deg,scale. Raises InputError."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not 2 <= len(numbers) <= 4 or not np.isfinite(numbers).all() or (len(numbers) == 4 and numbers[3] <= 0):
        raise InputError(f"--via {text}: write a pose as dx,dy or dx,dy,deg or dx,dy,deg,scale, such as 40,-20,15")
    return Pose(*numbers)


def end_pose(asked: EditMotion) -> Pose:
    """The pose to which an edit's elementary motions come."""
    dx, dy = parse_xy(asked.translate, "--translate") if asked.translate else (0.0, 0.0)
    return Pose(dx, dy, asked.rotate, asked.scale)


def pose_at(share: float, poses: Sequence[Pose]) -> Pose:
    """Where a subject is that goes through two or more poses, at even times: `share` 0 is the first, 1 the last.

    A Catmull-Rom spline (1974); scales go by their logarithms.
    """
    points = np.array([(each.dx, each.dy, each.rotate, np.log(each.scale)) for each in poses])
    slopes = np.gradient(points, axis=0)
    passed = share * (len(poses) - 1)
    index = min(int(passed), len(poses) - 2)
    dx, dy, rotate, scale = _hermite(passed - index, *points[index : index + 2], *slopes[index : index + 2])
    return Pose(float(dx), float(dy), float(rotate), float(np.exp(scale)))


def _hermite(
    t: float,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    leaves: NDArray[np.float64],
    comes: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The cubic between two points that leaves the one and comes to the other at these slopes."""
    smooth, rise = t * t * (3 - 2 * t), t * (1 - t)
    return start + smooth * (end - start) + rise * ((1 - t) * leaves - t * comes)


def motion_at(share: float, asked: EditMotion, poses: Sequence[Pose]) -> EditMotion:
    """An edit on its way through poses: these say where it is, and stretch and pins have happened by their share."""
    if share < NO_MOTION or len(poses) == 2:
        return replace(asked, strength=share * asked.strength)
    pose = pose_at(share, poses)
    # Strength multiplies all of a motion, of which a pose is the whole already.
    return replace(
        asked,
        translate=f"{pose.dx / share!r},{pose.dy / share!r}",
        rotate=pose.rotate / share,
        scale=1 + (pose.scale - 1) / share,
        strength=share * asked.strength,
    )
