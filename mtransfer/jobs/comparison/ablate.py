"""What each part of the method does: the same edit with one part left out, or replaced, at a time."""

from pathlib import Path
from typing import Any

from mtransfer.files import staged
from mtransfer.jobs.metrics import EditMetrics
from mtransfer.jobs.recipe import EditRecipe
from mtransfer.jobs.render import Panels
from mtransfer.jobs.transfer import edit
from mtransfer.log import Report
from mtransfer.media.contact_sheet import sheet
from mtransfer.media.photo.photo import save_png
from mtransfer.sampling.settings import SamplerSettings
from mtransfer.strict_json import save_json

ABLATIONS: dict[str, dict[str, Any]] = {
    "as the preset": {},
    "no guidance": {"weight": 0.0},
    "no flow term": {"w_flow": 0.0},
    "no colour term": {"w_color": 0.0},
    "no occlusion mask": {"occlusion": False},
    "no edit mask": {"edit_mask": False},
    "no recursion": {"recursions": 1},
    "no clipping": {"clip": 0.0},
    "no warm start": {"start": "noise", "start_t": 1000, "subject_until": 0.0, "show_draft": False},
    "no Charbonnier rounding": {"charbonnier_eps": 0.0},
    "oracle flow": {"oracle_flow": True},
    "gradient at x0": {"through_denoiser": False},
    "gradient through the net": {"through_denoiser": True},
}


def variants(settings: SamplerSettings) -> dict[str, SamplerSettings]:
    """Every ablation that changes these settings, as they are for any model; the settings themselves first."""
    settings = settings.for_any_model()
    chosen = dict(ABLATIONS)
    if settings.start != "warp":
        del chosen["no warm start"]
    made = {name: settings.model_copy(update=changes) for name, changes in chosen.items()}
    return {name: each for name, each in made.items() if not ABLATIONS[name] or each != settings}


def ablate_to_folder(
    recipe: EditRecipe, out: Path, *, overwrite: bool, metadata: bool, report: Report
) -> dict[str, Any]:
    """Run every variant; ablation.png, a labelled sheet, and ablation.json go into `out`. Returns the table."""
    with staged(out, overwrite=overwrite) as stage:
        panels: Panels = []
        table: dict[str, dict[str, float | None]] = {}
        for name, settings in variants(recipe.sampler).items():
            output = edit(recipe.model_copy(update={"sampler": settings}), report=report)
            panels += [("photo", output.panels[0][1])] if not panels else []
            panels.append((name, output.seen[0]))
            table[name] = _row(output.metrics, output.timings)
        save_png(sheet(panels), stage / "ablation.png")
        made_by = {"recipe": recipe.model_dump(mode="json")} if metadata else {}
        save_json(made_by | {"table": table}, stage / "ablation.json")
    return {"sheet": str(out / "ablation.png"), **table}


def _row(metrics: EditMetrics, timings: dict[str, float]) -> dict[str, float | None]:
    raft = metrics["flow_error_raft"]
    return {
        "flow_error_dis_px": round(metrics["flow_error_dis"]["mean_px"], 2),
        "flow_error_raft_px": raft and round(raft["mean_px"], 2),
        "flow_loss_raft_px": raft and round(raft["flow_loss_px"], 3),
        "guided_evaluations": metrics["guided_evaluations"],
        "seconds": round(timings.get("sample", 0.0), 1),
    }
