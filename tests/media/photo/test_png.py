"""PNGs of 8 and 16 bits: every pixel, the profile and the recipe come back, and the bytes are always the same."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from mtransfer.media.photo.photo import read_photo
from mtransfer.media.photo.png import CHUNK, write_png

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
DEPTHS = {8: np.uint8, 16: np.uint16}


def smooth_and_noise(channels: int, bits: int) -> np.ndarray:
    """[300,40,C], more rows than are filtered at a time."""
    rows, columns = np.mgrid[0:1:300j, 0:1:40j]
    ramp = np.stack([rows, columns, rows * columns, 1 - rows], axis=-1)[..., :channels] * (2**bits - 1)
    ramp[:100] = np.random.default_rng(0).integers(0, 2**bits, ramp[:100].shape)
    return ramp.astype(DEPTHS[bits])


@pytest.mark.parametrize("bits", DEPTHS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pixels_profile_and_recipe_come_back(tmp_path: Path, channels: int, bits: int) -> None:
    pixels, path = smooth_and_noise(channels, bits), tmp_path / "a.png"
    write_png(pixels, path, SRGB, "é = 1\n" * 100)
    photo = read_photo(path)
    assert photo.pixels.dtype == DEPTHS[bits]
    assert np.array_equal(photo.pixels, pixels)
    assert photo.icc_profile == SRGB
    with Image.open(path) as picture:
        assert picture.info[CHUNK] == "é = 1\n" * 100


@pytest.mark.parametrize("channels", [3, 4])
def test_other_readers_read_16_bits_alike(tmp_path: Path, channels: int) -> None:
    pixels = smooth_and_noise(channels, 16)
    write_png(pixels, tmp_path / "a.png")
    seen = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3][:channels]]
    assert np.array_equal(seen, pixels)


@pytest.mark.parametrize("bits", DEPTHS)
def test_the_same_pixels_give_the_same_bytes(tmp_path: Path, bits: int) -> None:
    for name in ("a.png", "b.png"):
        write_png(smooth_and_noise(4, bits), tmp_path / name, SRGB, "text")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_smooth_pictures_are_compressed(tmp_path: Path) -> None:
    pixels = smooth_and_noise(3, 16)[100:]
    write_png(pixels, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 0.3 * pixels.nbytes
