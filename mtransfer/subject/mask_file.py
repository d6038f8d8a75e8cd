"""Masks that are given as picture files."""

from pathlib import Path

import torch
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.media.photo.mask_image import grey_picture, subject_mask


def read_mask(path: Path, image: Tensor, *, grey: bool = False) -> Tensor:
    """The subject [1,H,W] that a mask picture of the image's size shows, however drawn; with `grey` its brightness.

    Raises InputError for a file that is not there or of another size than `image` [3,H,W].
    """
    mask = torch.from_numpy(grey_picture(path) if grey else subject_mask(path))[None]
    if mask.shape[-2:] != image.shape[-2:]:
        found, wanted = ("{1} x {0}".format(*side.shape[-2:]) for side in (mask, image))
        raise InputError(f"{path}: mask of {found} pixels for a picture of {wanted}; make them the same size")
    return mask.to(image)
