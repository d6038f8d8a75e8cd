"""Free images for training: Debian's packages unpacked, sorted, shrunk, and split by file into training and held-out.

Photographs become JPEG files of at most 1400 px, cut-outs PNG files with alpha of at most 300 px.
"""

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

PACKAGES = (
    *("tuxpaint-stamps-default", "mate-backgrounds", "gnome-backgrounds", "ukui-wallpapers"),
    *("plasma-workspace-wallpapers", "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04"),
)
# Pictures that samples/ is cut from, or may be: never trained on.
SAMPLE_STEMS = (
    *("Dragonfly", "Kleiber", "friends", "umang", "Fossa", "free_by", "Picture_0B", "Wine", "seeding", "goldfish"),
    *("calla", "firstgeneration", "the-mouse", "LadyBird", "Aqua", "TwoWings", "YellowFlower", "FlyingKonqui"),
    *("OneStandsOut", "Kite", "Autumn", "IceCold", "SafeLanding"),
)
# For evaluation alone: a real stereo pair with its true disparity.
EVALUATION_PACKAGES = ("opencv-doc",)
# Mirror images and near look-alikes of other cut-outs would be on both sides of the split.
LOOK_ALIKES = ("_mirror", "dreydl", "grave-j", "kiwi")
DUPLICATE_STEMS = ("Elephants_", "screenshot", "vnc-", "licorice", "Stripes")
FLAT_FOLDERS = ("symbols", "roadsigns", "shapes", "body_parts")
PHOTO_LONG_SIDE_PX, CUTOUT_LONG_SIDE_PX = 1400, 300


@dataclass(frozen=True)
class ImageBank:
    """Photographs uint8[H,W,3] and cut-outs uint8[H,W,4], RGB order."""

    photos: list[NDArray[np.uint8]]
    cutouts: list[NDArray[np.uint8]]


def unpack_packages(folder: Path) -> Path:
    """Download the packages with apt-get and unpack them below `folder`; returns the root of the unpacked tree."""
    root = folder / "root"
    if not root.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-q", *PACKAGES, *EVALUATION_PACKAGES], cwd=folder, check=True)
        for package in sorted(folder.glob("*.deb")):
            subprocess.run(["dpkg", "-x", str(package), str(root)], check=True)
    return root


def prepare(root: Path, out: Path) -> None:
    """Shrink and sort the pictures below `root` into out/{train,heldout}/{photos,cutouts}."""
    for path, picture in _photos(root):
        _write(out / _split(path) / "photos" / f"{_name(path)}.jpg", _shrink(picture, PHOTO_LONG_SIDE_PX))
    for path, picture in _cutouts(root):
        _write(out / _split(path) / "cutouts" / f"{_name(path)}.png", _shrink(picture, CUTOUT_LONG_SIDE_PX))


def load_bank(folder: Path) -> ImageBank:
    """The prepared pictures of one split, sorted by name."""
    photos = [_read(path, cv2.COLOR_BGR2RGB) for path in sorted((folder / "photos").glob("*.jpg"))]
    cutouts = [_read(path, cv2.COLOR_BGRA2RGBA) for path in sorted((folder / "cutouts").glob("*.png"))]
    if not photos or not cutouts:
        raise SystemExit(f"{folder}: no prepared pictures; run python -m training.images first")
    return ImageBank(photos, cutouts)


def _read(path: Path, conversion: int) -> NDArray[np.uint8]:
    picture: NDArray[np.uint8] = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), conversion)
    return picture


def _photos(root: Path) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    singles = [p for p in root.glob("usr/share/backgrounds/**/*") if p.suffix in (".jpg", ".png", ".webp")]
    largest = [_largest(folder) for folder in sorted(root.glob("usr/share/wallpapers/*/contents/images"))]
    for path in sorted(singles) + [p for p in largest if p]:
        picture = cv2.imread(str(path))
        known = any(stem in str(path) for stem in DUPLICATE_STEMS)
        if picture is not None and not known and min(picture.shape[:2]) >= 400 and picture.std() > 12:
            yield path, picture


def _largest(folder: Path) -> Path | None:
    return max(folder.iterdir(), key=lambda path: path.stat().st_size, default=None)


def _cutouts(root: Path) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    stamps = root / "usr/share/tuxpaint/stamps"
    for path in sorted(stamps.rglob("*.png")):
        if any(folder in path.parts for folder in FLAT_FOLDERS) or any(stem in path.stem for stem in LOOK_ALIKES):
            continue
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if picture is None or picture.ndim != 3 or picture.shape[2] != 4 or picture.dtype != np.uint8:
            continue
        picture = _crop_to_alpha(picture)
        solid = (picture[..., 3] > 200).mean()
        if min(picture.shape[:2]) >= 60 and 0.2 < solid < 0.97:
            yield path, picture


def _crop_to_alpha(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    x, y, width, height = cv2.boundingRect((picture[..., 3] > 8).astype(np.uint8))
    return np.ascontiguousarray(picture[y : y + height, x : x + width]) if width and height else picture


def _shrink(picture: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    scale = long_side / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    if picture.shape[2] == 3:
        return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    # Colours are averaged under their alpha, else what lies hidden outside the shape bleeds into its edge.
    alpha = picture[..., 3:].astype(np.float32) / 255
    small = cv2.resize(np.dstack([picture[..., :3] * alpha, alpha]), size, interpolation=cv2.INTER_AREA)
    colour = small[..., :3] / np.maximum(small[..., 3:], 1e-3)
    return np.dstack([colour, small[..., 3:] * 255]).clip(0, 255).astype(np.uint8)


def _name(path: Path) -> str:
    return hashlib.sha256(str(path).split("/usr/share/")[-1].encode()).hexdigest()[:12]


def _split(path: Path) -> str:
    """By file name, so that no picture is ever on both sides."""
    sampled = any(stem in str(path) for stem in SAMPLE_STEMS)
    return "heldout" if sampled or int(_name(path), 16) % 8 == 0 else "train"


def _write(path: Path, picture: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix == ".jpg" else []
    cv2.imwrite(str(path), picture, quality)


if __name__ == "__main__":
    data = Path(".training/images")
    prepare(unpack_packages(Path(".training/packages")), data)
    for split in ("train", "heldout"):
        bank = load_bank(data / split)
        print(f"{split}: {len(bank.photos)} photos, {len(bank.cutouts)} cut-outs")
