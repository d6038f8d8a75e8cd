"""Masks that are given as picture files."""

from pathlib import Path

from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.media.image import read_photo


def read_mask(path: Path, image: Tensor) -> Tensor:
    """A mask picture of the image's size: its alpha where it has one, else its brightness."""
    if not path.exists():
        raise InputError(f"{path} does not exist; name a mask picture of the photo's size")
    photo = read_photo(path)
    mask = photo.alpha if photo.alpha is not None else photo.image.mean(dim=0, keepdim=True)
    if mask.shape[-2:] != image.shape[-2:]:
        found, wanted = ("{1} x {0}".format(*side.shape[-2:]) for side in (mask, image))
        raise InputError(f"{path}: mask of {found} pixels for a picture of {wanted}; make them the same size")
    return mask.to(image)
