"""The figures of one result: flow, appearance, fidelity by region, texture, background."""

import math

from torch import Tensor

from benchmarks.cases import Problem
from mtransfer.evaluation.metrics import appearance_kept, background_difference, fidelity, flow_error, vacated_residue
from mtransfer.evaluation.perceptual import clip_similarity, lpips
from mtransfer.evaluation.texture import roughness, seam_jump, sharpness
from mtransfer.flow.estimator import DisFlow, FlowModel

HIGHEST_DB = 60.0  # equal pixels have no finite PSNR


def figures_of(problem: Problem, result: Tensor, raft: FlowModel) -> dict[str, float | None]:
    """Every figure by name; None where there is nothing to measure it by."""
    found: dict[str, float | None] = {}
    for name, judge in (("dis", DisFlow()), ("raft", raft)):
        errors = flow_error(
            judge, problem.photo, result, problem.true_flow, problem.subject, problem.regions.background
        )
        found |= {f"flow_{name}_px": errors["mean_px"], f"flow_{name}_median_px": errors["median_px"]}
        found[f"flow_{name}_edit_px"] = errors["edit_mean_px"]
        found[f"flow_loss_{name}_px"] = errors["flow_loss_px"]
    kept = appearance_kept(problem.photo, result, problem.true_flow, problem.subject)
    outside = background_difference(problem.photo, result, problem.regions.background)
    found |= {"kept_psnr_db": kept["psnr_db"], "kept_ssim": kept["ssim"]}
    found |= {"background_psnr_db": outside["psnr_db"], "background_mean_abs": outside["mean_abs"]}
    found["residue"] = vacated_residue(problem.photo, result, problem.subject, problem.regions.vacated, problem.after)
    found |= _texture(problem, result) | _by_region(problem, result)
    reference = problem.photo if problem.after is None else problem.after
    found |= {"clip": clip_similarity(reference, result), "lpips": lpips(reference, result)}
    return {name: _bounded(value) for name, value in found.items()}


def _texture(problem: Problem, result: Tensor) -> dict[str, float | None]:
    regions = {"subject": problem.regions.subject, "vacated": problem.regions.vacated}
    if problem.after is None:
        there = {"subject": problem.subject, "vacated": problem.regions.background}
        pairs = {name: (problem.photo, there[name]) for name in regions}
    else:
        pairs = {name: (problem.after, region) for name, region in regions.items()}
    found: dict[str, float | None] = {}
    for name, region in regions.items():
        reference, where = pairs[name]
        found[f"{name}_sharpness"] = sharpness(result, region, reference, where)
        found[f"{name}_roughness"] = roughness(result, region, reference, where)
    reference, where = pairs["subject"]
    return found | {"seam_jump": seam_jump(result, regions["subject"], reference, where)}


def _by_region(problem: Problem, result: Tensor) -> dict[str, float | None]:
    if problem.after is None:
        return {}
    regions = fidelity(result, problem.after, problem.regions)
    return {f"{region}_{name}": value for region, values in regions.items() for name, value in values.items()}


def _bounded(value: float | None) -> float | None:
    if value is None or math.isnan(value):
        return None
    return min(value, HIGHEST_DB) if value > 0 else value
