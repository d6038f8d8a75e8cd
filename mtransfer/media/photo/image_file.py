"""One picture file as it is: its own pixels, in its own depth, upright, by whichever reader reads them right."""

import hashlib
import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from mtransfer.errors import InputError
from mtransfer.files import require_file
from mtransfer.log import warn
from mtransfer.media.photo import tiff
from mtransfer.media.photo.formats import HEAD_BYTES, openable
from mtransfer.media.photo.png import Pixels

MAX_MEGAPIXELS = 150  # below Pillow's own limit of 179, so that ours is the one users meet
MAX_BYTES = 2 * 2**30
WIDE_MODES = ("I", "F")  # 32-bit levels, whose black and white the file does not tell
OWN_MODES = ("L", "LA", "RGB", "RGBA")
SEEN_AS = {"1": "L", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}  # any other is RGB
PROFILES_OF_GREY, PROFILES_OF_RGB = (b"GRAY", b"RGB "), (b"RGB ",)  # by their colour space
EIGHT_BITS_READ = ("HEIF", "AVIF")
PNG_DEPTH = 24  # where a file's bits a channel stand
JP2_SIZE, JP2_DEPTH = b"\xff\x4f\xff\x51", 42
AV1C_FLAGS, AV1C_DEEP = 6, 0x40

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
class ImageFile:
    """A picture as its file has it, upright.

    pixels: uint8 or uint16 [H,W,C]; C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha, which is straight. indices:
    uint8[H,W], where the file has a palette. icc_profile: of these pixels. sha256: of the file, in hexadecimal.
    """

    pixels: Pixels
    indices: NDArray[np.uint8] | None
    icc_profile: bytes | None
    sha256: str


def read_image_file(path: Path) -> ImageFile:
    """Read a picture of 8 or 16 bits a channel: grey, palette, RGB, YCbCr, Lab or CMYK, with or without alpha.

    Palettes, YCbCr, Lab and CMYK become RGB; of an animation or a file of many pages the first picture is read.
    Raises InputError when the file is missing, no picture, cut short, above 150 megapixels, or of levels without a
    fixed range.
    """
    content = _content(path)
    try:
        # Pillow warns of large pictures and damaged metadata: the first has our own limit, the second does no harm.
        with warnings.catch_warnings(action="ignore"):
            layout = tiff.layout_of(content, path) if tiff.is_tiff(content) else None
            own = None if layout is None else tiff.own_pixels(content, layout, path)
            if layout is not None and own is not None:
                return _upright(content, own, layout.orientation, layout.icc_profile)
            formats = openable(content[:HEAD_BYTES], path)
            with Image.open(io.BytesIO(content), formats=formats) as picture:
                return _by_pillow(picture, content, path)
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is no picture that can be read; give a JPEG, PNG, WebP or TIFF") from error
    except Image.DecompressionBombError as error:
        raise InputError(_too_large(path)) from error
    except (OSError, SyntaxError, ValueError, KeyError, EOFError, struct.error, zlib.error, cv2.error) as error:
        raise InputError(f"photo {path} is broken or cut short; save or copy it again") from error


def _content(path: Path) -> bytes:
    require_file(path, "photo", "picture")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"photo {path} has more than {MAX_BYTES // 2**30} GB; name a picture")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"photo {path} cannot be read ({error.strerror}); check its permissions") from error


def _by_pillow(picture: Any, content: bytes, path: Path) -> ImageFile:
    if picture.width * picture.height > MAX_MEGAPIXELS * 10**6:
        raise InputError(_too_large(path))
    bits = _bits(picture, content)
    stored_as = picture.tile[0].args if getattr(picture, "tile", None) else ""
    picture.load()
    if picture.mode in WIDE_MODES and picture.format != "PPM":
        raise InputError(f"{path} has 32-bit levels without a fixed white; save it with 8 or 16 bits a channel")
    if picture.format in EIGHT_BITS_READ and bits > 8:
        warn(f"{path}: its {bits} bits a channel are read as 8; a 16-bit TIFF or PNG of it would keep them")
    elif bits not in (8, 16):
        raise InputError(f"{path} has {bits} bits a channel; save it with 8 or 16")
    deep = bits == 16 and picture.format not in EIGHT_BITS_READ
    pixels = _deep(picture, str(stored_as), content, path) if deep else _shallow(picture, content, path)
    indices = np.asarray(picture) if picture.mode == "P" else None
    return _upright(content, pixels, _orientation(picture), picture.info.get("icc_profile"), indices)


def _too_large(path: Path) -> str:
    return f"photo {path} is above the limit of {MAX_MEGAPIXELS} megapixels; shrink it first"


def _upright(
    content: bytes, pixels: Pixels, orientation: int, icc_profile: Any, indices: NDArray[np.uint8] | None = None
) -> ImageFile:
    mirrored, turns = UPRIGHT.get(orientation, UPRIGHT[1])

    def turned(levels: Any) -> Any:
        return np.ascontiguousarray(np.rot90(levels[:, ::-1] if mirrored else levels, turns))

    # A CMYK or Lab profile does not describe the RGB made of such pixels.
    spaces = PROFILES_OF_GREY if pixels.shape[2] <= 2 else PROFILES_OF_RGB
    profile = icc_profile if icc_profile and icc_profile[16:20] in spaces else None
    digest = hashlib.sha256(content).hexdigest()
    return ImageFile(turned(pixels), None if indices is None else turned(indices), profile, digest)


def _orientation(picture: Image.Image) -> int:
    return picture.getexif().get(ExifTags.Base.Orientation, 1)


def _bits(picture: Any, content: bytes) -> int:
    """Bits a channel, 8 for fewer: of colour pictures Pillow reads only 8, and seldom says so."""
    if picture.format == "PNG":
        return max(8, content[PNG_DEPTH])
    if picture.format == "PPM":
        stored_as = picture.tile[0].args
        most = 255 if isinstance(stored_as, str) else stored_as[1]
        return 16 if stored_as == "I;16B" else max(8, int(most).bit_length())
    if picture.format == "JPEG2000":
        return max(8, (content[content.find(JP2_SIZE) + JP2_DEPTH] & 0x7F) + 1)
    if picture.format == "AVIF":
        return 10 if content[content.find(b"av1C") + AV1C_FLAGS] & AV1C_DEEP else 8
    return 16 if picture.mode.startswith("I;16") else int(picture.info.get("bit_depth", 8))


def _deep(picture: Any, stored_as: str, content: bytes, path: Path) -> NDArray[np.uint16]:
    """uint16[H,W,C], not yet upright."""
    if picture.mode.startswith("I;16"):
        pixels = np.asarray(picture).astype(np.uint16)[..., None]
        return _with_key(pixels, picture.info.get("transparency"))
    found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16:
        raise InputError(f"cannot read the 16-bit picture {path}; save it as PNG")
    pixels = found.reshape(*found.shape[:2], -1)
    order = [0] if pixels.shape[2] == 1 else [0, 3] if "LA;" in stored_as else [2, 1, 0, 3][: pixels.shape[2]]
    key = picture.info.get("transparency") if picture.format == "PNG" else None
    return pixels[..., order] if key is None else _with_key(pixels[..., [2, 1, 0]], key)


def _with_key(pixels: Any, key: int | tuple[int, ...] | None) -> Any:
    """Opaque pixels [H,W,C] with alpha, 0 where they have the transparent colour `key`; without one as they are."""
    if key is None:
        return pixels
    seen = (pixels != np.array(key)).any(axis=-1, keepdims=True)
    return np.concatenate([pixels, (seen * np.iinfo(pixels.dtype).max).astype(pixels.dtype)], axis=-1)


def _shallow(picture: Image.Image, content: bytes, path: Path) -> NDArray[np.uint8]:
    """uint8[H,W,C], not yet upright."""
    key = picture.info.get("transparency")
    if picture.mode == "L" and isinstance(key, int) and picture.format == "PNG":
        # Pillow compares the key, of the file's own few levels, with levels of 255.
        return np.asarray(_with_key(np.asarray(picture)[..., None], 255 * key // (2 ** content[PNG_DEPTH] - 1)))
    mode = picture.mode if picture.mode in OWN_MODES else SEEN_AS.get(picture.mode, "RGB")
    if key is not None and not mode.endswith("A"):
        mode += "A"
    if picture.mode in ("CMYK", "LAB"):
        picture = _to_srgb(picture, path)
    pixels = np.asarray(picture if picture.mode == mode else picture.convert(mode))
    return pixels.reshape(*pixels.shape[:2], -1)


def _to_srgb(picture: Image.Image, path: Path) -> Image.Image:
    """CMYK by its profile, without one as plain ink; Lab as it is."""
    profile = picture.info.get("icc_profile", b"")
    if picture.mode == "CMYK" and not profile:
        return picture.convert("RGB")
    given = ImageCms.createProfile("LAB") if picture.mode == "LAB" else io.BytesIO(profile)
    try:
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, given, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise InputError(f"the colour profile of {path} is broken; save the photo as RGB") from error
    assert converted is not None
    return converted
