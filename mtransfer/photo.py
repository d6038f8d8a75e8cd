"""Photos: any still picture as an upright float tensor, with its alpha and its colour profile."""

import io
import os
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from torch import Tensor

from mtransfer.errors import InputError

MAX_MEGAPIXELS = 150  # below Pillow's own limit of 179, so that ours is the one users meet
WIDE_MODES = ("I", "F")  # 32-bit levels, whose black and white the file does not tell
ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")

# EXIF orientation -> whether the pixels are first mirrored left to right, then quarter turns counter-clockwise.
UPRIGHT = {
    1: (False, 0),
    2: (True, 0),
    3: (False, 2),
    4: (True, 2),
    5: (True, 1),
    6: (False, 3),
    7: (True, 3),
    8: (False, 1),
}


@dataclass(frozen=True, eq=False)
class Photo:
    """A still picture, upright, at its own size.

    image: float32[3,H,W] in [0,1], RGB as stored, also where alpha is 0. alpha: float32[1,H,W] in [0,1], None where
    every pixel is opaque. icc_profile: the RGB colour profile to save with results, if the file has one.
    """

    image: Float32[Tensor, "3 H W"]
    alpha: Float32[Tensor, "1 H W"] | None
    icc_profile: bytes | None
    path: Path

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.image.shape[1], self.image.shape[2]


def read_photo(path: str | os.PathLike[str]) -> Photo:
    """Read a picture of 8 or 16 bits, grey, palette, RGB or CMYK, with or without alpha; turn it upright by its EXIF.

    Of an animation or a file of many pages the first is read. Raises InputError when the file is missing, no picture,
    cut short, above 150 megapixels, or of levels without a fixed range.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"photo {path} does not exist; check the name")
    if path.is_dir():
        raise InputError(f"photo {path} is a folder; name one picture in it")
    try:
        # Pillow warns of large pictures and damaged metadata: the first has our own limit, the second does no harm.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            return _to_photo(picture, path)
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is no picture that can be read; give a JPEG, PNG, WebP or TIFF") from error
    except Image.DecompressionBombError as error:
        raise InputError(_too_large(path)) from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise InputError(f"photo {path} is broken or cut short; save or copy it again") from error


def _to_photo(picture: Image.Image, path: Path) -> Photo:
    if picture.width * picture.height > MAX_MEGAPIXELS * 10**6:
        raise InputError(_too_large(path))
    deep = _is_deep(picture)
    if deep and picture.format == "TIFF" and _orientation(picture) != 1:
        raise InputError(f"{path} is a turned 16-bit TIFF, which cannot be read reliably; save it upright or as PNG")
    picture.load()
    profile = picture.info.get("icc_profile")
    pixels = _deep_pixels(path) if deep else _pixels(picture, path)
    mirrored, turns = UPRIGHT.get(_orientation(picture), UPRIGHT[1])
    levels = torch.from_numpy(np.rot90(pixels[:, ::-1] if mirrored else pixels, turns).astype(np.float32))
    channels = levels.permute(2, 0, 1).contiguous() / np.iinfo(pixels.dtype).max
    alpha = channels[3:] if len(channels) == 4 and channels[3].min() < 1 else None
    # A grey or CMYK profile does not describe the RGB made of such pixels.
    kept_profile = profile if profile and profile[16:20] == b"RGB " else None
    return Photo(channels[:3], alpha, kept_profile, path)


def _too_large(path: Path) -> str:
    return f"photo {path} is above the limit of {MAX_MEGAPIXELS} megapixels; shrink it first"


def _orientation(picture: Image.Image) -> int:
    return picture.getexif().get(ExifTags.Base.Orientation, 1)


def _is_deep(picture: Image.Image) -> bool:
    """Whether the file holds 16 bits a channel; of colour ones Pillow reads only 8, and says so nowhere else."""
    return picture.mode.startswith("I;16") or any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ()))


def _deep_pixels(path: Path) -> NDArray[np.uint16]:
    """uint16[H,W,3 or 4], RGB order, not yet upright."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise InputError(f"cannot read the 16-bit picture {path}; save it as PNG")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]].astype(np.uint16, copy=False)


def _pixels(picture: Image.Image, path: Path) -> NDArray[np.uint8]:
    """uint8[H,W,3 or 4], RGB order, not yet upright."""
    if picture.mode in WIDE_MODES:
        raise InputError(f"{path} has 32-bit levels without a fixed white; save it with 8 or 16 bits a channel")
    if picture.mode in ALPHA_MODES or "transparency" in picture.info:
        return np.asarray(picture.convert("RGBA"))
    return np.asarray(_from_cmyk(picture, path) if picture.mode == "CMYK" else picture.convert("RGB"))


def _from_cmyk(picture: Image.Image, path: Path) -> Image.Image:
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture.convert("RGB")
    try:
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, io.BytesIO(profile), srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise InputError(f"the CMYK colour profile of {path} is broken; save the photo as RGB") from error
    assert converted is not None
    return converted
