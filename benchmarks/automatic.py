"""A set of real edits from videos, nobody choosing: frame A, the flow of what moves in it, frame B as the truth.

python -m benchmarks.automatic FOLDER -o OUT [--each N] [--side PX]
writes a folder a pair, as `benchmarks.quality` reads them (src, true, mask .png, flow.npz, case.json), and sheet.png.
After the automatic set that Motion Guidance (Geng and Owens, ICLR 2024) took from KITTI: flow is estimated, so a pair
is kept only where it agrees with itself, one thing moves far enough, and the camera stands still.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mtransfer.errors import InputError, MTransferError
from mtransfer.flow.estimator import FlowModel, estimate_field
from mtransfer.flow.field import FlowField
from mtransfer.flow.io import save_field
from mtransfer.flow.loading import load_reader
from mtransfer.flow.visualize import with_flow
from mtransfer.flow.warp import dilate
from mtransfer.log import say
from mtransfer.media.clip_position import require_pair
from mtransfer.media.contact_sheet import sheet
from mtransfer.media.photo.photo import save_png
from mtransfer.media.video import ClipReader
from mtransfer.motion.camera import camera_flow, fit_cameras
from mtransfer.motion.motion_segmentation import moving_subjects, subject_motion_px, sure_places
from mtransfer.sampling.model_folder import EMBEDDED_SIDE_PX
from mtransfer.strict_json import save_json

SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
GAPS = (6, 12, 24)  # frames from A to B, the shortest that moves far enough
NEAREST_SHARE, FURTHEST_SHARE = 0.04, 0.3  # of the long side, by which the subject must move
SURE_SHARE = 0.5  # of the subject that both directions of the flow must agree on
CAMERA_PX = 1.5  # mean motion of the background that counts as standing still
HALO_SHARE = 0.03  # of the long side around the subject: flow there is both


@dataclass(frozen=True, eq=False)
class Pair:
    """Two frames of a clip, float32[3,H,W] in [0,1], the subject's mask [1,H,W], and its flow from the first on."""

    name: str
    first: Tensor
    second: Tensor
    mask: Tensor
    field: FlowField
    motion_px: float


def videos(folder: Path) -> list[Path]:
    """The videos of a folder, by name. Raises InputError when there is none."""
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise InputError(f"{folder}: no videos; name a folder that holds some ({' '.join(SUFFIXES)})")
    return found


def pairs_of(path: Path, reader: FlowModel, each: int, side_px: int) -> Iterator[Pair]:
    """Up to `each` pairs of a clip, from starts evenly along it; says why a start gives none."""
    clip_reader = ClipReader(path)
    require_pair(clip_reader.clip)
    for start in np.linspace(0, clip_reader.clip.frame_count - 1, each + 1).astype(int)[:-1].tolist():
        pair, why = _first_good(clip_reader, start, reader, side_px)
        if pair is not None:
            yield pair
        else:
            say(f"{path.name}, frame {start}: {why}; left out")


def _first_good(clip_reader: ClipReader, start: int, reader: FlowModel, side_px: int) -> tuple[Pair | None, str]:
    why = "the clip ends"
    for gap in (gap for gap in GAPS if start + gap < clip_reader.clip.frame_count):
        frames = clip_reader.read([start, start + gap], long_side=min(side_px, max(clip_reader.clip.size)))
        try:
            pair = judged(f"{clip_reader.path.stem}_{start}_{start + gap}", frames, reader)
        except InputError as error:
            why = str(error).split(";")[0]
            continue
        return pair, ""
    return None, why


def judged(name: str, frames: Tensor, reader: FlowModel) -> Pair:
    """The pair of two frames [2,3,H,W] with its subject and flow. Raises InputError, which says why it is not kept."""
    field = estimate_field(reader, frames[:1], frames[1:])
    subject = moving_subjects(frames[0], field, sure=sure_places(frames[0]))[0]
    mask, side = (subject.mask > 0.5).float(), max(field.size)
    around = 1 - dilate(mask[None], round(HALO_SHARE * side))[0]
    camera = camera_flow(fit_cameras(field, around)[0], field.flow)
    drift_px = float(camera.norm(dim=1)[0][around[0] > 0].mean())
    (motion_px,), (sure,) = subject_motion_px(subject, field)
    if drift_px > CAMERA_PX:
        raise InputError(f"the camera moves by {drift_px:.1f} px")
    if not NEAREST_SHARE * side <= motion_px <= FURTHEST_SHARE * side:
        raise InputError(
            f"the subject moves by {motion_px:.1f} px, not {NEAREST_SHARE * side:.0f} to {FURTHEST_SHARE * side:.0f}"
        )
    if sure < SURE_SHARE:
        raise InputError(f"the flow agrees with itself on {sure:.0%} of the subject")
    moved = FlowField(field.flow * mask, field.confidence * mask)
    return Pair(name, frames[0], frames[1], mask, moved, motion_px)


def write_pair(pair: Pair, folder: Path) -> None:
    """A pair as the files of a case."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in (("src", pair.first), ("true", pair.second), ("mask", pair.mask.expand(3, -1, -1))):
        save_png(picture, folder / f"{name}.png")
    save_field(pair.field, folder / "flow.npz")
    save_json({"motion_px": pair.motion_px}, folder / "case.json")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of videos")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/automatic"))
    parser.add_argument("--each", type=int, default=3, help="pairs of one video, at most")
    parser.add_argument("--side", type=int, default=EMBEDDED_SIDE_PX, help="long side of the frames, pixels")
    options = parser.parse_args(arguments)
    panels = []
    try:
        reader = load_reader("auto", torch.device("cpu"))
        for path in videos(options.folder):
            for pair in pairs_of(path, reader, options.each, options.side):
                write_pair(pair, options.output / pair.name)
                print(f"{options.output / pair.name}: {pair.motion_px:.1f} px", flush=True)
                panels += [(pair.name, pair.first), ("flow", with_flow(pair.first, pair.field.flow[0]))]
                panels.append(("true", pair.second))
        if not panels:
            raise MTransferError(f"{options.folder}: no pair of frames was kept")
    except MTransferError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    save_png(sheet(panels, columns=6), options.output / "sheet.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
