"""How well a clip's motion is carried onto a photo's subject: MotionBench's clip cases, whose truth is known.

python -m benchmarks.retargeting [--flow-model auto|embedded|raft_large|dis] [--split reported|tuning] [--json FILE]
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.motionbench import ClipCase, load_clip_cases
from benchmarks.statistics import interval
from mtransfer.console import strict_json
from mtransfer.errors import InputError
from mtransfer.field import FlowField
from mtransfer.flow import estimate_field
from mtransfer.guidance import FlowModel
from mtransfer.models import load_reader
from mtransfer.retarget import camera_flow, fit_similarity, moving_subject, retarget, without_camera
from mtransfer.subject import Subject, subject_from_mask


def carried(case: ClipCase, field: FlowField, *, clip_mask_known: bool) -> Tensor:
    """The flow [1,2,H,W] on the photo: the clip's subject found, or known, the camera taken off, the motion carried."""
    frame = case.frames[0]
    if clip_mask_known:
        subject = subject_from_mask(frame, case.clip_masks[0])
        camera = camera_flow(field, 1 - subject.mask)
    else:
        subject, camera = moving_subject(frame, field)
    photo = Subject(case.photo[0], case.photo_mask[0], (0.0, 0.0, 0.0, 0.0))
    still = FlowField(without_camera(field.flow, camera), field.confidence)
    return retarget(still, fit_similarity(subject, photo), subject.mask, photo.mask, 1.0).flow


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


def measure(case: ClipCase, model: FlowModel) -> dict[str, dict[str, float] | None]:
    """Errors by what was known: nothing, the clip's subject, or its flow as well. None where nothing was found."""
    read = estimate_field(model, case.frames[:1], case.frames[-1:])
    exact = FlowField.from_flow(case.clip_flow)
    found: dict[str, dict[str, float] | None] = {}
    for name, field, known in (("whole path", read, False), ("subject known", read, True), ("flow known", exact, True)):
        try:
            found[name] = errors(case, carried(case, field, clip_mask_known=known))
        except InputError:
            found[name] = None
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flow-model", default="auto")
    parser.add_argument("--split", choices=("reported", "tuning"), default=None)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    model = load_reader(options.flow_model, torch.device("cpu"))
    rows = {case.name: {"camera": case.camera, **measure(case, model)} for case in load_clip_cases(options.split)}
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
