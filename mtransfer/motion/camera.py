"""The camera's motion between two frames: a similarity or a homography fitted to the flow of what stands still.

The subject may cover most of the frame, so the largest coherent motion need not be the camera's: among the few
largest, it is the one that fills the picture's border.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from mtransfer.flow.field import FlowField
from mtransfer.flow.warp import pixel_grid, sample

RANSAC_PX = 1.0
CLEARLY_BETTER = 0.95  # difference left by a moving camera over that left by a still one
MOST_UNLIKE = 0.1  # of [0,1], by which what was covered or uncovered counts
SAMPLES_A_SIDE = 48
FEWEST = 16  # points to fit to
MOTIONS = 3  # looked at for the one along the border
BORDER_SHARE, INNER_WEIGHT = 0.12, 0.2  # of the shorter side; what a point inside counts against one of the border
HOMOGRAPHY_GAIN = 1.05  # points explained against the similarity's, below which a homography only fits noise
MOST_PERSPECTIVE = 0.3  # change of scale across the picture that a camera may cause

Points = NDArray[np.float64]
Homography = Float64[Tensor, "3 3"]


def fit_cameras(field: FlowField, outside: Float[Tensor, "1 H W"]) -> Float64[Tensor, "T 3 3"]:
    """The camera's motion to each of the field's frames, from confident flow in `outside`, a mask of what may be still.

    Homographies of the reference frame's pixels; identity where too little confident flow is left to fit.
    """
    pairs = zip(field.flow, field.confidence, strict=True)
    return torch.stack([_fit(flow, (confidence * outside)[0] > 0.5) for flow, confidence in pairs])


def steadied(
    cameras: Float64[Tensor, "T 3 3"],
    picture: Float[Tensor, "3 H W"],
    others: UInt8[Tensor, "T 3 H W"],
    outside: Float[Tensor, "1 H W"],
) -> Float64[Tensor, "T 3 3"]:
    """The cameras' motions, none where a camera standing still explains the pictures as well.

    Flow on plain ground is arbitrary, and a camera fitted to little else too.
    """
    still = torch.eye(3, dtype=torch.float64)
    chosen = []
    for camera, other in zip(cameras, others, strict=True):
        errors = [_unlike(picture, other.to(picture) / 255, each, outside) for each in (camera, still)]
        chosen.append(camera if errors[0] < CLEARLY_BETTER * errors[1] else still)
    return torch.stack(chosen)


def _unlike(first: Tensor, second: Tensor, camera: Homography, outside: Tensor) -> float:
    back = sample(second[None], apply(camera, pixel_grid(first[None])))
    gap = (back[0] - first).abs().mean(dim=0, keepdim=True).clamp_max(MOST_UNLIKE) * outside
    return float(gap.sum() / outside.sum().clamp_min(1))


def camera_flow(homography: Homography, like: Float[Tensor, "B C H W"]) -> Float[Tensor, "1 2 H W"]:
    """The flow in pixels that the camera's motion alone causes, in the size of `like`."""
    grid = pixel_grid(like)
    return apply(homography, grid) - grid


def without_camera(flow: Float[Tensor, "T 2 H W"], cameras: Float64[Tensor, "T 3 3"]) -> Float[Tensor, "T 2 H W"]:
    """The flow that a camera standing still would see: C^-1(p + flow(p)) - p.

    Subtracting the camera's flow would leave the motion turned and scaled as the camera turned and zoomed.
    """
    grid = pixel_grid(flow)
    pairs = zip(flow, torch.linalg.inv(cameras), strict=True)
    return torch.cat([apply(inverse, grid + each) - grid for each, inverse in pairs])


def apply(homography: Homography, points: Float[Tensor, "1 2 H W"]) -> Float[Tensor, "1 2 H W"]:
    """Where a homography takes points (x, y)."""
    matrix = homography.to(points)
    moved = torch.einsum("ij,bjhw->bihw", matrix[:, :2], points) + matrix[:, 2].view(1, 3, 1, 1)
    return moved[:, :2] / moved[:, 2:]


def resized(homography: Homography, scale: float, offset_xy: tuple[float, float]) -> Homography:
    """The same motion seen in a picture whose pixels are q = scale * p + offset."""
    to = torch.tensor([[scale, 0, offset_xy[0]], [0, scale, offset_xy[1]], [0, 0, 1]], dtype=torch.float64)
    return to @ homography @ torch.linalg.inv(to)


def pan(
    homography: Homography, photo: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 H W"], flow: FlowField
) -> tuple[Float[Tensor, "3 H W"], Float[Tensor, "1 H W"], FlowField]:
    """A photo, its subject's mask and the subject's flow (T = 1) as they are once the camera has moved.

    What the camera newly sees is the photo mirrored at its edge.
    """
    after = pixel_grid(photo[None])
    before = apply(torch.linalg.inv(homography), after)
    image = sample(photo[None], before, padding_mode="reflection")[0]
    seen = sample(mask[None], before, padding_mode="zeros")[0]
    inside = (seen[None] > 0).to(photo)
    ended = apply(homography, before + sample(flow.flow, before, padding_mode="zeros"))
    confidence = sample(flow.confidence, before, padding_mode="zeros").clamp(0, 1)
    return image, seen, FlowField((ended - after) * inside, confidence * inside)


def _fit(flow: Tensor, trusted: Tensor) -> Homography:
    step = max(1, min(flow.shape[-2:]) // SAMPLES_A_SIDE)
    rows, columns = trusted[::step, ::step].nonzero(as_tuple=True)
    start = torch.stack([columns, rows], dim=1).double().cpu().numpy() * step
    moved = start + flow[:, ::step, ::step][:, rows, columns].T.double().cpu().numpy()
    similarity = _along_the_border(start, moved, (flow.shape[-2], flow.shape[-1]))
    if similarity is None:
        return torch.eye(3, dtype=torch.float64)
    return torch.from_numpy(_homography(start, moved, similarity, max(flow.shape[-2:])))


def _along_the_border(start: Points, moved: Points, size: tuple[int, int]) -> Points | None:
    """Of the largest similar motions the one that explains most of the picture's border, 3 x 3."""
    weight = _border_weight(start, size)
    left = np.ones(len(start), bool)
    best: Points | None = None
    most = 0.0
    for _ in range(MOTIONS):
        if left.sum() < FEWEST:
            break
        cv2.setRNGSeed(0)
        matrix, _ = cv2.estimateAffinePartial2D(
            start[left], moved[left], method=cv2.RANSAC, ransacReprojThreshold=RANSAC_PX
        )
        if matrix is None:
            break
        whole = np.vstack([matrix, [0, 0, 1]])
        explained = _gap_px(whole, start, moved) < RANSAC_PX
        if (score := float(weight[explained].sum())) > most:
            best, most = whole, score
        left &= ~explained
    return best


def _homography(start: Points, moved: Points, similarity: Points, side_px: int) -> Points:
    """A homography near the similarity where it explains clearly more, else the similarity."""
    near = _gap_px(similarity, start, moved) < 4 * RANSAC_PX
    if near.sum() < FEWEST:
        return similarity
    cv2.setRNGSeed(0)
    found, _ = cv2.findHomography(start[near], moved[near], cv2.RANSAC, RANSAC_PX)
    if found is None or np.abs(found[2, :2]).sum() * side_px > MOST_PERSPECTIVE:
        return similarity
    explained = [int((_gap_px(each, start, moved) < RANSAC_PX).sum()) for each in (similarity, found)]
    return np.asarray(found if explained[1] > HOMOGRAPHY_GAIN * explained[0] else similarity, np.float64)


def _border_weight(points: Points, size: tuple[int, int]) -> Points:
    away = np.minimum(points, np.array([size[1] - 1, size[0] - 1]) - points).min(axis=1)
    return np.where(away < BORDER_SHARE * min(size), 1.0, INNER_WEIGHT)


def _gap_px(matrix: Points, start: Points, moved: Points) -> Points:
    ended = start @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(np.linalg.norm(ended[:, :2] / ended[:, 2:] - moved, axis=1))
