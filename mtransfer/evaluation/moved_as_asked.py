"""The share of the subject that moved as asked, measured in the result; no figure where it would be noise.

Images are float32[1,3,H,W] in [0,1], flows [1,2,H,W] forward in pixels, anchored on the photo, masks [1,1,H,W].
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.evaluation.metrics import JUDGED_LONG_SIDE_PX, visible_points
from mtransfer.flow.estimator import DisFlow, both_ways, consistency
from mtransfer.flow.interpolate import push_pull
from mtransfer.flow.warp import backward_warp, erode, magnitude
from mtransfer.strict_json import Worded

WITHIN_PX, WITHIN_SHARE = 3.0, 0.006  # of the long side
LEAST_SHARE = 1 / 3  # of the points asked to move that must be measured
LEAST_POINTS = 256  # at the judged size: a few of the estimator's patches
WINDOW_PX = 25  # at the judged size, over which texture and likeness are told
TEXTURE = 0.002  # gradient a pixel, of 1, in the weakest direction; shades and a photo's noise have less
LIKENESS = 0.6  # correlation about a point and about where it was found; chance resemblances have less
EDGE_PX = 4  # within a silhouette, where the smoothed picture shows the surroundings


def within_px(photo: Float[Tensor, "1 3 H W"]) -> float:
    """How near its place, in pixels of the photo, a point moved as asked: 3, or 0.6 % of a long side above 500."""
    return max(WITHIN_PX, WITHIN_SHARE * max(photo.shape[-2:]))


def moved_as_asked(
    photo: Float[Tensor, "1 3 H W"],
    edited: Float[Tensor, "1 3 H W"],
    flow: Float[Tensor, "1 2 H W"],
    mask: Float[Tensor, "1 1 H W"],
) -> float | None:
    """Share in [0,1] of the subject's visible points whose motion in the result is within `within_px` of `flow`.

    DIS, which never guides, sees it both ways, at no more than 512 px and after the motion asked for has been undone
    in the result: only the rest must lie in its reach. Points to be moved less than `within_px` say nothing, and plain
    ones cannot be seen to move; what is not found again, or nowhere near its like, has not moved as asked. None where
    the subject is small, or less than a third of it is measured.
    """
    scale = min(1.0, JUDGED_LONG_SIDE_PX / max(photo.shape[-2:]))
    near_px = within_px(photo) * scale
    photo, edited, flow, mask = _reduced(photo, edited, flow, mask, scale)
    asked = (visible_points(flow, mask) > 0.5) & (magnitude(flow) > near_px)
    if asked.sum() < LEAST_POINTS:
        return None
    undone = backward_warp(edited, flow, padding_mode="border")
    # Around the subject both show the same, for the ground there has another motion and would be taken for its own.
    inside = (mask > 0.5).to(photo)
    surroundings = (1 - inside) * push_pull(photo, inside)
    photo, undone = (inside * each + surroundings for each in (photo, undone))
    rest, back = both_ways(DisFlow(), photo, undone)
    like = _likeness(photo, backward_warp(undone, rest, padding_mode="border"), mask) > LIKENESS
    textured = asked & (_texture(photo, mask) > TEXTURE)
    measured = textured & like & (consistency(rest, back) > 0.5)
    if measured.sum() < LEAST_SHARE * asked.sum():
        return None
    return float((measured & (magnitude(rest) < near_px)).sum() / textured.sum())


def in_words(share: float | None, near_px: float) -> Worded:
    """The figure as it is shown."""
    words = "cannot be measured" if share is None else f"{100 * share:.0f} % of the subject within {near_px:.0f} px"
    return Worded(share, words)


def _reduced(photo: Tensor, edited: Tensor, flow: Tensor, mask: Tensor, scale: float) -> tuple[Tensor, ...]:
    """All at the judged size, the flow in its pixels."""
    size = [round(side * scale) for side in photo.shape[-2:]]
    ratio = flow.new_tensor([size[1] / photo.shape[-1], size[0] / photo.shape[-2]]).view(1, 2, 1, 1)
    inside = (mask > 0.5).to(flow)
    photo, edited, moved, mask, share = (
        F.interpolate(each, size, mode="area") for each in (photo, edited, flow * inside, mask, inside)
    )
    return photo, edited, ratio * moved / share.clamp_min(1e-3), mask


def _mean(values: Tensor, width_px: int = WINDOW_PX) -> Tensor:
    """Over the square window about each pixel, in the picture; along one axis after the other, which is far quicker."""
    for kernel in ((1, width_px), (width_px, 1)):
        values = F.avg_pool2d(values, kernel, 1, [side // 2 for side in kernel], count_include_pad=False)
    return values


def _texture(photo: Tensor, mask: Tensor) -> Tensor:
    """Root of the smaller eigenvalue of the structure tensor (Shi and Tomasi, 1994) of the subject's inside."""
    along_y, along_x = torch.gradient(_mean(photo.mean(dim=1, keepdim=True), 5), dim=(2, 3))
    inside = erode((mask > 0.5).to(photo), EDGE_PX)
    share = _mean(inside).clamp_min(0.1)  # fewer pixels than that tell little
    xx, yy, xy = (_mean(each * inside) / share for each in (along_x**2, along_y**2, along_x * along_y))
    smaller = (xx + yy) / 2 - ((xx - yy).square() / 4 + xy.square()).sqrt()
    return smaller.clamp_min(0).sqrt()


def _likeness(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Correlation in [-1,1] of the subject's pixels in two pictures, in the window about each point."""
    first, second = (_mean(each.mean(dim=1, keepdim=True), 3) for each in (first, second))
    weight = (mask > 0.5).to(first)
    share = _mean(weight).clamp_min(1e-3)
    a, b, aa, bb, ab = (_mean(each * weight) / share for each in (first, second, first**2, second**2, first * second))
    spread = ((aa - a**2).clamp_min(0) * (bb - b**2).clamp_min(0)).sqrt()
    return (ab - a * b) / spread.clamp_min(1e-5)
