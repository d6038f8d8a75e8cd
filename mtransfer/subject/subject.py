"""A subject: a picture and the mask of what moves in it."""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.media.photo.photo import Photo

MASK_COLOUR, MASK_OPACITY = (1.0, 0.0, 1.0), 0.45
HASHED_SIDE_PX = 64


@dataclass(frozen=True)
class Subject:
    """A picture float32[3,H,W] in [0,1] with the mask float32[1,H,W] in [0,1] of what moves and its box in pixels."""

    image: Tensor
    mask: Tensor
    box_xyxy: tuple[float, float, float, float]


def subject_from_mask(image: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 H W"]) -> Subject:
    """A Subject with the box of the mask. Raises InputError when the mask is empty."""
    inside = mask[0] > 0.5
    rows, columns = (inside.any(dim=axis).nonzero()[:, 0] for axis in (1, 0))
    if len(rows) == 0:
        raise InputError("the subject's mask is empty; point at the subject with --subject x,y")
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return Subject(image, mask, tuple(float(v) for v in box))  # type: ignore[arg-type]


def together(photo: Photo, subjects: tuple[Subject, ...]) -> Subject:
    """All subjects of a photo as one."""
    mask = torch.stack([subject.mask for subject in subjects]).amax(dim=0)
    return subjects[0] if len(subjects) == 1 else subject_from_mask(photo.image, mask)


def mask_hash(mask: Float[Tensor, "1 H W"]) -> str:
    """SHA-256 of a mask's shape, seen at a long side of 64 pixels: what rounding may change does not show there."""
    solid = (mask[0] > 0.5).float().cpu().numpy()
    scale = min(1.0, HASHED_SIDE_PX / max(solid.shape))
    width, height = (max(1, round(side * scale)) for side in solid.shape[::-1])
    small = cv2.resize(solid, (width, height), interpolation=cv2.INTER_AREA) > 0.5
    return hashlib.sha256(f"{width}x{height} ".encode() + np.packbits(small).tobytes()).hexdigest()


def with_mask(image: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 H W"]) -> Float[Tensor, "3 H W"]:
    """An image with its subject tinted."""
    tinted = torch.lerp(image, image.new_tensor(MASK_COLOUR).view(3, 1, 1), MASK_OPACITY)
    return torch.where(mask > 0.5, tinted, image)
