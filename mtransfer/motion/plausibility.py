"""What makes a transferred motion look implausible, in words that say what to do."""

from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.field import FlowField
from mtransfer.flow.warp import pixel_grid
from mtransfer.motion.stretch import MOST_STRETCH, stretched_fraction

STRETCHED, OUTSIDE = 0.25, 0.1  # of the subject: more than a rim, which is always stretched a little
LEAST_TRACKED = 0.5


def warnings_of(
    flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 H W"], tracked_fraction: float, pair: str
) -> list[str]:
    """A line for each of: a subject that is barely tracked, parts that stretch much, parts that leave the photo.

    `tracked_fraction` in [0,1] is of the clip's subject, `pair` the frames that were taken.
    """
    found = []
    if tracked_fraction < LEAST_TRACKED:
        found.append(
            f"only {tracked_fraction:.0%} of the clip's subject is tracked from {pair}; nearer frames: --pair A:B"
        )
    if (stretched := stretched_fraction(flow, mask)) > STRETCHED:
        found.append(
            f"{stretched:.0%} of the subject is stretched or squeezed by more than {MOST_STRETCH:g}; "
            "try --strength 0.5, nearer frames or a subject of the same kind"
        )
    if (outside := outside_fraction(flow, mask)) > OUTSIDE:
        found.append(f"{outside:.0%} of the subject leaves the photo; a smaller --strength or nearer frames keep it in")
    return found


def in_place(field: FlowField, mask: Float[Tensor, "1 H W"]) -> FlowField:
    """A subject's flow float32[1,2,H,W] without its travel, the mean over the subject."""
    inside = (mask > 0.5).to(field.flow)[None]
    travel = (field.flow * inside).sum(dim=(2, 3), keepdim=True) / inside.sum().clamp_min(1)
    return FlowField(field.flow - travel * (mask > 0).to(field.flow), field.confidence)


def outside_fraction(flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 H W"]) -> float:
    """The fraction in [0,1] of the subject that ends outside the photo."""
    end = (pixel_grid(flow) + flow)[0]
    last = flow.new_tensor([flow.shape[-1] - 1, flow.shape[-2] - 1]).view(2, 1, 1)
    gone = ((end < 0) | (end > last)).any(dim=0)
    inside = mask[0] > 0.5
    return float(gone[inside].float().mean()) if bool(inside.any()) else 0.0
