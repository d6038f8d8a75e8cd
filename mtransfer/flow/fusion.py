"""How a clip is read with the embedded net: RAFT, refined, and dense inverse search where that explains more.

A small net finds large motions and silhouettes but is a pixel off on still ground; dense inverse search is exact
there and lost elsewhere. Each pixel takes the proposal that matches the frames better (Lempitsky et al., FusionFlow,
CVPR 2008, here without the graph cut). There is no gradient through it: guidance uses the net alone.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.estimator import DisFlow, consistency, large_enough, to_grey
from mtransfer.flow.raft import FlowNet, enlarge
from mtransfer.flow.texture_mask import texture_mask
from mtransfer.flow.warp import backward_warp, magnitude

TRAINED_SIDE_PX = 256  # smaller frames are enlarged towards it
AGREES_PX = 1.0  # dense inverse search counts where its way there and back ends this near
LOST_REACH_PX = 4  # what is lost over a square of this many pixels to each side is no mere occlusion
MOSTLY, LARGEST_LOST_SHARE = 0.8, 0.003
WINDOW_PX = 7  # matches are compared over squares of this many pixels to each side
CENSUS_PX = 2
CENSUS_SOFTNESS = 0.81 / 255  # the contrast and the difference at which the census distance saturates,
CENSUS_LIMIT = 0.1  # both of Meister et al., UnFlow, AAAI 2018


class FusedFlow:
    """Flow between frames from two proposals, the net's and dense inverse search's. One instance a thread."""

    def __init__(self, net: FlowNet) -> None:
        self.net = net

    def encode(self, source: Float[Tensor, "B 3 H W"]) -> None:
        """Remember `source`, in [0,1]."""
        self._source = source

    def flow(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 2 H W"]:
        """Forward flow in pixels from the remembered source to `image`, in [0,1]; without gradients."""
        return self.both(self._source, image)[0]

    @torch.no_grad()
    def both(
        self, first: Float[Tensor, "B 3 H W"], second: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B 2 H W"], Float[Tensor, "B 2 H W"]]:
        """Flow in pixels from `first` to `second` and back, both in [0,1]."""
        return self._fused(first, second, _searched(first, second), _searched(second, first))

    def _fused(self, first: Tensor, second: Tensor, search: Tensor, search_back: Tensor) -> tuple[Tensor, Tensor]:
        net = _seen_by_net(self.net, first, second), _seen_by_net(self.net, second, first)
        there = _fuse(first, second, net[0], search, search_back)
        return there, _fuse(second, first, net[1], search_back, search)


class ThriftyFlow(FusedFlow):
    """As FusedFlow, but dense inverse search alone for frames between which it agrees with itself all over.

    With `over_plain_ground` it need not there, where flow means nothing.
    """

    def __init__(self, net: FlowNet, *, over_plain_ground: bool = False) -> None:
        super().__init__(net)
        self._over_plain_ground = over_plain_ground

    @torch.no_grad()
    def both(
        self, first: Float[Tensor, "B 3 H W"], second: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B 2 H W"], Float[Tensor, "B 2 H W"]]:
        """Flow in pixels from `first` to `second` and back, both in [0,1]."""
        there, back = _searched(first, second), _searched(second, first)
        lost = torch.maximum(self._lost_share(first, there, back), self._lost_share(second, back, there))
        hard = lost > LARGEST_LOST_SHARE
        if bool(hard.any()):
            there[hard], back[hard] = self._fused(first[hard], second[hard], there[hard], back[hard])
        return there, back

    def _lost_share(self, image: Tensor, flow: Tensor, back: Tensor) -> Float[Tensor, "B"]:
        """The share of the picture where the way there and back ends elsewhere, thin bands of occlusion left out."""
        lost = (_mean(1 - consistency(flow, back), LOST_REACH_PX) > MOSTLY).to(flow)
        if self._over_plain_ground:
            lost = lost * torch.stack([texture_mask(each) for each in image])
        return lost.mean(dim=(1, 2, 3))


def _seen_by_net(net: FlowNet, first: Tensor, second: Tensor) -> Tensor:
    times = max(1, round(TRAINED_SIDE_PX / max(first.shape[-2:])))
    rough = net.between(enlarge(first, times), enlarge(second, times))
    return _refined(first, second, F.interpolate(rough, first.shape[-2:], mode="area") / times)


def _refined(first: Tensor, second: Tensor, rough: Tensor) -> Tensor:
    """A flow brought to the brightness edges by OpenCV's variational refinement (Brox et al., ECCV 2004)."""
    refinement = cv2.VariationalRefinement.create()
    refined = [
        refinement.calc(to_grey(a), to_grey(b), np.ascontiguousarray(flow.permute(1, 2, 0).cpu().numpy()))
        for a, b, flow in zip(*map(large_enough, (first, second, rough)), strict=True)
    ]
    height, width = first.shape[-2:]
    return torch.from_numpy(np.stack(refined)).permute(0, 3, 1, 2).to(first)[..., :height, :width]


def _searched(first: Tensor, second: Tensor) -> Tensor:
    search = DisFlow(thorough=True)
    search.encode(first)
    return search.flow(second)


def _fuse(first: Tensor, second: Tensor, net: Tensor, search: Tensor, search_back: Tensor) -> Tensor:
    gap_px = magnitude(search + backward_warp(search_back, search, padding_mode="border"))
    agrees = _mean(gap_px, 1) < AGREES_PX
    signs = _census(first), _census(second)
    better = _mismatch(*signs, search) < _mismatch(*signs, net)
    return _refined(first, second, torch.where(agrees & better, search, net))


def _census(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N H W"]:
    """Every pixel's soft signs against its neighbours: what stays under changes of light."""
    grey = F.pad(image.mean(dim=1, keepdim=True), (CENSUS_PX,) * 4, mode="replicate")
    side = 2 * CENSUS_PX + 1
    near = F.unfold(grey, side).view(len(image), side * side, *image.shape[-2:])
    difference = near - image.mean(dim=1, keepdim=True)
    return difference / (CENSUS_SOFTNESS + difference.square()).sqrt()


def _mismatch(first: Tensor, second: Tensor, flow: Tensor) -> Float[Tensor, "B 1 H W"]:
    """How badly `flow` matches two frames' census signs, averaged over a window; in [0,1]."""
    squared = (first - backward_warp(second, flow, padding_mode="border")).square()
    return _mean((squared / (CENSUS_LIMIT + squared)).mean(dim=1, keepdim=True), WINDOW_PX)


def _mean(values: Tensor, reach_px: int) -> Tensor:
    padded = F.pad(values, (reach_px,) * 4, mode="replicate")
    return F.avg_pool2d(padded, 2 * reach_px + 1, stride=1)
