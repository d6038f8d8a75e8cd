"""TIFFs of all kinds that people have: their pixels to the bit, in their own depth and mode, or one line."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from mtransfer.errors import InputError
from mtransfer.media.photo.photo import read_photo

HEIGHT, WIDTH = 22, 35
LEVELS = {8: np.uint8, 16: np.uint16}
UNASSOCIATED = {"extrasamples": ["unassalpha"]}
TURNS = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, 3),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels, 1),
}


def noise(channels: int, bits: int) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, 2**bits, (HEIGHT, WIDTH, channels)).astype(LEVELS[bits])


def write(path: Path, pixels: np.ndarray, *, planar: bool = False, **options: Any) -> Path:
    """Pixels [H,W,C] as they are."""
    plain = pixels.transpose(2, 0, 1) if planar else pixels[..., 0] if pixels.shape[2] == 1 else pixels
    config = {"planarconfig": "separate" if planar else "contig"} if pixels.shape[2] > 1 else {}
    tifffile.imwrite(path, np.ascontiguousarray(plain), metadata=None, **config, **options)
    return path


STORED: dict[str, dict[str, Any]] = {
    "strips": {},
    "one row a strip": {"rowsperstrip": 1},
    "tiles": {"tile": (16, 16)},
    "deflate": {"compression": "zlib"},
    "deflate, predicted": {"compression": "zlib", "predictor": True},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
}
KINDS = {
    "L": (1, {"photometric": "minisblack"}),
    "RGB": (3, {"photometric": "rgb"}),
    "RGBA": (4, {"photometric": "rgb", **UNASSOCIATED}),
}


@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("stored", STORED)
def test_pixels_are_the_files_own(tmp_path: Path, stored: str, mode: str, bits: int) -> None:
    channels, options = KINDS[mode]
    pixels = noise(channels, bits)
    photo = read_photo(write(tmp_path / "a.tif", pixels, **options, **STORED[stored]))
    assert (photo.mode, photo.depth) == (mode, bits)
    assert np.array_equal(photo.pixels, pixels)


@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("stored", ["strips", "one row a strip", "deflate", "big-endian"])
def test_planes(tmp_path: Path, stored: str, mode: str, bits: int) -> None:
    channels, options = KINDS[mode]
    pixels = noise(channels, bits)
    photo = read_photo(write(tmp_path / "a.tif", pixels, planar=True, **options, **STORED[stored]))
    assert photo.depth == bits
    assert np.array_equal(photo.pixels, pixels)


@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("stored", ["strips", "deflate", "big-endian"])
def test_grey_with_alpha(tmp_path: Path, stored: str, bits: int) -> None:
    pixels = noise(2, bits)
    options = {"photometric": "minisblack", **UNASSOCIATED, **STORED[stored]}
    photo = read_photo(write(tmp_path / "a.tif", pixels, **options))
    assert (photo.mode, photo.depth) == ("LA", bits)
    assert np.array_equal(photo.pixels, pixels)


@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("channels", [2, 4])
def test_premultiplied_alpha_becomes_straight(tmp_path: Path, channels: int, bits: int) -> None:
    most = 2**bits - 1
    straight = noise(channels, bits).astype(np.int64)
    straight[..., -1] = np.where(straight[..., -1] < most // 8, 0, straight[..., -1])
    alpha = straight[..., -1:]
    stored = np.concatenate([(straight[..., :-1] * alpha + most // 2) // most, alpha], axis=-1).astype(LEVELS[bits])
    kind = {"photometric": "rgb" if channels == 4 else "minisblack", "extrasamples": ["assocalpha"]}
    photo = read_photo(write(tmp_path / "a.tif", stored, **kind))
    assert (photo.mode, photo.depth) == ({2: "LA", 4: "RGBA"}[channels], bits)
    assert np.array_equal(photo.pixels[..., -1:], alpha)
    error = np.abs(photo.pixels[..., :-1].astype(np.int64) - straight[..., :-1]) * (alpha > 0)
    assert (error <= most / (2 * np.maximum(alpha, 1)) + 1).all()


@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("stored", ["strips", "deflate", "big-endian"])
def test_white_is_zero(tmp_path: Path, stored: str, bits: int) -> None:
    pixels = noise(1, bits)
    photo = read_photo(write(tmp_path / "a.tif", pixels, photometric="miniswhite", **STORED[stored]))
    assert (photo.mode, photo.depth) == ("L", bits)
    assert np.array_equal(photo.pixels, 2**bits - 1 - pixels.astype(np.int64))


@pytest.mark.parametrize("bits", LEVELS)
def test_a_fourth_channel_of_no_stated_meaning_is_left_out(tmp_path: Path, bits: int) -> None:
    pixels = noise(4, bits)
    photo = read_photo(write(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unspecified"]))
    assert np.array_equal(photo.pixels, pixels[..., :3])


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("kind", ["L", "RGB", "RGBA", "planar", "deflate", "big-endian", "BigTIFF"])
def test_turned_files_are_turned_once(tmp_path: Path, kind: str, bits: int, orientation: int) -> None:
    channels, options = KINDS.get(kind, KINDS["RGB"])
    pixels = noise(channels, bits)
    tags = {"extratags": [(274, 3, 1, orientation, True)]}
    path = write(tmp_path / "a.tif", pixels, planar=kind == "planar", **options, **STORED.get(kind, {}), **tags)
    photo = read_photo(path)
    assert np.array_equal(photo.pixels, TURNS[orientation](pixels))


@pytest.mark.parametrize("bits", LEVELS)
def test_the_profile_is_kept(tmp_path: Path, bits: int) -> None:
    profile = b"\0" * 16 + b"RGB " + b"\0" * 200
    for name in ("L", "RGB", "RGBA"):
        channels, options = KINDS[name]
        path = write(tmp_path / "a.tif", noise(channels, bits), **options, iccprofile=profile)
        assert read_photo(path).icc_profile == profile


def ycbcr(subsampled: int) -> tuple[np.ndarray, bytes]:
    """A smooth picture, uint8[H,W,3] RGB, and it as an uncompressed YCbCr TIFF, which tifffile cannot subsample."""
    rows, columns = np.mgrid[0 : 1 : 20 * 1j, 0 : 1 : 32 * 1j]
    rgb = (255 * np.stack([rows, columns, rows * (1 - columns)], axis=-1)).round().astype(np.uint8)
    lightness, blue, red = np.moveaxis(np.asarray(Image.fromarray(rgb).convert("YCbCr")), -1, 0)
    step = subsampled
    units = [
        bytes([*lightness[y : y + step, x : x + step].ravel(), blue[y, x], red[y, x]])
        for y in range(0, 20, step)
        for x in range(0, 32, step)
    ]
    return rgb, plain_tiff(32, 20, b"".join(units), {262: (3, [6]), 530: (3, [step, step])})


def plain_tiff(width: int, height: int, pixels: bytes, more: dict[int, tuple[int, list[int]]]) -> bytes:
    """One uncompressed strip of three 8-bit samples; every tag's values are of type 3 (16 bits) or 4 (32 bits)."""
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [8, 8, 8]), 259: (3, [1]), 273: (4, [0]), 277: (3, [3])}
    tags |= {278: (4, [height]), 279: (4, [len(pixels)]), **more}
    beyond = 8 + 2 + 12 * len(tags) + 4  # where values lie that have no room in their entry
    tags[273] = (4, [beyond + 6])
    entries, values = b"", b""
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(packed) > 4:
            values, packed = values + packed, struct.pack("<I", beyond + len(values))
        entries += struct.pack("<HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + values + pixels


@pytest.mark.parametrize("subsampled", [1, 2])
def test_plain_ycbcr(tmp_path: Path, subsampled: int) -> None:
    rgb, content = ycbcr(subsampled)
    (tmp_path / "a.tif").write_bytes(content)
    photo = read_photo(tmp_path / "a.tif")
    assert (photo.mode, photo.depth) == ("RGB", 8)
    assert np.abs(photo.pixels.astype(int) - rgb).mean() < 3 * subsampled


def test_ycbcr_of_jpeg(tmp_path: Path) -> None:
    rgb = ycbcr(1)[0]
    Image.fromarray(rgb).save(tmp_path / "a.tif", compression="jpeg", quality=95)
    assert np.abs(read_photo(tmp_path / "a.tif").pixels.astype(int) - rgb).mean() < 3


def test_lab_becomes_rgb(tmp_path: Path) -> None:
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8) + np.array([136, 208, 195], np.uint8)  # L* 53, a* 80, b* 67: red
    photo = read_photo(write(tmp_path / "a.tif", pixels - np.array([0, 128, 128], np.uint8), photometric="cielab"))
    assert photo.pixels[5, 5].tolist() == pytest.approx([255, 0, 0], abs=12)


REFUSED: dict[str, tuple[np.ndarray, dict[str, Any], str]] = {
    "16-bit CMYK": (noise(4, 16), {"photometric": "separated"}, "save it as RGB"),
    "16-bit planar tiles": (noise(3, 16), {"photometric": "rgb", "planar": True, "tile": (16, 16)}, "in strips"),
    "16-bit Lab": (noise(3, 16), {"photometric": "cielab"}, "save it as RGB"),
    "32-bit levels": (noise(1, 16).astype(np.uint32), {"photometric": "minisblack"}, "8 or 16 bits"),
    "signed levels": (noise(1, 16).astype(np.int16), {"photometric": "minisblack"}, "8 or 16 bits"),
    "real numbers": (noise(3, 16).astype(np.float32), {"photometric": "rgb"}, "8 or 16 bits"),
    "half numbers": (noise(3, 8).astype(np.float16), {"photometric": "rgb"}, "8 or 16 bits"),
    "camera raw": (noise(1, 16), {"photometric": "cfa"}, "camera raw"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_read_right_is_refused_in_one_line(tmp_path: Path, kind: str, capfd: Any) -> None:
    pixels, options, words = REFUSED[kind]
    path = write(tmp_path / "a.tif", pixels, **options)
    with pytest.raises(InputError, match=words) as refused:
        read_photo(path)
    assert "\n" not in str(refused.value)
    assert "a.tif" in str(refused.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["L", "RGB", "RGBA", "planar", "grey with alpha", "deflate"])
@pytest.mark.parametrize("bits", LEVELS)
def test_cut_short(tmp_path: Path, kind: str, bits: int, capfd: Any) -> None:
    channels, options = KINDS.get(kind, KINDS["RGB"])
    if kind == "grey with alpha":
        channels, options = 2, {"photometric": "minisblack", **UNASSOCIATED}
    path = write(tmp_path / "a.tif", noise(channels, bits), planar=kind == "planar", **options, **STORED.get(kind, {}))
    path.write_bytes(path.read_bytes()[: int(0.7 * path.stat().st_size)])
    with pytest.raises(InputError, match="cut short"):
        read_photo(path)
    assert capfd.readouterr() == ("", "")
