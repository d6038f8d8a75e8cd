"""Figures of edits that are already there: was the motion kept, was the subject, was the rest left alone.

A result is a folder as `transfer`, `edit` and `run` write it. Images float32[1,3,H,W] in [0,1], flows [1,2,H,W] in
pixels of the photo, masks [1,1,H,W].
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.evaluation.moved_as_asked import moved_as_asked
from mtransfer.fieldio import load_field
from mtransfer.flow import DisFlow
from mtransfer.media.image import read_photo
from mtransfer.metrics import appearance_kept, background_difference, flow_error, region_masks, vacated_residue
from mtransfer.models import load_judge
from mtransfer.perceptual import clip_similarity
from mtransfer.stored import find_inputs, read_stored
from mtransfer.texture import sharpness

EDITED, FLOW = "edited.png", "flow.npz"
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


def find_results(places: Sequence[Path]) -> list[Path]:
    """The folders of results among `places` and below them, in order. Raises InputError for a place without any."""
    found: dict[Path, None] = {}
    for place in places:
        here = [place] if (place / EDITED).is_file() else sorted(path.parent for path in place.rglob(EDITED))
        if not here:
            raise InputError(f"{place}: holds no result; name a folder in which mtransfer wrote {EDITED} and {FLOW}")
        found |= dict.fromkeys(here)
    return list(found)


def read_result(folder: Path, photo: Path | None = None) -> tuple[Edit, Tensor]:
    """What a result was asked for, and its picture; the photo is the one given, or the one its recipe names.

    Raises InputError when one of them is missing, is another than the recipe says, or has another size.
    """
    if not (folder / FLOW).is_file():
        raise InputError(f"{folder}: holds no {FLOW}; a result is measured against the flow it was made with")
    if photo is None:
        photo = _photo_of(folder)
    own = read_photo(photo)
    source, edited = own.image[None], read_photo(folder / EDITED, matte=own.matte).image[None]
    if source.shape != edited.shape:
        sizes = " and ".join(f"{image.shape[-1]} x {image.shape[-2]}" for image in (source, edited))
        raise InputError(f"{photo}, {folder / EDITED}: {sizes} pixels; name the photo it was made from with --photo")
    field = load_field(folder / FLOW, size=(source.shape[-2], source.shape[-1]))
    flow = field.flow[:1]
    return Edit(source, flow, flow.ne(0).any(dim=1, keepdim=True).float()), edited


def _photo_of(folder: Path) -> Path:
    """The photo that a result's recipe names, beside the result, above it, or where the command is run."""
    try:
        stored = read_stored(str(folder / EDITED))
    except InputError as error:
        raise InputError(
            f"{folder / EDITED}: does not say what it was made from; name the photo with --photo"
        ) from error
    if stored.values.get("camera") == "photo":
        raise InputError(f"{folder}: made with --camera photo, which moves the whole photo; it cannot be measured")
    name = str(stored.values["photo"])
    places = [place / name for place in (folder, folder.parent, Path(), Path(_typed(folder) or name).parent)]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise InputError(f"{folder}: its photo {name} is not beside it; name it with --photo")
    only_photo = {key: value for key, value in stored.values.items() if key == "photo"}
    find_inputs(type(stored)(stored.command, only_photo, stored.hashes, origin=stored.origin), {"photo": str(found)})
    return found


def _typed(folder: Path) -> str | None:
    """The photo's path as it was typed when the result was made."""
    try:
        record: Any = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return str(record["recipe"]["photo"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
