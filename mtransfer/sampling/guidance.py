"""The energy that says how far an image is from the photo moved as asked: a flow term and a colour term.

E = w_flow * mean|g - f| + w_color * mean|M * (x - warp(x0, g))|, g = flow(x, x0): equations 3 to 5 of Motion Guidance
(Geng and Owens, ICLR 2024, arXiv 2401.18085).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.estimator import FlowModel
from mtransfer.flow.warp import backward_warp, occlusion_mask


@runtime_checkable
class EnergyTerm(Protocol):
    """A further term of the energy, added with its `weight`."""

    weight: float

    def __call__(
        self, source: Float[Tensor, "B 3 H W"], image: Float[Tensor, "B 3 H W"], flow: Float[Tensor, "B 2 H W"]
    ) -> Float[Tensor, "B"]:
        """How bad `image` is, both images in [0,1], given the flow in pixels found to it; differentiable."""
        ...


@dataclass(frozen=True)
class Energy:
    """Per-image terms [B] and the flow found on the way [B,2,H,W], in pixels."""

    total: Tensor
    flow_loss: Tensor
    color_loss: Tensor
    flow: Tensor


@dataclass(frozen=True)
class EnergyWeights:
    """How the terms count: the paper's lambdas, and what of the colour term is looked at and along which flow."""

    w_flow: float
    w_color: float
    occlusion: bool = True
    oracle_flow: bool = False
    charbonnier_eps: float = 0.0


class MotionGuidance:
    """Calling it with an estimate float32[B,3,H,W] in [0,1] gives its `Energy` against one source and target flow."""

    def __init__(
        self,
        source: Float[Tensor, "B 3 H W"],
        target_flow: Float[Tensor, "B 2 H W"],
        flow_model: FlowModel,
        weights: EnergyWeights,
        terms: Sequence[EnergyTerm] = (),
    ) -> None:
        self.source, self.target_flow, self.flow_model = source, target_flow, flow_model
        self.weights, self.terms = weights, terms
        self.visible = occlusion_mask(target_flow) if weights.occlusion else torch.ones_like(target_flow[:, :1])
        flow_model.encode(source)

    def __call__(self, image: Float[Tensor, "B 3 H W"]) -> Energy:
        weights, flow = self.weights, self.flow_model.flow(image)
        flow_loss = flow_term(flow, self.target_flow)
        followed = self.target_flow if weights.oracle_flow else flow
        color_loss = color_term(self.source, image, followed, self.visible, weights.charbonnier_eps)
        total = weights.w_flow * flow_loss + weights.w_color * color_loss
        for term in self.terms:
            total = total + term.weight * term(self.source, image, flow)
        return Energy(total, flow_loss, color_loss, flow)


def flow_term(flow: Float[Tensor, "B 2 H W"], target_flow: Float[Tensor, "B 2 H W"]) -> Float[Tensor, "B"]:
    """Mean absolute difference of the flows in pixels, over both components and all pixels."""
    return (target_flow - flow).abs().mean(dim=(1, 2, 3))


def color_term(
    source: Float[Tensor, "B 3 H W"],
    image: Float[Tensor, "B 3 H W"],
    flow: Float[Tensor, "B 2 H W"],
    visible: Float[Tensor, "B 1 H W"],
    charbonnier_eps: float = 0.0,
) -> Float[Tensor, "B"]:
    """Mean absolute difference between the source and what the flow finds of it in `image`, where not hidden.

    With `charbonnier_eps` r above 0, of 1, sqrt(d^2 + r^2) - r in place of |d| (Charbonnier et al., ICIP 1994): the
    slope of |d| is as steep where all but nothing differs as anywhere, so that noise there drowns what does differ.
    """
    difference = visible * (source - backward_warp(image, flow))
    if charbonnier_eps:
        return ((difference.square() + charbonnier_eps**2).sqrt() - charbonnier_eps).mean(dim=(1, 2, 3))
    return difference.abs().mean(dim=(1, 2, 3))
