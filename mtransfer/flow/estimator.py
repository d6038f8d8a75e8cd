"""Optical flow between two images, forward and backward, with a confidence for every pixel."""

from typing import Protocol, runtime_checkable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField
from mtransfer.flow.warp import backward_warp
from mtransfer.media.photo.sizes import LEAST_PX
from mtransfer.media.quantize import to_uint8


@runtime_checkable
class FlowModel(Protocol):
    """A differentiable flow estimator that remembers its source image."""

    def encode(self, source: Float[Tensor, "B 3 H W"]) -> None:
        """Remember `source`, in [0,1]."""

    def flow(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 2 H W"]:
        """Forward flow in pixels from the source to `image`, in [0,1]; differentiable in `image`."""
        ...


@runtime_checkable
class TwoWay(Protocol):
    """A flow model that needs both directions for either."""

    def both(
        self, first: Float[Tensor, "B 3 H W"], second: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B 2 H W"], Float[Tensor, "B 2 H W"]]: ...


class DisFlow:
    """OpenCV's dense inverse search flow (Kroeger et al., ECCV 2016): no network, no gradient; an independent judge.

    As OpenCV's medium preset sets it, or `thorough`: down to single pixels, three times as slow.
    """

    def __init__(self, *, thorough: bool = False) -> None:
        self._estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        if thorough:
            self._estimator.setFinestScale(0)

    def encode(self, source: Float[Tensor, "B 3 H W"]) -> None:
        self._sources = [to_grey(image) for image in large_enough(source)]

    def flow(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 2 H W"]:
        if image.requires_grad:
            raise InputError("flow model dis has no gradient and cannot guide; use auto, embedded or a RAFT")
        pairs = zip(self._sources, large_enough(image), strict=True)
        flows = [self._estimator.calc(source, to_grey(second), None) for source, second in pairs]
        found = torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).to(image)
        return found[..., : image.shape[-2], : image.shape[-1]]


def estimate(
    model: FlowModel, source: Float[Tensor, "B 3 H W"], image: Float[Tensor, "B 3 H W"]
) -> Float[Tensor, "B 2 H W"]:
    """Forward flow in pixels from `source` to `image`, both in [0,1], without gradients."""
    model.encode(source)
    with torch.no_grad():
        return model.flow(image)


def estimate_field(model: FlowModel, source: Float[Tensor, "1 3 H W"], image: Float[Tensor, "1 3 H W"]) -> FlowField:
    """Forward flow with confidence 1 where the backward flow agrees with it and 0 where it does not."""
    forward, backward = both_ways(model, source, image)
    return FlowField(forward, consistency(forward, backward))


def both_ways(
    model: FlowModel, first: Float[Tensor, "B 3 H W"], second: Float[Tensor, "B 3 H W"]
) -> tuple[Float[Tensor, "B 2 H W"], Float[Tensor, "B 2 H W"]]:
    """Flow in pixels from `first` to `second` and back; a model that reads both ways at once does so."""
    if isinstance(model, TwoWay):
        return model.both(first, second)
    return estimate(model, first, second), estimate(model, second, first)


def consistency(forward: Float[Tensor, "B 2 H W"], backward: Float[Tensor, "B 2 H W"]) -> Float[Tensor, "B 1 H W"]:
    """1 where |Ff + Fb(x + Ff)|^2 < 0.01 (|Ff|^2 + |Fb|^2) + 0.5, else 0 (Sundaram et al., ECCV 2010)."""
    returned = backward_warp(backward, forward, padding_mode="border")
    gap = (forward + returned).square().sum(dim=1, keepdim=True)
    size = forward.square().sum(dim=1, keepdim=True) + returned.square().sum(dim=1, keepdim=True)
    return (gap < 0.01 * size + 0.5).to(forward)


def large_enough(image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
    """The picture with its last row and column repeated until OpenCV's flow takes it."""
    rows, columns = (max(0, LEAST_PX - side) for side in image.shape[-2:])
    return F.pad(image, (0, columns, 0, rows), mode="replicate") if rows or columns else image


def to_grey(image: Float[Tensor, "3 H W"]) -> NDArray[np.uint8]:
    """An RGB image in [0,1] as OpenCV's grey uint8[H,W]."""
    return np.asarray(cv2.cvtColor(to_uint8(image), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
