"""How good the edits are: methods by metrics and region, on MotionBench or on folders of cases.

python -m benchmarks.quality [CASES...] -o OUT [--quick] [--methods fast,warp] [--split reported|tuning]
                             [--automatic FOLDER] [--results docs/results.md]
writes OUT/quality.md, quality.json, quality.png (flow error against fidelity), paper.png (the paper's two figures: flow
loss against likeness) and sheet.png; with a FOLDER made by `benchmarks.automatic` that set too, as automatic.*.
With --results the page's sections on both sets are written anew; all else in it stays as it is.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.cases import Problem, benchmark_problems, read_problems
from benchmarks.figures import figures_of
from benchmarks.report import markdown, plot, plot_paper, put_section, save_sheet
from benchmarks.statistics import Rows, differences, interval
from mtransfer.errors import MTransferError
from mtransfer.evaluation.methods import METHODS, SAMPLED, known_methods, run_method
from mtransfer.evaluation.methods import Problem as Asked
from mtransfer.flow.loading import load_flow_model, load_judge
from mtransfer.sampling.loading import load_pipeline
from mtransfer.sampling.settings import SamplerSettings
from mtransfer.strict_json import strict_json
from mtransfer.subject.mask_refinement import snapped_along

USUAL = "warp,warp_telea,sdedit_photo,sdedit_warp,repaint,drag,draft,fast_unguided,fast_guided,fast"
QUICK = "warp,warp_telea,sdedit_warp,drag,draft,fast_unguided,fast_guided,fast"
CPU = torch.device("cpu")
COMPARED = ("flow_dis_px", "flow_raft_px", "subject_ssim", "vacated_ssim", "seam_ssim", "subject_psnr_db")


def run(problems: list[Problem], methods: list[str], model: str) -> tuple[Rows, dict[str, dict[str, Tensor]]]:
    """Figures and pictures by case and method."""
    pipe = load_pipeline(model, CPU, torch.float32)
    chosen = SamplerSettings.from_preset("fast")
    guide = load_flow_model("auto", chosen.flow_updates, chosen.flow_levels, CPU)
    rows: Rows = {}
    results: dict[str, dict[str, Tensor]] = {}
    for problem in problems:
        results[problem.name], rows[problem.name] = dict(problem.others), {}
        for name in methods:
            started = time.monotonic()
            results[problem.name][name], evaluations = run_method(name, _asked(name, problem), pipe, guide)
            rows[problem.name][name] = {"seconds": time.monotonic() - started, "evaluations": float(evaluations)}
        for name, result in results[problem.name].items():
            raft = load_judge("auto", CPU)
            rows[problem.name].setdefault(name, {}).update(figures_of(problem, result, raft))
        print(f"{problem.name}: done", file=sys.stderr, flush=True)
    return rows, results


def guidance_gain(rows: Rows) -> str:
    """What guidance adds to the same run without it: mean difference with its interval."""
    lines = [
        "**`fast`, guided, minus the same run with guidance weight 0**",
        "",
        "| figure | difference |",
        "| --- | --- |",
    ]
    for figure in COMPARED:
        mean, low, high = interval(differences(rows, "fast_guided", "fast_unguided", figure))
        lines.append(f"| {figure} | {mean:+.4f} ({low:+.4f} to {high:+.4f}) |")
    return "\n".join([*lines, ""])


def _asked(name: str, problem: Problem) -> Asked:
    """A case as the tool would put it to a method: masks that miss the photo's edges are drawn to them first."""
    preset, changes = SAMPLED.get(name, ("paper", {"snap_mask": False}))
    flow, mask = problem.flow, problem.mask
    if SamplerSettings.from_preset(preset, **changes).snap_mask:
        flow, mask = snapped_along(problem.photo, flow, mask) or (flow, mask)
    return Asked(problem.photo, flow, mask)


def text_of(problems: list[Problem], rows: Rows, methods: list[str]) -> str:
    """The whole report in Markdown: all cases, and those with imperfect guidance apart."""
    parts = [f"## All {len(problems)} cases", "", markdown(rows, methods)]
    imperfect = {problem.name: rows[problem.name] for problem in problems if problem.imperfect}
    if imperfect:
        parts += [f"## The {len(imperfect)} cases with imperfect guidance", "", markdown(imperfect, methods)]
        if {"fast_guided", "fast_unguided"} <= set(methods):
            parts.append(guidance_gain(imperfect))
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", type=Path, help="folders of cases [default: MotionBench]")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/quality"))
    parser.add_argument("--split", choices=("reported", "tuning"), default="reported")
    parser.add_argument("--methods", default="", help=f"of {', '.join(METHODS)} [default: {USUAL}]")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--automatic", type=Path, help="a folder made by benchmarks.automatic, measured too")
    parser.add_argument("--results", type=Path, help="a Markdown page whose tables are to be these")
    parser.add_argument("--quick", action="store_true", help="a case of each kind, without the slow methods")
    parser.add_argument("--count", type=int, default=0, help="so many of the cases, spread over all of them")
    options = parser.parse_args(arguments)
    try:
        methods = known_methods(options.methods or (QUICK if options.quick else USUAL))
        problems = read_problems(options.cases) if options.cases else benchmark_problems(options.split, options.quick)
        if options.count:
            problems = [problems[round(place)] for place in np.linspace(0, len(problems) - 1, options.count)]
        others = read_problems([options.automatic]) if options.automatic else []
        sets = [("quality", "curated", problems), *([("automatic", "automatic", others)] if others else [])]
        found = {title: _measured(name, some, methods, options) for name, title, some in sets}
    except MTransferError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    plot_paper(found, methods, options.output / "paper.png")
    if options.results:
        for title, rows in found.items():
            head = "MotionBench" if title == "curated" else "The automatic set"
            half = f", {options.split} half" if title == "curated" else ""
            name = "quality" if title == "curated" else "automatic"
            text = (options.output / f"{name}.md").read_text(encoding="utf-8")
            put_section(options.results, head, f"## {head}{half}: {len(rows)} edits\n\n{text}")
    return 0


def _measured(name: str, problems: list[Problem], methods: list[str], options: argparse.Namespace) -> Rows:
    """Run a set of cases; its tables, figure and sheet go into the output folder under its name."""
    rows, results = run(problems, methods, options.model)
    names = [*dict.fromkeys([*methods, *(each for row in rows.values() for each in row)])]
    options.output.mkdir(parents=True, exist_ok=True)
    text = text_of(problems, rows, names)
    (options.output / f"{name}.md").write_text(text, encoding="utf-8")
    (options.output / f"{name}.json").write_text(strict_json(rows, indent=1) + "\n", encoding="utf-8")
    plot(rows, names, options.output / f"{name}.png")
    save_sheet(problems, results, names, options.output / ("sheet.png" if name == "quality" else f"{name}_sheet.png"))
    print(text)
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
