"""Two hundred photographs of all kinds through `edit`: outside the edit, what was given, to the bit."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from profiles import display_p3

from mtransfer.errors import InputError
from mtransfer.jobs import render
from mtransfer.jobs.recipe import EditRecipe
from mtransfer.jobs.render import TransferOutput
from mtransfer.jobs.transfer import edit
from mtransfer.media.photo.png import write_png

PHOTOGRAPHS = 200
SIZES = ((12, 12), (13, 40), (41, 33), (64, 48), (97, 31), (12, 600), (57, 90), (12, 2400), (2000, 16))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
UNASSOCIATED = ["unassalpha"]
# A path without suffix, pixels [H,W,C], the profile -> the pixels that must be kept.
Pixels = np.ndarray
Writer = Callable[[Path, Pixels, bytes | None], Pixels]


def adobe_like() -> bytes:
    """A profile of RGB that names another maker."""
    profile = bytearray(display_p3())
    profile[4:8] = b"ADBE"
    return bytes(profile)


PROFILES = {"none": None, "sRGB": SRGB, "Display P3": display_p3(), "Adobe-like": adobe_like()}


def by_pillow(suffix: str, **options: Any) -> Writer:
    def write(path: Path, pixels: Pixels, icc: bytes | None) -> Pixels:
        picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        picture.save(path.with_suffix(suffix), icc_profile=icc, **options)
        return pixels

    return write


def lossy(suffix: str) -> Writer:
    def write(path: Path, pixels: Pixels, icc: bytes | None) -> Pixels:
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "jpeg", icc_profile=icc)
        path.with_suffix(suffix).write_bytes(file.getvalue())
        shown = np.asarray(Image.open(file))
        return shown.reshape(*shown.shape[:2], -1)

    return write


def by_tifffile(*, planar: bool = False, inverted: bool = False, **options: Any) -> Writer:
    def write(path: Path, pixels: Pixels, icc: bytes | None) -> Pixels:
        stored = np.iinfo(pixels.dtype).max - pixels if inverted else pixels
        plain = stored.transpose(2, 0, 1) if planar else stored[..., 0] if stored.shape[2] == 1 else stored
        config = {"planarconfig": "separate" if planar else "contig"} if stored.shape[2] > 1 else {}
        given = {"metadata": None, "iccprofile": icc, **config, **options}
        tifffile.imwrite(path.with_suffix(".tif"), np.ascontiguousarray(plain), **given)
        return pixels

    return write


def premultiplied(path: Path, pixels: Pixels, icc: bytes | None) -> Pixels:
    """Of alpha 0 or all, so that nothing is lost."""
    most = np.iinfo(pixels.dtype).max
    alpha = np.where(pixels[..., -1:] > most // 3, most, 0).astype(pixels.dtype)
    straight = np.concatenate([pixels[..., :-1] * (alpha > 0), alpha], axis=-1)
    return by_tifffile(photometric="rgb", extrasamples=["assocalpha"])(path, straight, icc)


def palette(transparent: bool) -> Writer:
    def write(path: Path, pixels: Pixels, icc: bytes | None) -> Pixels:
        picture = Image.fromarray(pixels).quantize(16)
        picture.save(path.with_suffix(".png"), icc_profile=icc, **({"transparency": 3} if transparent else {}))
        return np.asarray(Image.open(path.with_suffix(".png")).convert("RGBA" if transparent else "RGB"))

    return write


def bilevel(path: Path, pixels: Pixels, icc: bytes | None) -> Pixels:
    black = pixels > 127
    Image.fromarray(black[..., 0]).save(path.with_suffix(".png"), icc_profile=icc)
    return (255 * black).astype(np.uint8)


def png(path: Path, pixels: Pixels, icc: bytes | None) -> Pixels:
    write_png(pixels, path.with_suffix(".png"), icc)
    return pixels


RGB = {"photometric": "rgb"}
GREY = {"photometric": "minisblack"}
TILED = {"tile": (16, 16)}
# channels, bits, writer
KINDS: dict[str, tuple[int, int, Writer]] = {
    "PNG L": (1, 8, png),
    "PNG LA": (2, 8, png),
    "PNG RGB": (3, 8, png),
    "PNG RGBA": (4, 8, png),
    "PNG I;16": (1, 16, png),
    "PNG LA of 16 bits": (2, 16, png),
    "PNG RGB of 16 bits": (3, 16, png),
    "PNG RGBA of 16 bits": (4, 16, png),
    "PNG P": (3, 8, palette(False)),
    "PNG P with transparency": (3, 8, palette(True)),
    "PNG 1": (1, 8, bilevel),
    "JPEG L": (1, 8, lossy(".jpg")),
    "JPEG RGB": (3, 8, lossy(".jpg")),
    "WebP RGB": (3, 8, by_pillow(".webp", lossless=True)),
    "WebP RGBA": (4, 8, by_pillow(".webp", lossless=True, exact=True)),
    "BMP RGB": (3, 8, by_pillow(".bmp")),
    "TIFF L": (1, 8, by_tifffile(**GREY)),
    "TIFF RGBA": (4, 8, by_tifffile(**RGB, extrasamples=UNASSOCIATED)),
    "TIFF RGB of 16 bits": (3, 16, by_tifffile(**RGB)),
    "TIFF RGBA of 16 bits": (4, 16, by_tifffile(**RGB, extrasamples=UNASSOCIATED)),
    "TIFF planar": (3, 8, by_tifffile(planar=True, **RGB)),
    "TIFF planar of 16 bits": (3, 16, by_tifffile(planar=True, **RGB)),
    "TIFF WhiteIsZero": (1, 8, by_tifffile(inverted=True, photometric="miniswhite")),
    "TIFF WhiteIsZero of 16 bits": (1, 16, by_tifffile(inverted=True, photometric="miniswhite")),
    "TIFF premultiplied": (4, 8, premultiplied),
    "TIFF premultiplied of 16 bits": (4, 16, premultiplied),
    "TIFF tiled": (3, 8, by_tifffile(**RGB, **TILED)),
    "TIFF tiled of 16 bits": (3, 16, by_tifffile(**RGB, **TILED)),
    "TIFF planar and tiled of 16 bits": (3, 16, by_tifffile(planar=True, **RGB, **TILED)),
    "TIFF YCbCr": (3, 8, by_pillow(".tif", compression="jpeg", quality=90)),
}
REFUSED = {"TIFF planar and tiled of 16 bits"}
SHOWN_BY_PILLOW = {"TIFF YCbCr"}  # lossy


def photograph(index: int, folder: Path) -> tuple[str, Path, Pixels, bytes | None]:
    """What it is, its file, its pixels [H,W,C] as they must be kept, its profile."""
    chance = np.random.default_rng(index)
    kind = list(KINDS)[index % len(KINDS)]
    channels, bits, write = KINDS[kind]
    size = SIZES[int(chance.integers(len(SIZES)))]
    pixels = chance.integers(0, 2**bits, (*size, channels)).astype(np.uint8 if bits == 8 else np.uint16)
    name = list(PROFILES)[int(chance.integers(len(PROFILES)))]
    # Profiles of RGB do not fit grey, and BMPs hold none.
    icc = None if channels < 3 or "BMP" in kind else PROFILES[name]
    kept = write(folder / "photo", pixels, icc)
    (path,) = folder.glob("photo.*")
    if kind in SHOWN_BY_PILLOW:
        with Image.open(path) as picture:
            kept = np.asarray(picture.convert("RGB"))
    return kind, path, kept, icc


def edited(path: Path, size: tuple[int, int]) -> TransferOutput:
    """Its middle moved by a pixel."""
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 3 : 2 * size[0] // 3, size[1] // 3 : 2 * size[1] // 3] = 255
    drawn = path.with_name("mask.png")
    Image.fromarray(mask).save(drawn)
    given = {"photo": path, "subject": str(drawn), "translate": "1,0", "preset": "draft", "device": "cpu"}
    return edit(EditRecipe.build(given, ["sampler.snap_mask=false"]))


@pytest.mark.slow
def test_outside_the_edit_photographs_are_what_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_measure", lambda *_: {})  # which takes most of the time, and changes no pixel
    refused, wrong = set[str](), list[str]()
    for index in range(PHOTOGRAPHS):
        folder = tmp_path / str(index)
        folder.mkdir()
        kind, path, kept, icc = photograph(index, folder)
        try:
            output = edited(path, kept.shape[:2])
        except InputError as error:
            refused.add(kind if len(str(error).splitlines()) == 1 else f"{kind}, in several lines")
            continue
        write_png(output.pixels, folder / "edited.png", output.photo.icc_profile)
        made = cv2.imread(str(folder / "edited.png"), cv2.IMREAD_UNCHANGED)
        with Image.open(folder / "edited.png") as picture:
            profile = picture.info.get("icc_profile")
        outside = (output.edit[0, 0] == 0).numpy()
        same = output.pixels.shape == kept.shape and np.array_equal(output.pixels[outside], kept[outside])
        if not same or output.pixels.dtype != kept.dtype or made.dtype != kept.dtype or profile != icc:
            wrong.append(f"{index} {kind} {kept.shape}")
    assert not wrong
    assert refused == REFUSED
