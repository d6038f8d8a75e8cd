"""Subjects that are ellipses, on a clip and on a photo."""

import torch
from torch import Tensor

from mtransfer.flow.field import FlowField
from mtransfer.flow.warp import pixel_grid
from mtransfer.subject.subject import Subject, subject_from_mask

CLIP, PHOTO = (96, 128), (120, 112)
CLIP_CENTRE, PHOTO_CENTRE = (50.0, 44.0), (60.0, 70.0)


def ellipse(size: tuple[int, int], centre: tuple[float, float], radius_x: float, radius_y: float) -> Tensor:
    x, y = pixel_grid(torch.zeros(1, 1, *size))[0]
    return (((x - centre[0]) / radius_x) ** 2 + ((y - centre[1]) / radius_y) ** 2 <= 1).float()[None]


def subject(mask: Tensor) -> Subject:
    return subject_from_mask(torch.zeros(3, *mask.shape[-2:]), mask)


def inner_gap(field: FlowField, truth: FlowField, photo: Subject) -> float:
    return float((field.flow - truth.flow).norm(dim=1)[photo.mask > 0].max())


def half_disc(size: tuple[int, int], centre: tuple[float, float], radius: float, facing: int) -> Tensor:
    """A silhouette with a nose to the right (1) or to the left (-1)."""
    body = ellipse(size, centre, radius, 0.6 * radius)
    return torch.maximum(body, ellipse(size, (centre[0] + facing * radius, centre[1] - 0.4 * radius), 9, 5))
