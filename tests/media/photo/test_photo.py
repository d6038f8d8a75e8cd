"""Photos: every kind of pixel, turned upright, scaled right, with alpha and profile; one-line errors."""

import hashlib
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.media.photo import image_file
from mtransfer.media.photo.photo import Photo, read_photo
from mtransfer.media.photo.png import write_png

SAMPLES = Path(__file__).parents[3] / "samples"
HEIGHT, WIDTH = 20, 32
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def gradient(dtype: type = np.uint8) -> np.ndarray:
    """[H,W,3] with every corner of its own colour and the whole range of the type in it."""
    rows, columns = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]
    return (np.stack([rows, columns, rows * (1 - columns)], axis=-1) * np.iinfo(dtype).max).astype(dtype)


def tensor(pixels: np.ndarray) -> Tensor:
    """[H,W,C] of any integer type as float32[C,H,W] in [0,1]."""
    return torch.from_numpy((pixels / np.iinfo(pixels.dtype).max).astype(np.float32)).permute(2, 0, 1)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    return tags


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def refusal(path: Path) -> str:
    """The one line with which a file is refused; it names the file."""
    with pytest.raises(InputError) as caught:
        read_photo(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def save(picture: Image.Image, path: Path, **options: object) -> Photo:
    picture.save(path, **options)
    return read_photo(path)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "webp"])
def test_rgb_of_8_bits(tmp_path: Path, suffix: str):
    photo = save(Image.fromarray(gradient()), tmp_path / f"photo.{suffix}", lossless=True)
    assert photo.image.dtype == torch.float32
    assert photo.size == (HEIGHT, WIDTH)
    assert (photo.alpha, photo.icc_profile, photo.path) == (None, None, tmp_path / f"photo.{suffix}")
    torch.testing.assert_close(photo.image, tensor(gradient()))


def test_jpeg(tmp_path: Path):
    photo = save(Image.fromarray(gradient()), tmp_path / "photo.jpg", quality=95, subsampling=0)
    assert (photo.image - tensor(gradient())).abs().mean() < 0.02


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_orientation_is_applied_once(tmp_path: Path, suffix: str, orientation: int):
    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270"}
    turns |= {7: "TRANSVERSE", 8: "ROTATE_90"}
    stored = Image.fromarray(gradient())
    upright = stored.transpose(Image.Transpose[turns[orientation]]) if orientation > 1 else stored
    photo = save(stored, tmp_path / f"photo.{suffix}", exif=exif(orientation), lossless=True)
    torch.testing.assert_close(photo.image, tensor(np.asarray(upright)))


def test_unknown_orientation_is_none(tmp_path: Path):
    photo = save(Image.fromarray(gradient()), tmp_path / "photo.png", exif=exif(9))
    torch.testing.assert_close(photo.image, tensor(gradient()))


def test_alpha_turns_with_the_image_and_colours_below_it_stay(tmp_path: Path):
    alpha = gradient()[..., 1:2]
    stored = Image.fromarray(np.concatenate([gradient(), alpha], axis=-1))
    photo = save(stored, tmp_path / "photo.png", exif=exif(6))
    assert photo.alpha is not None
    torch.testing.assert_close(photo.alpha, tensor(np.rot90(alpha, 3)))
    torch.testing.assert_close(photo.colours, tensor(np.rot90(gradient(), 3)))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_opaque_alpha_is_no_alpha(tmp_path: Path, mode: str):
    assert save(Image.fromarray(gradient()).convert(mode), tmp_path / "photo.png").alpha is None


def test_grey_with_alpha(tmp_path: Path):
    grey, alpha = gradient()[..., 0], gradient()[..., 1]
    photo = save(Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]), tmp_path / "photo.png")
    torch.testing.assert_close(photo.colours, tensor(grey[..., None]).expand(3, -1, -1))
    torch.testing.assert_close(photo.alpha, tensor(alpha[..., None]))
    assert (photo.mode, photo.depth) == ("LA", 8)


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_palette_transparency(tmp_path: Path, suffix: str):
    indices = np.zeros((HEIGHT, WIDTH), np.uint8)
    indices[5:9, 10:20] = 1
    palette = Image.fromarray(indices)
    palette.putpalette([0, 0, 255, 250, 100, 0])
    photo = save(palette, tmp_path / f"photo.{suffix}", transparency=0)
    torch.testing.assert_close(photo.alpha, torch.from_numpy(indices).float()[None])
    assert photo.image[:, 6, 15].tolist() == pytest.approx([250 / 255, 100 / 255, 0])


def test_palette_without_transparency(tmp_path: Path):
    photo = save(Image.fromarray(gradient()).convert("P"), tmp_path / "photo.png")
    assert photo.alpha is None
    assert photo.image.shape == (3, HEIGHT, WIDTH)


def test_transparent_colour(tmp_path: Path):
    pixels = gradient()
    photo = save(Image.fromarray(pixels), tmp_path / "photo.png", transparency=tuple(pixels[0, 0].tolist()))
    assert photo.alpha is not None
    assert photo.alpha[0, 0, 0] == 0
    assert photo.alpha[0, -1, -1] == 1


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey(tmp_path: Path, mode: str):
    grey = Image.fromarray(gradient()[..., 0]).convert(mode)
    photo = save(grey, tmp_path / "photo.png")
    expected = tensor(np.asarray(grey.convert("L"))[..., None])
    torch.testing.assert_close(photo.image, expected.expand(3, -1, -1))


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk(tmp_path: Path, suffix: str):
    red = Image.new("CMYK", (WIDTH, HEIGHT), (0, 255, 255, 0))
    photo = save(red, tmp_path / f"photo.{suffix}")
    torch.testing.assert_close(photo.image[:, 9, 9], torch.tensor([1.0, 0.0, 0.0]), atol=0.02, rtol=0)


def test_cmyk_with_a_broken_profile(tmp_path: Path):
    path = tmp_path / "print.jpg"
    Image.new("CMYK", (8, 8)).save(path, icc_profile=b"no profile at all, but long enough to be looked at" * 4)
    assert "save the photo as RGB" in refusal(path)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_rgb_of_16_bits_keeps_all_of_them(tmp_path: Path, suffix: str):
    pixels = gradient(np.uint16)
    cv2.imwrite(str(tmp_path / f"photo.{suffix}"), pixels[..., ::-1])
    photo = read_photo(tmp_path / f"photo.{suffix}")
    assert photo.alpha is None
    torch.testing.assert_close(photo.image, tensor(pixels), atol=1e-6, rtol=0)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_16_bits(tmp_path: Path, suffix: str):
    grey = gradient(np.uint16)[..., 0]
    photo = save(Image.fromarray(grey), tmp_path / f"photo.{suffix}")
    torch.testing.assert_close(photo.image, tensor(grey[..., None]).expand(3, -1, -1), atol=1e-6, rtol=0)


def test_alpha_of_16_bits(tmp_path: Path):
    pixels, alpha = gradient(np.uint16), gradient(np.uint16)[..., 1:2]
    cv2.imwrite(str(tmp_path / "photo.png"), np.concatenate([pixels[..., ::-1], alpha], axis=-1))
    photo = read_photo(tmp_path / "photo.png")
    torch.testing.assert_close(photo.colours, tensor(pixels), atol=1e-6, rtol=0)
    torch.testing.assert_close(photo.alpha, tensor(alpha), atol=1e-6, rtol=0)
    assert (photo.mode, photo.depth) == ("RGBA", 16)


def test_16_bits_and_orientation(tmp_path: Path):
    path, pixels = tmp_path / "photo.png", gradient(np.uint16)
    cv2.imwrite(str(path), pixels[..., ::-1])
    content, header_end = path.read_bytes(), 33
    orientation = png_chunk(b"eXIf", exif(6).tobytes().removeprefix(b"Exif\0\0"))
    path.write_bytes(content[:header_end] + orientation + content[header_end:])
    torch.testing.assert_close(read_photo(path).image, tensor(np.rot90(pixels, 3)), atol=1e-6, rtol=0)


def own_png(pixels: np.ndarray, bits: int, colour_type: int, more: bytes = b"") -> bytes:
    """A PNG of any depth from levels [H,W,C]."""
    if bits == 16:
        rows = [row.astype(">u2").tobytes() for row in pixels]
    else:
        flat = ["".join(f"{level:0{bits}b}" for level in row.ravel()) for row in pixels]
        rows = [int(row, 2).to_bytes(len(row) // 8, "big") for row in flat]
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], bits, colour_type, 0, 0, 0)
    body = png_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + more + body + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_level_of_a_grey_png(tmp_path: Path, bits: int):
    levels = np.arange(8 * 16).reshape(8, 16, 1) % 2**bits
    (tmp_path / "a.png").write_bytes(own_png(levels, bits, 0, png_chunk(b"tRNS", struct.pack(">H", 1))))
    photo = read_photo(tmp_path / "a.png")
    most = 65535 if bits == 16 else 255
    assert (photo.mode, photo.depth) == ("LA", 16 if bits == 16 else 8)
    assert np.array_equal(photo.pixels[..., :1], levels * (most // (2**bits - 1)))
    assert np.array_equal(photo.pixels[..., 1:], (levels != 1) * most)


@pytest.mark.parametrize("bits", [8, 16])
def test_the_transparent_colour_of_an_rgb_png(tmp_path: Path, bits: int):
    pixels = np.random.default_rng(0).integers(0, 2**bits, (8, 16, 3))
    key = png_chunk(b"tRNS", struct.pack(">HHH", *pixels[2, 3]))
    (tmp_path / "a.png").write_bytes(own_png(pixels, bits, 2, key))
    photo = read_photo(tmp_path / "a.png")
    assert (photo.mode, photo.depth) == ("RGBA", bits)
    assert np.array_equal(photo.pixels[..., :3], pixels)
    assert [tuple(place) for place in np.argwhere(photo.pixels[..., 3] == 0)] == [(2, 3)]


def test_grey_and_alpha_of_16_bits(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 2**16, (8, 16, 2))
    (tmp_path / "a.png").write_bytes(own_png(pixels, 16, 4))
    photo = read_photo(tmp_path / "a.png")
    assert (photo.mode, photo.depth) == ("LA", 16)
    assert np.array_equal(photo.pixels, pixels)


@pytest.mark.parametrize(("kind", "channels"), [("P5", 1), ("P6", 3)])
@pytest.mark.parametrize("most", [255, 1023, 65535])
def test_netpbm(tmp_path: Path, kind: str, channels: int, most: int):
    pixels, path = np.random.default_rng(0).integers(0, most + 1, (8, 16, channels)), tmp_path / "a.ppm"
    content = pixels.astype(np.uint8 if most == 255 else ">u2").tobytes()
    path.write_bytes(f"{kind}\n# a comment\n16 8\n{most}\n".encode() + content)
    if most == 1023:
        assert "10 bits a channel" in refusal(path)
    else:
        photo = read_photo(path)
        assert photo.depth == most.bit_length()
        assert np.array_equal(photo.pixels, pixels)


def test_jpeg_2000_of_16_bits(tmp_path: Path):
    pixels = np.kron(gradient(np.uint16), np.ones((4, 4, 1), np.uint16))  # OpenCV writes none that are smaller
    cv2.imwrite(str(tmp_path / "a.jp2"), pixels[..., ::-1])
    photo = read_photo(tmp_path / "a.jp2")
    assert photo.depth == 16
    assert np.abs(photo.pixels.astype(int) - pixels).max() < 1500


def test_a_photo_knows_its_files_hash_and_its_own_levels(tmp_path: Path):
    photo = save(Image.fromarray(gradient()), tmp_path / "a.png")
    assert photo.sha256 == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    assert np.array_equal(photo.levels(photo.image, None), photo.pixels)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("depth", [8, 16])
def test_levels_come_back_in_mode_and_depth(tmp_path: Path, mode: str, depth: int):
    kind = np.uint8 if depth == 8 else np.uint16
    pixels = np.random.default_rng(0).integers(0, 2**depth, (40, 50, len(mode))).astype(kind)
    write_png(pixels, tmp_path / "a.png")
    photo = read_photo(tmp_path / "a.png")
    assert np.array_equal(photo.levels(photo.colours, photo.alpha), pixels)
    assert np.array_equal(photo.redrawn(1 - photo.colours, photo.alpha).pixels.dtype, kind)


def test_transparent_pictures_are_seen_over_what_they_stand_out_from(tmp_path: Path):
    for level, matte in ((30, 1.0), (220, 0.0)):
        pixels = np.full((8, 8, 4), level, np.uint8)
        pixels[..., 3] = 255
        pixels[:, :4, 3] = 0
        photo = save(Image.fromarray(pixels), tmp_path / "a.png")
        assert photo.matte == matte
        assert photo.image[0, 0, 0] == matte
        assert photo.image[0, 0, 7] == pytest.approx(level / 255)
        assert read_photo(tmp_path / "a.png", matte=0.5).image[0, 0, 0] == 0.5


def test_a_grey_profile_is_kept_with_grey(tmp_path: Path):
    grey = SRGB[:16] + b"GRAY" + SRGB[20:]
    for mode, kept in (("L", grey), ("LA", grey), ("RGB", None)):
        photo = save(Image.fromarray(gradient()).convert(mode), tmp_path / "photo.png", icc_profile=grey)
        assert photo.icc_profile == kept


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_levels_without_a_range_are_refused(tmp_path: Path, dtype: type):
    path = tmp_path / "levels.tif"
    Image.fromarray(np.zeros((8, 8), dtype)).save(path)
    assert "8 or 16 bits" in refusal(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_rgb_profile_is_kept(tmp_path: Path, suffix: str):
    photo = save(Image.fromarray(gradient()), tmp_path / f"photo.{suffix}", icc_profile=SRGB)
    assert photo.icc_profile == SRGB


def test_profile_of_other_colours_is_dropped(tmp_path: Path):
    assert save(Image.fromarray(gradient()), tmp_path / "photo.png", icc_profile=LAB).icc_profile is None


def test_first_picture_of_an_animation(tmp_path: Path):
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    photo = save(pictures[0], tmp_path / "photo.gif", save_all=True, append_images=pictures[1:])
    assert photo.image[:, 4, 4].tolist() == [1, 0, 0]


def test_files_that_are_no_photos(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "junk.jpg").write_bytes(b"no picture at all " * 99)
    (tmp_path / "empty.png").touch()
    assert "does not exist" in refusal(tmp_path / "none.jpg")
    assert "is a folder" in refusal(tmp_path)
    assert "is no picture" in refusal(tmp_path / "junk.jpg")
    assert "is no picture" in refusal(tmp_path / "empty.png")
    assert "is no picture" in refusal(SAMPLES / "bunny.mp4")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_truncated_photos(tmp_path: Path, suffix: str, share: float, capfd: pytest.CaptureFixture[str]):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refusal(path)
    assert capfd.readouterr() == ("", "")


def test_truncated_photo_of_16_bits(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    path = tmp_path / "cut.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 2**16, (64, 64, 3), np.uint16))
    path.write_bytes(path.read_bytes()[:9000])
    assert "cut short" in refusal(path)
    assert capfd.readouterr() == ("", "")


def huge_png(path: Path, side: int) -> Path:
    """A small file that claims side x side pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + png_chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("side", [12_300, 30_000])
def test_decompression_bombs(tmp_path: Path, side: int):
    assert "150 megapixels" in refusal(huge_png(tmp_path / "huge.png", side))


def test_large_photos_below_the_limit_are_read_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH - 1)
    assert save(Image.fromarray(gradient()), tmp_path / "photo.png").size == (HEIGHT, WIDTH)
    monkeypatch.setattr(image_file, "MAX_MEGAPIXELS", 0)
    assert "0 megapixels" in refusal(tmp_path / "photo.png")


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.[jp][pn]g")), ids=lambda path: path.name)
def test_samples_are_photos(path: Path):
    photo = read_photo(path)
    assert 512 <= max(photo.size) <= 1024
    assert path.stat().st_size < 500_000
    assert f"`{path.name}`" in (SAMPLES / "LICENSES.md").read_text()
