"""One job from recipe to result files."""

import platform
from pathlib import Path
from typing import Any

import diffusers
import torch
import torchvision

from mtransfer import __version__
from mtransfer.console import Report
from mtransfer.fieldio import save_field
from mtransfer.output import save_json, save_png, staged
from mtransfer.preview import sheet
from mtransfer.recipe import EditRecipe, Recipe, TransferRecipe
from mtransfer.transfer import TransferOutput, edit, transfer


def run_to_folder(recipe: Recipe, out: Path, *, overwrite: bool, report: Report) -> dict[str, Any]:
    """Do the job and write edited.png, preview.png, flow.npz and run.json into `out`; returns what to print."""
    with staged(out, overwrite=overwrite) as stage:
        if isinstance(recipe, TransferRecipe):
            output = transfer(recipe, report)
        else:
            assert isinstance(recipe, EditRecipe)
            output = edit(recipe, report)
        save_png(output.frames[0], stage / "edited.png", output.icc_profile)
        save_png(sheet(output.panels), stage / "preview.png")
        save_field(output.flow, stage / "flow.npz")
        save_json(_record(output), stage / "run.json")
    return _summary(output, out)


def _record(output: TransferOutput) -> dict[str, Any]:
    return {
        "recipe": output.recipe.model_dump(mode="json"),
        "seed": output.recipe.seed,
        "versions": {
            "mtransfer": __version__,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "diffusers": diffusers.__version__,
            "python": platform.python_version(),
        },
        "seconds": output.timings,
        "metrics": output.metrics,
    }


def _summary(output: TransferOutput, out: Path) -> dict[str, Any]:
    error = output.metrics["flow_error_dis"]
    return {
        "edited": str(out / "edited.png"),
        "preview": str(out / "preview.png"),
        "seed": output.recipe.seed,
        "seconds": round(sum(output.timings.values()), 1),
        "guided_evaluations": output.metrics["guided_evaluations"],
        "flow_error_px": round(error["mean_px"], 2),
        "motion_seen_px": [round(error["dx_px"], 1), round(error["dy_px"], 1)],
    }
