"""A motion in words, as an editor that takes instructions wants it: "move the teapot right"."""

import math

from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.warp import pixel_grid

COMPASS = ("right", "down and right", "down", "down and left", "left", "up and left", "up", "up and right")
ARTICLES = ("a ", "an ", "the ")


def instruction_of(flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 1 H W"], prompt: str = "") -> str:
    """The greatest part of the subject's motion: its shift, its turn or its growth; `prompt` says what it is.

    Flow in pixels. The parts are those of the best affine fit, compared by how far they move the subject's rim.
    """
    shift, growth_px, turn_px = _parts_px(flow, mask)
    name = f"the {_without_article(prompt) or 'subject'}"
    if max(abs(growth_px), abs(turn_px)) < float(shift.norm()):
        return f"move {name} {COMPASS[round(math.atan2(shift[1], shift[0]) / (math.pi / 4)) % 8]}"
    if abs(turn_px) >= abs(growth_px):
        return f"rotate {name} {'clockwise' if turn_px > 0 else 'counter-clockwise'}"
    return f"make {name} {'larger' if growth_px > 0 else 'smaller'}"


def _parts_px(flow: Tensor, mask: Tensor) -> tuple[Tensor, float, float]:
    """The shift [2], and how far growth and turn (clockwise on screen) move a point at the subject's mean radius."""
    inside = mask[0, 0] > 0.5
    places, motion = pixel_grid(flow)[0][:, inside], flow[0][:, inside]
    shift, offsets = motion.mean(dim=1), places - places.mean(dim=1, keepdim=True)
    spread = offsets.square().sum().clamp_min(1e-6)
    growth = float((offsets * motion).sum() / spread)
    turn = float((offsets[0] * motion[1] - offsets[1] * motion[0]).sum() / spread)
    radius_px = float(offsets.square().sum(dim=0).mean().sqrt())
    return shift, growth * radius_px, turn * radius_px


def _without_article(text: str) -> str:
    name = text.strip().rstrip(".")
    return next((name[len(article) :] for article in ARTICLES if name.lower().startswith(article)), name)
