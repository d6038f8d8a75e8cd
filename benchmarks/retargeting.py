"""How well a clip's motion is carried onto a photo's subject: MotionBench's clip cases, whose truth is known.

python -m benchmarks.retargeting [--flow-model auto|embedded|raft_large|dis] [--split reported|tuning] [--json FILE]
"""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.motionbench import CLIP_FPS, ClipCase, load_clip_cases
from benchmarks.statistics import interval
from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField
from mtransfer.jobs.context import start
from mtransfer.jobs.recipe import TransferRecipe
from mtransfer.media.photo.photo import save_png
from mtransfer.media.video_writer import write_video
from mtransfer.motion.camera import fit_cameras, without_camera
from mtransfer.motion.clip_motion import read_motion, retargeted
from mtransfer.motion.retarget import fit_similarity, retarget
from mtransfer.strict_json import strict_json
from mtransfer.subject.subject import Subject, subject_from_mask


def read_and_carried(case: ClipCase, flow_model: str, *, clip_mask_known: bool) -> Tensor:
    """The flow [1,2,H,W] on the photo, by the tool's own path from a clip file; the clip's subject found, or known."""
    with tempfile.TemporaryDirectory(prefix="mtransfer-") as folder:
        clip, mask, photo = (Path(folder) / name for name in ("clip.mp4", "mask.png", "photo.png"))
        write_video(case.frames, clip, CLIP_FPS)
        save_png(case.clip_masks[0].expand(3, -1, -1), mask)
        save_png(case.photo[0], photo)
        given = {"clip": clip, "photo": photo, "flow_model": flow_model, "device": "cpu"}
        subject = {"clip_subject": str(mask)} if clip_mask_known else {}
        run, _ = start(TransferRecipe, TransferRecipe.build(given | subject, []))
        subjects = (_photo_subject(case),)
        motion = read_motion(run.clip_reader, run.clip_motion_options(), subjects, [len(case.frames) - 1], 0)
        return retargeted(motion, subjects, 0).flow


def known_and_carried(case: ClipCase) -> Tensor:
    """The same where the clip's flow and its subject are known."""
    subject, field = subject_from_mask(case.frames[0], case.clip_masks[0]), FlowField.from_flow(case.clip_flow)
    still = without_camera(field.flow, fit_cameras(field, 1 - subject.mask))
    photo = _photo_subject(case)
    own = FlowField(still, field.confidence)
    return retarget(own, fit_similarity(subject, photo), subject.mask, photo.mask, 1.0).flow


def _photo_subject(case: ClipCase) -> Subject:
    return subject_from_mask(case.photo[0], case.photo_mask[0])


def errors(case: ClipCase, flow: Tensor) -> dict[str, float]:
    """Inside the subject: the end-point error as a share of the mean motion, and the mean angle between them."""
    inside = case.photo_mask[0, 0] > 0.5
    found, truth = (each[0][:, inside] for each in (flow, case.true_flow))
    motion = truth.norm(dim=0)
    cosine = torch.nn.functional.cosine_similarity(found, truth, dim=0).clamp(-1, 1)
    moving = motion > 0.25 * motion.mean()  # near the centre of a turn the direction means nothing
    return {
        "error_share": float((found - truth).norm(dim=0).mean() / motion.mean()),
        "direction_deg": float(torch.rad2deg(torch.acos(cosine))[moving].mean()),
    }


def measure(case: ClipCase, flow_model: str) -> dict[str, dict[str, float] | None]:
    """Errors by what was known: nothing, the clip's subject, or its flow as well. None where nothing was found."""
    ways = {
        "whole path": lambda: read_and_carried(case, flow_model, clip_mask_known=False),
        "subject known": lambda: read_and_carried(case, flow_model, clip_mask_known=True),
        "flow known": lambda: known_and_carried(case),
    }
    found: dict[str, dict[str, float] | None] = {}
    for name, carry in ways.items():
        try:
            found[name] = errors(case, carry())
        except InputError:
            found[name] = None
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flow-model", default="auto")
    parser.add_argument("--split", choices=("reported", "tuning"), default=None)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    cases = load_clip_cases(options.split)
    rows = {case.name: {"camera": case.camera, **measure(case, options.flow_model)} for case in cases}
    print(table(rows))
    if options.json:
        options.json.write_text(strict_json(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def table(rows: dict[str, dict]) -> str:
    """Markdown: mean error as a share of the motion, and direction, with a still and with a moving camera."""
    lines = ["| known | camera | cases | error / motion | direction, degrees | not found |", "| --- " * 6 + "|"]
    for name in ("whole path", "subject known", "flow known"):
        for camera, chosen in (("still", lambda c: c == "still"), ("moving", lambda c: c != "still")):
            found = [row[name] for row in rows.values() if chosen(row["camera"])]
            there = [each for each in found if each is not None]
            cells = [_cell([each[key] for each in there]) for key in ("error_share", "direction_deg")]
            lines.append(f"| {name} | {camera} | {len(found)} | {' | '.join(cells)} | {len(found) - len(there)} |")
    return "\n".join([*lines, ""])


def _cell(values: list[float]) -> str:
    mean, low, high = interval(values)
    return f"{mean:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    raise SystemExit(main())
