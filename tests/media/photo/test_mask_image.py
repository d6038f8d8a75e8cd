"""Masks as people have them: what is meant is found, and said where it is not plain white on black."""

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mtransfer.errors import InputError
from mtransfer.media.photo.mask_image import grey_picture, split_label, subject_mask

HEIGHT, WIDTH = 120, 160
VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128] + [0] * 747 + [224, 224, 192]


def blob(x: int = 70, y: int = 55, radius: int = 30) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.hypot(columns - x, rows - y) < radius


def soft_blob() -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.clip((32 - np.hypot(columns - 70, rows - 55)) / 4, 0, 1)


def painted(colour: tuple[int, ...], ground: tuple[int, ...] = (0, 0, 0), mask: np.ndarray | None = None) -> np.ndarray:
    share = (blob() if mask is None else mask)[..., None].astype(float)
    return (share * np.array(colour) + (1 - share) * np.array(ground)).round().astype(np.uint8)


def palette(labels: np.ndarray, colours: list[int] = VOC) -> Image.Image:
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(colours)
    return picture


def jpeg(pixels: np.ndarray, quality: int = 75) -> Image.Image:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "jpeg", quality=quality)
    return Image.open(content)


def with_rim(labels: np.ndarray, void: int) -> np.ndarray:
    """Labels with the band of VOC, five pixels wide, around them."""
    region, square = (labels > 0).astype(np.uint8), np.ones((5, 5))
    return np.where(cv2.dilate(region, square) > cv2.erode(region, square), void, labels)


def with_alpha(pixels: np.ndarray, alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([pixels, 255 * alpha.astype(np.uint8)]))


# What a mask looks like, words that must be said of it ("" for nothing), and how near it must come to the blob.
MEANT: dict[str, tuple[Callable[[], Image.Image], str, float]] = {
    "white on black": (lambda: Image.fromarray(255 * blob().astype(np.uint8)), "", 0),
    "white on black, RGB": (lambda: Image.fromarray(painted((255, 255, 255))), "", 0),
    "one bit": (lambda: Image.fromarray(blob()), "", 0),
    "16 bits": (lambda: Image.fromarray(65535 * blob().astype(np.uint16)), "", 0),
    "soft edge": (lambda: Image.fromarray((255 * soft_blob()).astype(np.uint8)), "", 0.03),
    "white on black, JPEG": (lambda: jpeg(painted((255, 255, 255)), 60), "", 0.01),
    "0 and 1": (lambda: Image.fromarray(blob().astype(np.uint8)), "levels 0 and 1", 0),
    "0 and 1 of 16 bits": (lambda: Image.fromarray(blob().astype(np.uint16)), "levels 0 and 1", 0),
    "0 and 128": (lambda: Image.fromarray(128 * blob().astype(np.uint8)), "levels 0 and 128", 0),
    "0 and 128, soft": (lambda: Image.fromarray((128 * soft_blob()).astype(np.uint8)), "levels 0 and 128", 0.03),
    "0 and 128, JPEG": (lambda: jpeg(painted((128, 128, 128)), 60), "levels 0 and 12", 0.02),
    "label 15 of VOC": (lambda: palette(with_rim(15 * blob(), 255)), "label 15", 0.06),
    "label 1 of a palette": (lambda: palette(1 * blob()), "label 1", 0),
    "label 15 in grey": (lambda: Image.fromarray(with_rim(15 * blob(), 255).astype(np.uint8)), "label 15", 0.06),
    "label 77 in grey": (lambda: Image.fromarray(with_rim(77 * blob(), 255).astype(np.uint8)), "label 77", 0.06),
    "black and white palette": (lambda: palette(blob(), [0, 0, 0, 255, 255, 255]), "", 0),
    "yellow on black": (lambda: Image.fromarray(painted((255, 255, 0))), "#ffff00", 0),
    "dark red on black": (lambda: Image.fromarray(painted((128, 0, 0))), "#800000", 0),
    "soft green on black": (lambda: Image.fromarray(painted((0, 200, 0), mask=soft_blob())), "#00c800", 0.03),
    "magenta on black, JPEG": (lambda: jpeg(painted((255, 0, 255)), 70), "is taken as the subject", 0.02),
    "red on white": (lambda: Image.fromarray(painted((255, 0, 0), (255, 255, 255))), "#ff0000", 0),
    "red on green": (lambda: Image.fromarray(painted((255, 0, 0), (0, 255, 0))), "#ff0000", 0),
    "black on white": (lambda: Image.fromarray(255 - 255 * blob().astype(np.uint8)), "dark one in it", 0),
    "black on white, JPEG": (lambda: jpeg(painted((0, 0, 0), (255, 255, 255))), "dark one in it", 0.02),
    "black on yellow": (lambda: Image.fromarray(painted((0, 0, 0), (255, 255, 0))), "dark one in it", 0),
    "1 and 0": (lambda: Image.fromarray(1 - blob().astype(np.uint8)), "dark one in it", 0),
    "in alpha": (lambda: with_alpha(painted((9, 80, 200), (200, 80, 9)), blob()), "alpha", 0),
    "a hole in alpha": (lambda: with_alpha(painted((1, 2, 3)), ~blob()), "alpha", 0),
    "opaque alpha": (lambda: Image.fromarray(painted((255, 255, 255))).convert("RGBA"), "", 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", MEANT)
def test_what_is_meant_is_found_and_said(tmp_path: Path, kind: str, capsys) -> None:
    make, words, near = MEANT[kind]
    make().save(tmp_path / "mask.png")
    mask = subject_mask(tmp_path / "mask.png")
    said = capsys.readouterr().err
    assert mask.dtype == np.float32
    assert (mask.min(), mask.max()) == (0, 1)
    assert np.abs(mask - blob()).mean() <= near
    assert words in said if words else said == ""
    assert said.count("\n") == bool(words)


def test_a_subject_that_fills_the_picture_is_not_turned(tmp_path: Path, capsys) -> None:
    for mask in (blob(80, 60, 90), ~blob(20, 0, 8), np.ones((HEIGHT, WIDTH), bool), ~blob(radius=3)):
        Image.fromarray(mask).save(tmp_path / "mask.png")
        assert np.array_equal(subject_mask(tmp_path / "mask.png") > 0, mask)
    assert capsys.readouterr().err == ""


def test_a_soft_mask_stays_as_soft_as_it_is(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, WIDTH).round().astype(np.uint8), (HEIGHT, 1))
    Image.fromarray(ramp).save(tmp_path / "mask.png")
    assert np.allclose(subject_mask(tmp_path / "mask.png"), ramp / 255, atol=0.05)


def three_labels() -> np.ndarray:
    return np.where(blob(), 1, np.where(blob(130, 90, 20), 3, 0))


SEVERAL = {
    "a palette": (lambda: palette(three_labels()), ["labels", "1 (", "3 (", "mask.png#1"]),
    "grey": (lambda: Image.fromarray(three_labels().astype(np.uint8)), ["labels", "1 (", "3 (", "mask.png#1"]),
    "trimap": (
        lambda: Image.fromarray(np.where(blob(), 255, np.where(blob(radius=50), 128, 0)).astype(np.uint8)),
        ["128 (", "255 ("],
    ),
    "colours": (
        lambda: Image.fromarray(np.array([[0, 0, 0], [255, 0, 0], [0, 0, 0], [0, 0, 255]], np.uint8)[three_labels()]),
        ["colours", "ff0000 (", "0000ff (", "mask.png#ff0000"],
    ),
    "shades of one colour": (
        lambda: Image.fromarray(np.array([[0, 0, 0], [255, 0, 0], [0, 0, 0], [128, 0, 0]], np.uint8)[three_labels()]),
        ["ff0000 (", "800000 ("],
    ),
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_of_several_labels_it_is_asked_which(tmp_path: Path, kind: str) -> None:
    make, words = SEVERAL[kind]
    make().save(tmp_path / "mask.png")
    with pytest.raises(InputError) as asked:
        subject_mask(tmp_path / "mask.png")
    assert all(word in str(asked.value) for word in words)
    assert "\n" not in str(asked.value)


NAMED = [("a palette", "3"), ("grey", "3"), ("colours", "0000ff"), ("colours", "0000FF")]


@pytest.mark.parametrize(("kind", "label"), [*NAMED, ("shades of one colour", "800000")])
def test_a_label_can_be_named(tmp_path: Path, kind: str, label: str, capsys) -> None:
    SEVERAL[kind][0]().save(tmp_path / "mask.png")
    found = subject_mask(tmp_path / f"mask.png#{label}")
    assert np.array_equal(found > 0, three_labels() == 3)
    assert capsys.readouterr().err == ""


def test_a_label_that_is_not_there(tmp_path: Path) -> None:
    SEVERAL["grey"][0]().save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=r"mask\.png#7: nothing in .* has that label"):
        subject_mask(tmp_path / "mask.png#7")


def test_grey_takes_it_as_it_is(tmp_path: Path, capsys) -> None:
    Image.fromarray(255 - 255 * blob().astype(np.uint8)).save(tmp_path / "mask.png")
    assert np.array_equal(subject_mask(tmp_path / "mask.png#grey") > 0, ~blob())
    assert np.array_equal(grey_picture(tmp_path / "mask.png") > 0, ~blob())
    assert capsys.readouterr().err == ""


def test_a_photo_is_no_mask(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    Image.fromarray(cv2.GaussianBlur(pixels, (0, 0), 4)).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"photo\.png: has \d+ colours, so it is no mask"):
        subject_mask(tmp_path / "photo.png")


def test_a_file_whose_name_holds_a_label_is_that_file(tmp_path: Path) -> None:
    assert split_label(f"{tmp_path}/a.png#2") == (f"{tmp_path}/a.png", "2")
    (tmp_path / "a.png#2").touch()
    assert split_label(f"{tmp_path}/a.png#2") == (f"{tmp_path}/a.png#2", None)
    assert split_label("10,20") == ("10,20", None)
    assert split_label("a#b.png") == ("a#b.png", None)
