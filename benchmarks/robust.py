"""MotionBench with flow files as people have them: no masks, drawn coarsely, read by an estimator, rounded.

python -m benchmarks.robust -o OUT [--against MTRANSFER]

Each edit is the command's, by this build and by another one's executable; PSNR in dB against the truth within the box
that the subject leaves and comes to, and `sheet.png` with flow, results and truth.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.motionbench import Case, load_cases
from mtransfer.flow.estimator import estimate
from mtransfer.flow.field import FlowField
from mtransfer.flow.interpolate import fill_motion
from mtransfer.flow.io import save_field
from mtransfer.flow.loading import load_reader
from mtransfer.flow.visualize import with_flow
from mtransfer.media.contact_sheet import sheet
from mtransfer.media.crop import window
from mtransfer.media.photo.photo import read_photo, save_png

THIS = str(Path(sys.executable).parent / "mtransfer")
MOTIONS = ("translate", "rotate", "scale", "deform")
AROUND = 0.1  # of the box, on every side
CORNERS, LOOSEST = 6, 1.25


def polygon(case: Case) -> Tensor:
    """The motion of all within a loose hexagon about the subject."""
    hull = cv2.convexHull(cv2.findNonZero(_inside(case)))[:, 0].astype(float)
    corners = hull[np.linspace(0, len(hull) - 1, CORNERS + 1).astype(int)[:-1]]
    corners = corners.mean(axis=0) + np.linspace(1.0, LOOSEST, CORNERS)[:, None] * (corners - corners.mean(axis=0))
    return _carried_on(case) * _as_mask(cv2.fillPoly(0 * _inside(case), [corners.round().astype(np.int32)], 1))


def rectangle(case: Case) -> Tensor:
    """The motion of all within a box that cuts a little of the subject off on two sides."""
    x, y, width, height = cv2.boundingRect(_inside(case))
    box = 0 * _inside(case)
    box[y + height // 12 : y + height + height // 12, max(0, x - width // 12) : x + width - width // 12] = 1
    return _carried_on(case) * _as_mask(box)


def frame(case: Case) -> Tensor:
    """What an estimator reads between the picture and its truth, at every pixel."""
    found = estimate(load_reader("auto", torch.device("cpu")), case.source, case.after)
    return torch.where(found == 0, 1e-3, found)


def rounded(case: Case) -> Tensor:
    """The true flow in whole pixels: zero along lines of what turns or grows."""
    return case.true_flow.round()


KINDS: dict[str, Callable[[Case], Tensor]] = {each.__name__: each for each in (polygon, rectangle, frame, rounded)}


def _inside(case: Case) -> np.ndarray:
    return (case.subject[0, 0] > 0.5).numpy().astype(np.uint8)


def _as_mask(region: np.ndarray) -> Tensor:
    return torch.from_numpy(region)[None, None].float()


def _carried_on(case: Case) -> Tensor:
    return fill_motion(case.true_flow, (case.subject > 0.5).float())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write cases and results, print a table; 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robust", description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the cases and the sheet")
    parser.add_argument("--against", metavar="MTRANSFER", help="another build's executable")
    options = parser.parse_args(arguments)
    builds = {"other": options.against} if options.against else {}
    cases = [case for case in load_cases() if case.medium == "photographs" and case.kind in MOTIONS]
    print(f"| PSNR, dB | {' | '.join([*builds, 'this'])} |\n| --- {'| --- ' * (len(builds) + 1)}|")
    panels = []
    for kind, drawn in KINDS.items():
        figures = []
        for case in cases:
            results = edited(case, drawn(case), options.output / kind / case.name, {**builds, "this": THIS})
            figures.append([psnr_db(case, result) for result in results.values()])
            panels += [(f"{kind} {name}", each) for name, each in results.items()]
            panels += [("flow", with_flow(case.source[0], drawn(case)[0])), ("truth", case.after[0])]
        print(f"| {kind} | {' | '.join(f'{value:.2f}' for value in np.mean(figures, axis=0))} |", flush=True)
    save_png(sheet(panels, columns=2 * (len(builds) + 3)), options.output / "sheet.png")
    return 0


def edited(case: Case, flow: Tensor, folder: Path, builds: dict[str, str]) -> dict[str, Tensor]:
    """The edit [3,H,W] of a case by a flow file, as each build's command makes it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_png(case.source[0], folder / "photo.png")
    save_field(FlowField.from_flow(flow), folder / "flow.npz")
    found = {}
    for name, executable in builds.items():
        command = [executable, "edit", "photo.png", "--flow", "flow.npz", "--preset", "draft", "-o", name]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        found[name] = read_photo(folder / name / "edited.png").image
    return found


def psnr_db(case: Case, result: Tensor) -> float:
    """Of a result [3,H,W] in [0,1] in the box about the subject before and after."""
    rows, columns = window(torch.maximum(case.subject, case.target), AROUND)
    return float(-10 * torch.log10((result - case.after[0])[:, rows, columns].square().mean()))


if __name__ == "__main__":
    raise SystemExit(main())
