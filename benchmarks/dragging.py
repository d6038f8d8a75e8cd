"""Does dragging move its handles: how far they are from their targets before and after, on MotionBench.

python -m benchmarks.dragging [-o OUT] [--cases N] [--split reported|tuning]
prints a row a case; writes OUT/dragging.json and OUT/dragging.png.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.cases import Problem, benchmark_problems
from mtransfer.evaluation.drag import drag
from mtransfer.evaluation.metrics import flow_error
from mtransfer.flow.loading import load_judge
from mtransfer.flow.visualize import with_flow
from mtransfer.media.contact_sheet import sheet
from mtransfer.media.photo.photo import save_png
from mtransfer.sampling.loading import load_pipeline
from mtransfer.strict_json import save_json

CPU = torch.device("cpu")
COLUMNS = ("handles", "updates", "before_px", "after_px", "share_left", "asked_px", "raft_error_px", "seconds")


def measure(problem: Problem, model: str) -> tuple[dict[str, float], Tensor]:
    """A case's row and its dragged picture.

    `asked_px` is how far the subject's points should go on average, `raft_error_px` how far, by RAFT, the picture's are
    from there: whether the picture followed what the handles' features claim.
    """
    started = time.monotonic()
    found = drag(load_pipeline(model, CPU, torch.float32), problem.photo, problem.flow, problem.mask)
    seconds = time.monotonic() - started
    before, after = float(found.before_px.mean()), float(found.after_px.mean())
    raft = load_judge("auto", CPU)
    errors = flow_error(raft, problem.photo, found.image, problem.flow, problem.mask)
    asked = float(problem.flow.norm(dim=1)[problem.mask[:, 0] > 0.5].mean())
    row = {"handles": len(found.before_px), "updates": found.updates, "before_px": before, "after_px": after}
    row |= {"share_left": after / before, "asked_px": asked, "raft_error_px": errors["mean_px"]}
    return row | {"seconds": seconds}, found.image


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("out/dragging"))
    parser.add_argument("--cases", type=int, default=6, help="how many kinds of motion, one case of each")
    parser.add_argument("--split", choices=("reported", "tuning"), default="reported")
    parser.add_argument("--model", default="embedded")
    options = parser.parse_args(arguments)
    print(f"| case | {' | '.join(COLUMNS)} |\n{'| --- ' * (1 + len(COLUMNS))}|")
    rows, panels = {}, []
    for problem in benchmark_problems(options.split, quick=True)[: options.cases]:
        rows[problem.name], image = measure(problem, options.model)
        print(f"| {problem.name} | {' | '.join(f'{rows[problem.name][name]:.4g}' for name in COLUMNS)} |", flush=True)
        truth = problem.photo if problem.after is None else problem.after
        panels += [(problem.name, with_flow(problem.photo[0], problem.flow[0])), ("truth", truth[0])]
        panels.append(("dragged", image[0]))
    shares = [row["share_left"] for row in rows.values()]
    mean = sum(row["after_px"] for row in rows.values()) / sum(row["before_px"] for row in rows.values())
    halved = sum(share <= 0.5 for share in shares)
    print(f"\nmean handle distance: {mean:.0%} of what it was; at most half in {halved} of {len(rows)} cases")
    options.output.mkdir(parents=True, exist_ok=True)
    save_json({"cases": rows, "share_left": mean}, options.output / "dragging.json")
    save_png(sheet(panels, columns=6), options.output / "dragging.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
