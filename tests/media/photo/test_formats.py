"""Which formats are read: by their content, whatever the name; and what is said where a reader is missing."""

import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401  (it makes itself known to Pillow)
import pytest
from PIL import Image

from mtransfer.errors import InputError
from mtransfer.media.photo import formats
from mtransfer.media.photo.formats import FORMATS, PHOTO_SUFFIXES, format_of
from mtransfer.media.photo.photo import read_photo

HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(200)
JXL = b"\xff\x0a\x09\x0e" + bytes(200)
JXL_BOX = b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(200)
PICTURE = Image.fromarray(np.arange(20 * 32 * 3).reshape(20, 32, 3).astype(np.uint8))
WITHOUT_A_WRITER = ("PSD", "HEIF", "JXL")


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in WITHOUT_A_WRITER])
def test_every_format_is_read_whatever_the_files_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "picture.of_no_kind"
    PICTURE.save(path, name, **({"lossless": True} if name == "WEBP" else {}))
    photo = read_photo(path)
    assert photo.depth == 8
    assert photo.size == (20, 32) or name == "ICO"  # which holds several sizes


def test_suffixes_are_lower_case_and_named_once() -> None:
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in PHOTO_SUFFIXES)
    assert len(set(PHOTO_SUFFIXES)) == len(PHOTO_SUFFIXES)


@pytest.mark.parametrize(
    ("content", "package"), [(HEIC, "pillow-heif"), (JXL, "pillow-jxl-plugin"), (JXL_BOX, "pillow-jxl-plugin")]
)
def test_a_missing_reader_is_named(tmp_path: Path, content: bytes, package: str, monkeypatch) -> None:
    formats._register.cache_clear()
    for module in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(InputError, match=rf"photo\.jpg is (HEIC|JPEG XL), which {package} reads") as refused:
        read_photo(tmp_path / "photo.jpg")
    assert "mtransfer[photos]" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_heic(tmp_path: Path) -> None:
    pillow_heif.register_heif_opener()
    pixels = np.kron(np.random.default_rng(0).integers(0, 256, (5, 8, 4)), np.ones((8, 8, 1))).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.heic", quality=100, chroma=444)
    photo = read_photo(tmp_path / "a.heic")
    assert (photo.mode, photo.size) == ("RGBA", (40, 64))
    assert np.abs(photo.pixels.astype(int) - pixels).mean() < 8


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_jpeg_xl(tmp_path: Path, mode: str) -> None:
    PICTURE.convert(mode).save(tmp_path / "a.jxl", lossless=True)
    photo = read_photo(tmp_path / "a.jxl")
    assert photo.mode == mode
    assert np.array_equal(photo.pixels.squeeze(), np.asarray(PICTURE.convert(mode)))


def test_avif_is_no_heic() -> None:
    assert format_of(b"\0\0\0\x20ftypmif1\0\0\0\0avifmif1miafMA1B") == "AVIF"
    assert format_of(HEIC) == "HEIF"
    assert format_of(b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41") is None


@pytest.mark.parametrize("name", ["photo.dng", "PHOTO.NEF", "photo.cr2"])
def test_camera_raw_is_refused(tmp_path: Path, name: str) -> None:
    PICTURE.save(tmp_path / name, "tiff")
    with pytest.raises(InputError, match=r"is camera raw; develop it and save it as a TIFF or JPEG"):
        read_photo(tmp_path / name)
