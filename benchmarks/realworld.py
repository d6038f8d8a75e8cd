"""What the product does with other people's photographs and clips, on sheets for the eye.

python -m benchmarks.realworld FOLDER -o OUT [--pairs PAIRS.csv]
writes into OUT: subjects.png, every photograph of FOLDER beside its subject, found by itself; clips.png, every clip's
automatic frames A and B with the masks of what moves; and with a list of `clip,photo` lines, names in FOLDER,
transfers.png, each transfer's clip frames, photo and result. `realworld_photos.csv` lists forty photographs by source
and hash; where FOLDER holds those under their names, points.png shows what is found at the points of
`realworld_points.csv`, whose outlines were drawn by eye, and how many are the right object (overlap 0.7) is printed.
What is refused stands on the sheet with its reason.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.errors import MTransferError
from mtransfer.jobs.recipe import TransferRecipe
from mtransfer.jobs.render import Panels
from mtransfer.jobs.transfer import prepare_transfer, transfer
from mtransfer.log import say
from mtransfer.media.contact_sheet import sheet
from mtransfer.media.photo.photo import read_photo, save_png
from mtransfer.media.video import ClipReader
from mtransfer.subject.regions import Region, overlap
from mtransfer.subject.segment import find_subject, segment
from mtransfer.subject.subject import with_mask

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
CLIPS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
POINTS = Path(__file__).with_name("realworld_points.csv")
RIGHT = 0.7  # overlap with an outline
SIDE_PX = 320
SHADE = 0.25  # of what is not the subject
NEUTRAL_PX = 128  # a side of the photo that stands for any, where only the clip matters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--pairs", type=Path)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    files = sorted(options.folder.iterdir())
    photos = [path for path in files if path.suffix.lower() in PHOTOS]
    clips = [path for path in files if path.suffix.lower() in CLIPS]
    _write(_subjects(photos), options.output / "subjects.png")
    _write(_points(options.folder), options.output / "points.png")
    _write(_clips(clips, options.output), options.output / "clips.png")
    if options.pairs:
        pairs = [(options.folder / row[0], options.folder / row[1]) for row in csv.reader(options.pairs.open()) if row]
        _write(_transfers(pairs), options.output / "transfers.png")


def _write(panels: Iterator[tuple[str, Tensor]], path: Path) -> None:
    shown: Panels = []
    for label, image in panels:
        say(label)
        shown.append((label[:48], _small(image)))
    if shown:
        save_png(sheet(shown), path)


def _small(image: Tensor) -> Tensor:
    scale = SIDE_PX / max(image.shape[-2:])
    size = [max(1, round(side * scale)) for side in image.shape[-2:]]
    return F.interpolate(image[None], size, mode="area" if scale < 1 else "bilinear")[0]


def _subjects(photos: Sequence[Path]) -> Iterator[tuple[str, Tensor]]:
    """Each photograph, all but its subject darkened."""
    for path in photos:
        try:
            photo = read_photo(path)
            found = find_subject(photo.image, "auto", photo.alpha)
        except MTransferError as error:
            yield f"{path.name}: {error}", torch.zeros(3, SIDE_PX, SIDE_PX)
            continue
        mask = found.subject.mask
        yield f"{path.name} ({max(1, len(found.objects))})", photo.image * (SHADE + (1 - SHADE) * mask)


def _points(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """What is found at each point of the list, and its overlap with the outline; the count of right ones is printed."""
    rows = [row for row in csv.DictReader(POINTS.open()) if (folder / row["photo"]).is_file()]
    right = 0
    for row in rows:
        image = read_photo(folder / row["photo"]).image
        height, width = image.shape[-2:]
        try:
            mask = segment(image, f"{float(row['x']) * width:.1f},{float(row['y']) * height:.1f}").mask
        except MTransferError as error:
            yield f"{row['photo']}, {row['object']}: {error}", torch.zeros(3, SIDE_PX, SIDE_PX)
            continue
        wanted = polygons(row["outline"], height, width) & ~polygons(row["holes"], height, width)
        found = overlap(mask[0].numpy() > 0.5, wanted)
        right += found >= RIGHT
        yield f"{found:.2f} {row['photo']}, {row['object']}", image * (SHADE + (1 - SHADE) * mask)
    if rows:
        say(f"{right} of {len(rows)} points are the right object")


def polygons(text: str, height: int, width: int) -> Region:
    """The region bool[H,W] in polygons `x y x y ...` of the picture's width and height, parted by `;`."""
    filled = np.zeros((height, width), np.uint8)
    for part in text.split(";"):
        corners = np.array(part.split(), float).reshape(-1, 2) * (width, height)
        if len(corners):
            cv2.fillPoly(filled, [corners.round().astype(np.int32)], 1)
    return filled > 0


def _clips(clips: Sequence[Path], folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Each clip's frames A and B with the masks of its subject."""
    stand_in = folder / ".neutral.png"
    save_png(torch.full((3, NEUTRAL_PX, NEUTRAL_PX), 0.5), stand_in)
    for path in clips:
        yield from _transferred(path, stand_in, "all", count=2)
    stand_in.unlink()


def _transfers(pairs: Sequence[tuple[Path, Path]]) -> Iterator[tuple[str, Tensor]]:
    for clip, photo in pairs:
        yield from _transferred(clip, photo, "auto", count=None)


def _transferred(clip: Path, photo: Path, subject: str, count: int | None) -> Iterator[tuple[str, Tensor]]:
    """The first `count` pictures of what a transfer goes by, or those of its clip, photo and result."""
    try:
        recipe = TransferRecipe.build({"clip": clip, "photo": photo, "subject": subject, "preset": "draft"}, [])
        if count is not None:
            prepared = prepare_transfer(recipe)
            panels = prepared.panels[:count]
        else:
            output = transfer(recipe)
            panels = [*output.panels[:2], ("photo", with_mask(output.subject.image, output.subject.mask))]
            panels.append(("result", output.frames[0]))
    except MTransferError as error:
        yield f"{clip.name}, {photo.name}: {error}", torch.zeros(3, SIDE_PX, SIDE_PX)
        return
    for label, image in panels:
        yield f"{clip.stem} of {ClipReader(clip).clip.frame_count}: {label}", image


if __name__ == "__main__":
    main()
