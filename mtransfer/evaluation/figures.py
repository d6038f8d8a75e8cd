"""Figures of an edit: was the motion kept, was the subject, was the rest left alone.

Images float32[1,3,H,W] in [0,1], flows [1,2,H,W] in
pixels of the photo, masks [1,1,H,W].
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.evaluation.metrics import (
    appearance_kept,
    background_difference,
    flow_error,
    region_masks,
    vacated_residue,
)
from mtransfer.evaluation.moved_as_asked import moved_as_asked
from mtransfer.evaluation.perceptual import clip_similarity
from mtransfer.evaluation.texture import sharpness
from mtransfer.flow.estimator import DisFlow
from mtransfer.flow.loading import load_judge

# Every figure: what it says, and whether more or less of it is better (0: a value to be near).
FIGURES: dict[str, tuple[str, int]] = {
    "moved_as_asked": ("share of the subject within 3 px (or 0.6 % of the long side) of where it was asked to be", 1),
    "flow_dis_px": ("mean error of the motion seen by DIS inside the subject, pixels", -1),
    "flow_raft_px": ("the same, seen by RAFT, which guides", -1),
    "flow_dis_median_px": ("median error by DIS, pixels", -1),
    "flow_loss_raft_px": ("the paper's Flow Loss by RAFT, pixels", -1),
    "kept_ssim": ("likeness of the subject to itself along the motion, SSIM", 1),
    "kept_psnr_db": ("the same, PSNR in dB", 1),
    "sharpness": ("the subject's detail against the photo's: 1 is the same", 0),
    "residue": ("share of the subject that still shows in its old place", -1),
    "background_psnr_db": ("likeness of what should not change, dB", 1),
    "clip": ("likeness of what is shown, CLIP", 1),
}


@dataclass(frozen=True, eq=False)
class Edit:
    """What was asked: the photo, the flow, and the mask of the subject."""

    photo: Tensor
    flow: Tensor
    mask: Tensor


def measure(
    asked: Edit, edited: Float[Tensor, "1 3 H W"], device: torch.device, seen_by: str = "auto"
) -> dict[str, float | None]:
    """Every figure of FIGURES; None where there is nothing to measure it by, infinite for equal pixels.

    `seen_by` names the RAFT that judges beside DIS.
    """
    photo, flow, mask = (each.to(device) for each in (asked.photo, asked.flow, asked.mask))
    edited, regions = edited.to(device), region_masks(flow, mask)
    raft = load_judge(seen_by, device)
    by_dis, by_raft = (flow_error(judge, photo, edited, flow, mask) for judge in (DisFlow(), raft))
    kept = appearance_kept(photo, edited, flow, mask)
    figures = {
        "moved_as_asked": moved_as_asked(photo, edited, flow, mask),
        "flow_dis_px": by_dis["mean_px"],
        "flow_raft_px": by_raft["mean_px"],
        "flow_dis_median_px": by_dis["median_px"],
        "flow_loss_raft_px": by_raft["flow_loss_px"],
        "kept_ssim": kept["ssim"],
        "kept_psnr_db": kept["psnr_db"],
        "sharpness": sharpness(edited, regions.subject, photo, mask),
        "residue": vacated_residue(photo, edited, mask, regions.vacated),
        "background_psnr_db": background_difference(photo, edited, regions.background)["psnr_db"],
        "clip": clip_similarity(photo, edited),
    }
    return {name: None if value is None or math.isnan(value) else value for name, value in figures.items()}
