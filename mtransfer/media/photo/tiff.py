"""TIFFs of the kinds that Pillow reads wrong, in fewer bits or not at all, by the reader that reads each right.

Tested with Pillow 12.3, OpenCV 5.0 and FFmpeg 8: Pillow takes the planes of uncompressed planar 16-bit files for
pixels, OpenCV those of any planar 16-bit file, and FFmpeg misplaces tiles.
"""

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from mtransfer.errors import InputError
from mtransfer.media.photo.alpha import straight_from_premultiplied

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR = 0, 1, 2, 6
CAMERA_RAW = (32803, 34892)  # colour filter array, linear raw
ASSOCIATED, UNASSOCIATED = 1, 2
UNCOMPRESSED, JPEG = 1, (6, 7)
UPRIGHT = 1
BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, ORIENTATION, SAMPLES, STRIP_BYTES = 258, 259, 262, 273, 274, 277, 279
PLANAR, TILE_OFFSETS, EXTRA_SAMPLES, SAMPLE_FORMAT, ICC_PROFILE, DNG_VERSION = 284, 324, 338, 339, 34675, 50706
TILE_BYTES = 325
ORDER_OF_PLANES = (2, 0, 1, 3)  # FFmpeg's are green, blue, red, alpha


@dataclass(frozen=True)
class Layout:
    """How a TIFF's first picture lies in the file."""

    bits: tuple[int, ...]
    photometric: int
    samples: int
    planar: bool
    tiled: bool
    compression: int
    extra: tuple[int, ...]  # what the samples beyond the colours are
    orientation: int
    whole_numbers: bool
    cut_short: bool
    icc_profile: bytes | None

    @property
    def deep(self) -> bool:
        """Whether it has 16 bits a channel."""
        return set(self.bits) == {16}


def is_tiff(content: bytes) -> bool:
    """Whether a file is a TIFF, of the big kind too."""
    return content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def layout_of(content: bytes, path: Path) -> Layout:
    """The layout of a TIFF. Raises InputError for camera raw."""
    tags = _tags(content)
    photometric = int(tags.get(PHOTOMETRIC, BLACK_IS_ZERO))
    if DNG_VERSION in tags or photometric in CAMERA_RAW:
        raise InputError(f"photo {path} is camera raw; develop it and save it as a TIFF or JPEG")
    tiled = TILE_OFFSETS in tags
    offsets, counts = (TILE_OFFSETS, TILE_BYTES) if tiled else (STRIP_OFFSETS, STRIP_BYTES)
    ends = [offset + count for offset, count in zip(_many(tags, offsets), _many(tags, counts), strict=False)]
    return Layout(
        bits=_many(tags, BITS) or (1,),
        photometric=photometric,
        samples=int(tags.get(SAMPLES, 1)),
        planar=tags.get(PLANAR, 1) == 2,
        tiled=tiled,
        compression=int(tags.get(COMPRESSION, 1)),
        extra=_many(tags, EXTRA_SAMPLES),
        orientation=int(tags.get(ORIENTATION, 1)),
        whole_numbers=set(_many(tags, SAMPLE_FORMAT)) <= {1, 4},
        cut_short=max(ends, default=0) > len(content),
        icc_profile=tags.get(ICC_PROFILE),
    )


def own_pixels(content: bytes, layout: Layout, path: Path) -> NDArray[np.uint8] | NDArray[np.uint16] | None:
    """The pixels [H,W,C], straight and not yet upright, of a TIFF that is not for Pillow; None for one that is.

    Raises InputError for a kind that nothing here reads right, ValueError or EOFError for a broken one.
    """
    if not layout.whole_numbers or max(layout.bits) > 16:
        raise InputError(f"{path} has levels without a fixed white; save it with 8 or 16 bits a channel")
    if layout.compression != UNCOMPRESSED:
        _require_whole(layout)
    if max(layout.bits) <= 8:
        return _shallow(content, layout)
    grey = layout.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO)
    if layout.deep and grey and layout.samples == 1:
        return _as_meant(_grey_by_pillow(content, layout), layout)
    kinds = (grey and layout.samples == 2, layout.photometric == RGB and layout.samples in (3, 4))
    by_ffmpeg = layout.planar or grey
    if not layout.deep or not any(kinds) or (by_ffmpeg and layout.tiled):
        raise InputError(f"{path} is a 16-bit TIFF of a kind that is not read; save it as RGB in strips, or as PNG")
    pixels = _by_ffmpeg(content, layout) if by_ffmpeg else _by_opencv(content, layout)
    if pixels.dtype != np.uint16 or pixels.shape[2] != layout.samples:
        raise InputError(f"cannot read the 16-bit picture {path}; save it as PNG")
    return _as_meant(pixels, layout)


def _shallow(content: bytes, layout: Layout) -> NDArray[np.uint8] | None:
    if layout.photometric == YCBCR and layout.compression not in JPEG:
        return _by_opencv(content, layout).astype(np.uint8)
    if layout.photometric == BLACK_IS_ZERO and layout.extra == (ASSOCIATED,) and not layout.tiled:
        return _as_meant(_by_ffmpeg(content, layout), layout).astype(np.uint8)
    return None


def _as_meant(pixels: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Straight alpha, black at 0, and nothing beyond colours and alpha."""
    colours = 1 if layout.samples <= 2 else 3
    if layout.extra[:1] == (ASSOCIATED,):
        pixels = straight_from_premultiplied(pixels)
    elif layout.extra[:1] != (UNASSOCIATED,):
        pixels = pixels[..., :colours]
    if layout.photometric == WHITE_IS_ZERO:
        pixels = np.concatenate([np.iinfo(pixels.dtype).max - pixels[..., :1], pixels[..., 1:]], axis=-1)
    return pixels


def _grey_by_pillow(content: bytes, layout: Layout) -> NDArray[np.uint16]:
    """One sample, as stored: Pillow does not know WhiteIsZero of 16 bits."""
    _require_whole(layout)
    plain = _changed(_changed(content, ORIENTATION, UPRIGHT), PHOTOMETRIC, BLACK_IS_ZERO)
    with Image.open(io.BytesIO(plain), formats=["TIFF"]) as picture:
        return np.asarray(picture).astype(np.uint16)[..., None]


def _by_opencv(content: bytes, layout: Layout) -> NDArray[Any]:
    """Contiguous samples, RGB order."""
    _require_whole(layout)
    # OpenCV turns by the orientation, and fails where that swaps the sides.
    plain = _changed(content, ORIENTATION, UPRIGHT)
    pixels = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3:
        raise ValueError("OpenCV cannot read it")
    return np.asarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]], pixels.dtype)


def _by_ffmpeg(content: bytes, layout: Layout) -> NDArray[Any]:
    """Samples in strips, planar or contiguous grey and alpha."""
    import av

    _require_whole(layout)
    decoder = av.CodecContext.create("tiff", "r")
    frame = [*decoder.decode(av.Packet(content)), *decoder.decode(None)][0]
    name = frame.format.name
    kind = np.dtype(">u2" if name.endswith("be") else "<u2" if name.endswith("le") else "u1")
    across = 2 if name.startswith("ya") else 1
    planes = [_plane(each, frame.height, frame.width * across, kind) for each in frame.planes]
    if across == 2:
        return planes[0].reshape(frame.height, frame.width, 2)
    if not name.startswith("gbr"):
        raise ValueError(f"FFmpeg reads it as {name}")
    return np.stack([planes[place] for place in ORDER_OF_PLANES[: len(planes)]], axis=-1)


def _require_whole(layout: Layout) -> None:
    if layout.cut_short:  # which readers pass over, or print about
        raise EOFError


def _plane(plane: Any, height: int, width: int, kind: np.dtype) -> NDArray[Any]:
    rows = np.frombuffer(bytes(plane), kind).reshape(-1, plane.line_size // kind.itemsize)
    return rows[:height, :width].astype(kind.newbyteorder("="))


def _changed(content: bytes, tag: int, number: int) -> bytes:
    """The file with another 16-bit number under a tag, if it has the tag."""
    order = "<" if content[:2] == b"II" else ">"
    big = content[2:4] in (b"+\0", b"\0+")
    (first,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", content, 8 if big else 4)
    (count,) = struct.unpack_from(f"{order}Q" if big else f"{order}H", content, first)
    head, size = (8, 20) if big else (2, 12)
    for place in range(first + head, first + head + count * size, size):
        if struct.unpack_from(f"{order}H", content, place)[0] == tag:
            value = place + (12 if big else 8)
            return content[:value] + struct.pack(f"{order}H", number) + content[value + 2 :]
    return content


def _tags(content: bytes) -> ImageFileDirectory_v2:
    tags = ImageFileDirectory_v2(content[: 16 if content[2:4] in (b"+\0", b"\0+") else 8])
    file = io.BytesIO(content)
    file.seek(tags.next)
    tags.load(file)
    return tags


def _many(tags: ImageFileDirectory_v2, tag: int) -> tuple[int, ...]:
    found = tags.get(tag, ())
    return tuple(found) if isinstance(found, tuple) else (int(found),)
