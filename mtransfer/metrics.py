"""How well an edit shows the asked motion and leaves the rest alone."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow import estimate
from mtransfer.guidance import FlowModel

JUDGED_LONG_SIDE_PX = 512


def flow_error(
    model: FlowModel,
    photo: Float[Tensor, "1 3 H W"],
    edited: Float[Tensor, "1 3 H W"],
    target_flow: Float[Tensor, "1 2 H W"],
    mask: Float[Tensor, "1 1 H W"],
) -> dict[str, float]:
    """End-point error inside the subject of the flow that `model` sees from the photo to the edit.

    `mean_px` and `median_px` in pixels of the photo, `relative` as a share of the mean motion asked for, and the median
    motion found, `dx_px` and `dy_px`.
    """
    scale = min(1.0, JUDGED_LONG_SIDE_PX / max(photo.shape[-2:]))
    size = [round(side * scale) for side in photo.shape[-2:]]
    small, small_edited = (F.interpolate(image, size, mode="area") for image in (photo, edited))
    found = F.interpolate(estimate(model, small, small_edited), photo.shape[-2:], mode="bilinear")
    found = found * found.new_tensor([photo.shape[-1] / size[1], photo.shape[-2] / size[0]]).view(1, 2, 1, 1)
    inside = mask[0, 0] > 0.5
    wanted, seen = target_flow[0][:, inside], found[0][:, inside]
    error, motion = (seen - wanted).norm(dim=0), wanted.norm(dim=0).mean()
    dx, dy = seen.median(dim=1).values.tolist()
    return {
        "mean_px": float(error.mean()),
        "median_px": float(error.median()),
        "relative": float(error.mean() / motion) if motion > 0 else math.nan,
        "dx_px": dx,
        "dy_px": dy,
    }


def background_psnr_db(
    photo: Float[Tensor, "1 3 H W"], edited: Float[Tensor, "1 3 H W"], edit: Float[Tensor, "1 1 H W"]
) -> float:
    """PSNR outside the edit region in decibels; infinite where nothing changed, NaN where no pixel lies outside."""
    outside = (edit == 0).expand_as(photo)
    if not bool(outside.any()):
        return math.nan
    error = (_bytes(photo) - _bytes(edited))[outside].square().mean()
    return float(-10 * torch.log10(error)) if error > 0 else math.inf


def _bytes(image: Tensor) -> Tensor:
    """The image as an 8-bit file holds it."""
    return (255 * image.clamp(0, 1)).round() / 255
