"""From the motion in a clip to a motion of the photo's subject: camera off, fit, transport, fill."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.field import FlowField
from mtransfer.fill import fill_motion
from mtransfer.subject import Subject, refine, subject_from_mask
from mtransfer.warp import pixel_grid, sample

RANSAC_PX = 1.0
CAMERA_ROUNDS = 3
STILL_SHARE = 0.3  # of the fastest motion: what is slower is not the subject
STILL_PX = 0.75
SMALLEST_SUBJECT_SHARE = 0.004


@dataclass(frozen=True)
class Fit:
    """The affine map from clip pixels to photo pixels: p_photo = linear @ p_clip + offset, both float64 numpy-like."""

    linear: Tensor  # [2,2]
    offset: Tensor  # [2]

    def to_clip(self, points: Float[Tensor, "1 2 H W"]) -> Float[Tensor, "1 2 H W"]:
        """Clip pixels of photo pixels (x, y)."""
        inverse = torch.linalg.inv(self.linear)
        return torch.einsum("ij,bjhw->bihw", inverse, points - self.offset.view(1, 2, 1, 1))


def camera_flow(field: FlowField, outside: Float[Tensor, "1 H W"]) -> Float[Tensor, "1 2 H W"]:
    """The flow in pixels that the camera alone causes: a similarity fitted by RANSAC to confident flow in `outside`.

    Zero where too little confident flow is left to fit.
    """
    flow, trusted = field.flow[:1], field.confidence[0, 0] * outside[0] > 0.5
    step = max(1, min(flow.shape[-2:]) // 64)
    grid = pixel_grid(flow)
    rows, columns = trusted[::step, ::step].nonzero(as_tuple=True)
    if len(rows) < 16:
        return torch.zeros_like(flow)
    start = grid[0, :, ::step, ::step][:, rows, columns].T.cpu().numpy()
    moved = start + flow[0, :, ::step, ::step][:, rows, columns].T.cpu().numpy()
    cv2.setRNGSeed(0)
    matrix, _ = cv2.estimateAffinePartial2D(start, moved, method=cv2.RANSAC, ransacReprojThreshold=RANSAC_PX)
    if matrix is None:
        return torch.zeros_like(flow)
    similarity = torch.from_numpy(matrix).to(flow)
    moved_grid = torch.einsum("ij,bjhw->bihw", similarity[:, :2], grid) + similarity[:, 2].view(1, 2, 1, 1)
    return moved_grid - grid


def without_camera(flow: Float[Tensor, "1 2 H W"], camera: Float[Tensor, "1 2 H W"]) -> Float[Tensor, "1 2 H W"]:
    """The flow that a camera standing still would see: C^-1(p + flow(p)) - p, C the affine motion of the camera.

    Subtracting the camera's flow would leave the motion turned and scaled as the camera turned and zoomed.
    """
    origin = camera[0, :, 0, 0]
    across, down = (camera[0, :, 0, -1] - origin) / (camera.shape[-1] - 1), (camera[0, :, -1, 0] - origin)
    linear = torch.eye(2).to(camera) + torch.stack([across, down / (camera.shape[-2] - 1)], dim=1)
    grid = pixel_grid(flow)
    ended = grid + flow - origin.view(1, 2, 1, 1)
    return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(linear), ended) - grid


def moving_subject(image: Float[Tensor, "3 H W"], field: FlowField) -> tuple[Subject, Float[Tensor, "1 2 H W"]]:
    """What moves against the camera, and the camera's flow [1,2,H,W]: found in turn, each from the other.

    Raises InputError when nothing moves.
    """
    outside = torch.ones_like(field.confidence[0])
    for _ in range(CAMERA_ROUNDS):
        camera = camera_flow(field, outside)
        mask = _moving(field, camera)
        outside = 1 - mask
    if mask.mean() < SMALLEST_SUBJECT_SHARE:
        raise InputError("nothing moves against the camera in these frames; choose others with --pair A:B")
    return subject_from_mask(image, refine(image, mask)), camera


def _moving(field: FlowField, camera: Tensor) -> Tensor:
    """The connected part [1,H,W] with the most confident motion against the camera, its gaps closed."""
    speed = (field.flow[:1] - camera).norm(dim=1)[0].cpu().numpy()
    confident = speed * field.confidence[0, 0].cpu().numpy()
    moving = (speed > max(STILL_PX, STILL_SHARE * float(np.quantile(confident, 0.99)))).astype(np.uint8)
    reach = max(3, round(0.02 * max(speed.shape))) | 1
    closed = cv2.morphologyEx(moving, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    _, labels = cv2.connectedComponents(opened)
    motion = np.bincount(labels.ravel(), confident.ravel())
    motion[0] = 0
    best = labels == int(motion.argmax()) if motion.any() else np.zeros_like(labels, bool)
    return torch.from_numpy(best.astype(np.float32))[None].to(field.flow)


def subject_motion_px(subject: Subject, field: FlowField, camera: Float[Tensor, "1 2 H W"]) -> float:
    """The subject's mean confident motion against the camera in pixels, times the share of it that is confident."""
    inside = subject.mask[None] * field.confidence[:1]
    speed = (field.flow[:1] - camera).norm(dim=1, keepdim=True)
    return float((speed * inside).sum() / subject.mask.sum() * inside.sum() / subject.mask.sum())


def fit_similarity(clip: Subject, photo: Subject) -> Fit:
    """Centroid onto centroid, scaled by the root of the ratio of the areas; no rotation."""
    scale = (photo.mask.sum() / clip.mask.sum()).sqrt()
    linear = scale * torch.eye(2).to(scale)
    return Fit(linear, _centroid(photo.mask) - linear @ _centroid(clip.mask))


def fit_frames(clip_size: tuple[int, int], photo_size: tuple[int, int]) -> Fit:
    """The clip's frame stretched onto the photo's: the alignment `none`, the paper's own transfer."""
    scale = torch.tensor([photo_size[1] / clip_size[1], photo_size[0] / clip_size[0]])
    return Fit(torch.diag(scale), (scale - 1) / 2)


def retarget(
    field: FlowField, fit: Fit, clip_mask: Float[Tensor, "1 H W"], photo_mask: Float[Tensor, "1 h w"], strength: float
) -> FlowField:
    """The clip's motion (T = 1) on the photo's subject: F(p) = L F_clip(A^-1 p) times `strength`, 0 outside the mask.

    Where the transported field has no confident value inside the subject it is carried on (fill_motion). Vectors keep
    their full length up to the silhouette, whose edge would smear otherwise. Raises InputError when nothing confident
    falls onto the subject.
    """
    points = fit.to_clip(pixel_grid(photo_mask[None]).to(fit.linear))
    known = field.confidence[:1] * clip_mask[None]
    weight = sample(known, points, padding_mode="zeros").clamp(0, 1)
    flow = sample(field.flow[:1] * known, points, padding_mode="zeros") / weight.clamp_min(1e-6)
    flow = torch.einsum("ij,bjhw->bihw", fit.linear.to(flow), flow) * strength
    subject = (photo_mask[None] > 0).to(flow)
    trusted = (weight > 0.5).to(flow) * weight
    if not bool((trusted * subject).any()):
        raise InputError("no confident motion falls onto the photo's subject; choose another --pair or --clip-subject")
    filled = fill_motion(flow, trusted)
    confidence = F.avg_pool2d(trusted, 3, stride=1, padding=1)
    return FlowField(filled * subject, confidence * subject)


def _centroid(mask: Float[Tensor, "1 H W"]) -> Float[Tensor, "2"]:
    grid = pixel_grid(mask[None])[0]
    return (grid * mask).sum(dim=(1, 2)) / mask.sum()
