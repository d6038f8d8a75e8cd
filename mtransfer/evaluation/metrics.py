"""How well an edit shows the asked motion, keeps the subject, clears its old place and leaves the rest alone.

Images are float32[B,3,H,W] in [0,1], flows [B,2,H,W] forward in pixels, anchored on the photo, masks [1,1,H,W] in [0,1]
and counted in above one half. A figure with nothing to measure is NaN; the PSNR of equal pixels is infinite.
"""

import math
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.estimator import FlowModel, estimate
from mtransfer.flow.interpolate import push_pull
from mtransfer.flow.warp import (
    backward_warp,
    covered_mask,
    dilate,
    invert_flow,
    magnitude,
    occlusion_mask,
    pixel_grid,
    sample,
)
from mtransfer.media.photo.sizes import shrunk
from mtransfer.media.quantize import quantize_uint8
from mtransfer.sampling.guidance import flow_term

JUDGED_LONG_SIDE_PX = 512
SEAM_SHARE = 0.012  # of the long side: half the width of the band along a silhouette
MARGIN_SHARE = 0.04  # of the long side: soft edges, contact shadows and feathers are no damage to the background
RETURN_PX = 1.0  # a point is seen where the motion back from its place leads to it again, this closely
VISIBLE_CONTRAST = 0.02  # subject and background that differ less, as root mean square, cannot be told apart


class FlowError(TypedDict):
    """How far the flow seen in a result is from the flow asked for; see `flow_error`."""

    mean_px: float
    median_px: float
    relative: float
    dx_px: float
    dy_px: float
    flow_loss_px: float
    edit_mean_px: NotRequired[float]
    frame: NotRequired[int]  # of a film


@dataclass(frozen=True)
class Regions:
    """Where to look, by the motion asked for alone: masks float32[1,1,H,W], each pixel 0 or 1.

    `subject` is where the subject now is, `vacated` where it was and is no longer, `seam` the band on both sides of the
    moved silhouette, reaching into both, `background` what lies clear of the old and the new place.
    """

    subject: Tensor
    vacated: Tensor
    seam: Tensor
    background: Tensor


def region_masks(flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 1 H W"]) -> Regions:
    """The regions of an edit from its target flow and subject mask, the same for every method."""
    width, margin = _seam_px(flow), max(2, round(MARGIN_SHARE * max(flow.shape[-2:])))
    source, target = ((each > 0.5).to(flow) for each in (mask, covered_mask(flow, mask)))
    seam = dilate(target, width) * dilate(1 - target, width)
    return Regions(target, source * (1 - target), seam, 1 - dilate(torch.maximum(source, target), margin))


def _seam_px(image: Tensor) -> int:
    return max(1, round(SEAM_SHARE * max(image.shape[-2:])))


def visible_points(flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "1 1 H W"]:
    """1 at the subject's points that can be seen after the motion: inside the frame and under no other point of it."""
    end = pixel_grid(flow) + flow
    last = flow.new_tensor([flow.shape[-1] - 1, flow.shape[-2] - 1]).view(1, 2, 1, 1)
    framed = ((end >= 0) & (end <= last)).all(dim=1, keepdim=True)
    missed_px = magnitude(flow + sample(invert_flow(flow, mask)[0], end))
    return ((mask > 0.5) & framed & (missed_px < RETURN_PX)).to(flow)


def flow_error(
    model: FlowModel,
    photo: Float[Tensor, "1 3 H W"],
    edited: Float[Tensor, "1 3 H W"],
    target_flow: Float[Tensor, "1 2 H W"],
    mask: Float[Tensor, "1 1 H W"],
    background: Float[Tensor, "1 1 H W"] | None = None,
) -> FlowError:
    """How far the flow that `model` sees from the photo to the edit is from the target, in pixels of the photo.

    Inside the subject: the end-point error `mean_px`, `median_px` and, as a share of the mean motion asked for,
    `relative`; and the median motion found, `dx_px` and `dy_px`. `flow_loss_px` is the Flow Loss of Motion Guidance
    (Geng and Owens, ICLR 2024): the mean absolute difference over both components and the whole image. Given the
    `background` of `region_masks`, `edit_mean_px` is the end-point error over all the rest but what the motion hides.
    """
    found = _judge(model, photo, edited)
    error_px, inside = magnitude(found - target_flow), mask > 0.5
    motion_px = float(magnitude(target_flow)[inside].mean())
    mean_px = float(error_px[inside].mean())
    dx, dy = found[0][:, inside[0, 0]].median(dim=1).values.tolist()
    errors: FlowError = {
        "mean_px": mean_px,
        "median_px": float(error_px[inside].median()),
        "relative": mean_px / motion_px if motion_px > 0 else math.nan,
        "dx_px": dx,
        "dy_px": dy,
        "flow_loss_px": float(flow_term(found, target_flow)),
    }
    if background is not None:
        around = (background < 0.5) & (occlusion_mask(target_flow) > 0.5)
        errors["edit_mean_px"] = float(error_px[around].mean())
    return errors


def _judge(model: FlowModel, photo: Tensor, edited: Tensor) -> Tensor:
    """The flow seen at the judged size, in pixels of the photo and at its size."""
    size = shrunk(photo.shape[-2:], JUDGED_LONG_SIDE_PX)
    found = estimate(model, *(F.interpolate(image, size, mode="area") for image in (photo, edited)))
    ratio = found.new_tensor([photo.shape[-1] / size[1], photo.shape[-2] / size[0]]).view(1, 2, 1, 1)
    return ratio * F.interpolate(found, photo.shape[-2:], mode="bilinear")


def appearance_kept(
    photo: Float[Tensor, "1 3 H W"],
    edited: Float[Tensor, "1 3 H W"],
    flow: Float[Tensor, "1 2 H W"],
    mask: Float[Tensor, "1 1 H W"],
) -> dict[str, float]:
    """`psnr_db` and `ssim` between the photo at p and the edit at p + flow(p), over the subject's visible points.

    The motion may be interpolated, so even an exact edit has a finite PSNR. Noise can pass for detail here: read it
    beside `sharpness` and `roughness`.
    """
    visible = visible_points(flow, mask) > 0.5
    found = sample(edited, pixel_grid(flow) + flow, mode="bicubic").clamp(0, 1)
    # Outside the subject both show the photo, so the windows of SSIM near the silhouette compare the subject alone.
    return _likeness(photo, torch.where(visible, found, photo), visible)


def background_difference(
    photo: Float[Tensor, "1 3 H W"], edited: Float[Tensor, "1 3 H W"], background: Float[Tensor, "1 1 H W"]
) -> dict[str, float]:
    """`psnr_db` and `mean_abs` in [0,1], of 8-bit pixels, where nothing was to change.

    `background` is that of `region_masks`, never what a method calls its own: a huge edit mask would hide all damage.
    """
    first, second, outside = quantize_uint8(photo), quantize_uint8(edited), background > 0.5
    total = ((first - second).abs() * outside).sum()
    mean_abs = float(total / (photo.shape[1] * outside.sum()))  # 0 / 0 is NaN
    return {"psnr_db": _psnr_db(first, second, outside), "mean_abs": mean_abs}


def background_psnr_db(
    photo: Float[Tensor, "1 3 H W"], edited: Float[Tensor, "1 3 H W"], edit: Float[Tensor, "1 1 H W"]
) -> float:
    """PSNR outside an edit region in decibels; infinite where nothing changed, NaN where no pixel lies outside."""
    return background_difference(photo, edited, (edit == 0).to(photo))["psnr_db"]


def vacated_residue(
    photo: Float[Tensor, "1 3 H W"],
    edited: Float[Tensor, "1 3 H W"],
    mask: Float[Tensor, "1 1 H W"],
    vacated: Float[Tensor, "1 1 H W"],
    truth: Float[Tensor, "1 3 H W"] | None = None,
) -> float:
    """How much of the subject still shows where it was: 0 no trace, 1 all of it, in between a ghost of that opacity.

    With s the photo, e the edit and b the picture without the subject (`truth`, else the photo filled smoothly across
    `mask`), the least-squares share <e - b, s - b> / <s - b, s - b> over `vacated`, in [0,1]. Pixels where subject and
    background look alike say nothing and weigh nothing; NaN where that holds for all.
    """
    without = push_pull(photo, 1 - dilate((mask > 0.05).to(photo), _seam_px(photo))) if truth is None else truth
    inside = (vacated > 0.5).expand_as(photo)
    subject, left = (photo - without)[inside], (edited - without)[inside]
    if not len(subject) or subject.square().mean() < VISIBLE_CONTRAST**2:
        return math.nan
    return float(((subject * left).sum() / subject.square().sum()).clamp(0, 1))


def fidelity(
    edited: Float[Tensor, "1 3 H W"], truth: Float[Tensor, "1 3 H W"], regions: Regions
) -> dict[str, dict[str, float]]:
    """`psnr_db` and `ssim` against the true picture after the motion, by region's name."""
    return {name: _likeness(truth, edited, region > 0.5) for name, region in vars(regions).items()}


def warping_error(
    frames: Float[Tensor, "T 3 H W"], flow: Float[Tensor, "T 2 H W"], mask: Float[Tensor, "1 1 H W"]
) -> float:
    """Mean absolute change in [0,1] of the subject's points from a frame to the next; 0 is perfectly stable.

    Frame t shows the photo after `flow[t]`; a point counts where it is visible in both frames. The warping error of
    Lai et al. (ECCV 2018), along the motion asked for.
    """
    visible = torch.cat([visible_points(each[None], mask) for each in flow])
    followed = backward_warp(frames, flow, padding_mode="border")
    both = (visible[1:] * visible[:-1] > 0.5).expand_as(followed[1:])
    return float(followed.diff(dim=0).abs()[both].mean())


def flicker(frames: Float[Tensor, "T 3 H W"], still: Float[Tensor, "1 1 H W"]) -> float:
    """Mean absolute change in [0,1] from a frame to the next of the pixels that should not move, where `still` is 1."""
    return float(frames.diff(dim=0).abs()[:, :, still[0, 0] > 0.5].mean())


def _likeness(reference: Tensor, image: Tensor, where: Tensor) -> dict[str, float]:
    """PSNR, and SSIM (Wang et al., 2004) over 11 px windows centred where asked."""
    from torchmetrics.functional.image import structural_similarity_index_measure  # takes a second to load

    _, ssim = structural_similarity_index_measure(image, reference, data_range=1.0, return_full_image=True)
    return {"psnr_db": _psnr_db(reference, image, where), "ssim": float(ssim[where.expand_as(image)].mean())}


def _psnr_db(reference: Tensor, image: Tensor, where: Tensor) -> float:
    squared = ((image - reference).square() * where).sum()
    count = int(where.sum()) * reference.shape[1]
    return math.nan if not count else math.inf if not squared else 10 * math.log10(count / float(squared))
