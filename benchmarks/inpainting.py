"""How a hole in a photograph is filled: beside the truth, and beside OpenCV's Telea.

python -m benchmarks.inpainting FOLDER -o OUT [--side 1000]
FOLDER holds the photographs of `inpainting_holes.csv` under their names; the list says where they come from. Writes
OUT/inpainting.png (hole, ours, Telea, truth) and prints medians: gradient energy inside the hole and the step across
its border, both over the truth's, the PSNR inside, and seconds.
"""

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.media.contact_sheet import sheet
from mtransfer.media.crop import window
from mtransfer.media.photo.photo import read_photo, save_png
from mtransfer.media.quantize import from_uint8, to_uint8
from mtransfer.sampling.composite import inpaint

HOLES = Path(__file__).with_name("inpainting_holes.csv")
RIM_PX = 3  # of a hole, that is left out of its gradient energy
TELEA_PX = 5
AROUND = 0.7  # of a hole, that a sheet shows beside it
FIGURES = ("gradient energy", "step", "PSNR, dB", "seconds")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--side", type=int, default=1000, help="long side in pixels of larger photographs")
    options = parser.parse_args(arguments)
    methods: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"ours": inpaint, "Telea": telea}
    figures: dict[str, list[list[float]]] = {name: [] for name in methods}
    panels = []
    with HOLES.open(encoding="utf-8") as file:
        for place, row in enumerate(csv.DictReader(file)):
            truth = _shrunk(read_photo(options.folder / row["photo"]).image[None], options.side)
            x, y, radius_x, radius_y = (float(row[key]) for key in ("x", "y", "radius_x", "radius_y"))
            hole = blot(truth, x, y, radius_x, radius_y, place)
            rows, columns = window(hole, AROUND)
            seen = {f"{row['kind']}: hole": torch.where(hole > 0, torch.tensor(1.0), truth)}
            for name, fill in methods.items():
                started = time.perf_counter()
                seen[name] = fill(truth * (1 - hole), hole)
                figures[name].append([*measured(seen[name], truth, hole), time.perf_counter() - started])
            panels += [(name, each[0][:, rows, columns]) for name, each in {**seen, "truth": truth}.items()]
    print(f"| medians | {' | '.join(FIGURES)} |\n| --- {'| --- ' * len(FIGURES)}|")
    for name, found in figures.items():
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in np.median(np.array(found), axis=0))} |")
    options.output.mkdir(parents=True, exist_ok=True)
    save_png(sheet(panels, columns=2 * (len(methods) + 2)), options.output / "inpainting.png")
    return 0


def blot(image: Tensor, x: float, y: float, radius_x: float, radius_y: float, seed: int) -> Tensor:
    """An ellipse [1,1,H,W] with a wavy outline, its numbers shares of the picture's sides."""
    height, width = image.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    down, right = (rows - y * height) / (radius_y * height), (columns - x * width) / (radius_x * width)
    angle = torch.atan2(down, right)
    outline = 1 + 0.12 * torch.sin(3 * angle + seed) + 0.06 * torch.sin(7 * angle + 2 * seed)
    return (torch.hypot(right, down) < outline).float()[None, None]


def telea(image: Tensor, hole: Tensor) -> Tensor:
    """Telea, An image inpainting technique based on the fast marching method, 2004."""
    inside = hole[0, 0].numpy().astype(np.uint8)
    return from_uint8(cv2.inpaint(to_uint8(image[0]), inside, TELEA_PX, cv2.INPAINT_TELEA))[None]


def measured(filled: Tensor, truth: Tensor, hole: Tensor) -> tuple[float, float, float]:
    """Gradient energy and border step over the truth's, and the PSNR in dB, of one fill."""
    deep = -F.max_pool2d(-hole, 2 * RIM_PX + 1, stride=1, padding=RIM_PX)[..., 1:, 1:] > 0
    energies, steps = [], []
    for picture in (filled, truth):
        grey = picture.mean(dim=1, keepdim=True)
        right, down = grey.diff(dim=-1)[..., 1:, :], grey.diff(dim=-2)[..., :, 1:]
        energies.append(float((right.square() + down.square())[deep].mean()))
        over_x, over_y = hole.diff(dim=-1)[..., 1:, :] != 0, hole.diff(dim=-2)[..., :, 1:] != 0
        steps.append(float(torch.cat([right[over_x].abs(), down[over_y].abs()]).mean()))
    error = (filled - truth)[(hole > 0).expand_as(truth)].square().mean()
    return energies[0] / energies[1], steps[0] / steps[1], float(-10 * torch.log10(error))


def _shrunk(image: Tensor, side: int) -> Tensor:
    scale = min(1.0, side / max(image.shape[-2:]))
    return F.interpolate(image, [round(length * scale) for length in image.shape[-2:]], mode="area")


if __name__ == "__main__":
    raise SystemExit(main())
