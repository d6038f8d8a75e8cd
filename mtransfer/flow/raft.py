"""RAFT taken apart: what depends on the source alone is computed once, and a finer size starts from a coarser one.

The submodules are torchvision's; the update loop is ours, because torchvision's `forward` neither keeps the source's
features nor takes a first guess. In half precision, as in the authors' mixed one, encoders and updates are halved;
correlations and positions stay float32. Teed and Deng, RAFT, ECCV 2020.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models.optical_flow import RAFT, raft_large, raft_small
from torchvision.models.optical_flow._utils import make_coords_grid, upsample_flow
from torchvision.models.optical_flow.raft import MaskPredictor

from mtransfer.errors import ModelError
from mtransfer.flow.recurrence import Unit, recurrent_units

STRIDE = 8  # pixels a cell of RAFT's feature map
MIN_SIDE_PX = 128  # below it the coarsest level of RAFT's correlation pyramid is a single cell
SHORTEST_LEVEL_PX = 96


def raft_embedded(**options: Any) -> RAFT:
    """torchvision's raft_small with the learned upsampling of raft_large: silhouettes stay sharp."""
    return raft_small(mask_predictor=MaskPredictor(in_channels=96, hidden_size=128), **options)


BUILDERS: dict[str, Callable[..., RAFT]] = {
    "raft_small": raft_small,
    "raft_large": raft_large,
    "embedded": raft_embedded,
}


@dataclass(frozen=True)
class SourceFeatures:
    """What RAFT knows of a source image [B,3,H,W] before it sees a second one (H, W padded to multiples of 8)."""

    features: Tensor  # [B,C,H/8,W/8]
    hidden: Tensor  # [B,D,H/8,W/8]
    units: list[Unit]  # that carry the hidden state on

    def to(self, dtype: torch.dtype) -> Self:
        """The same with what is updated in another precision; correlations keep theirs."""
        return type(self)(self.features, self.hidden.to(dtype), [unit.to(dtype) for unit in self.units])


def build_raft(name: str, weights: Path | None) -> RAFT:
    """A torchvision RAFT in eval mode without gradients of its own; `weights` is a safetensors or torch state dict."""
    net = BUILDERS[name](weights=None, progress=False)
    if weights is not None:
        try:
            state = (
                load_file(weights)
                if weights.suffix == ".safetensors"
                else torch.load(weights, map_location="cpu", weights_only=True)
            )
            net.load_state_dict(
                {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
            )
        except Exception as error:
            raise ModelError(
                f"{weights}: not the weights of {name} ({type(error).__name__}); fetch the file again"
            ) from error
    return net.eval().requires_grad_(False)


def encode_source(net: RAFT, image: Float[Tensor, "B 3 H W"]) -> SourceFeatures:
    """The source side of RAFT for `image` in [0,1], H and W multiples of 8 and at least 128."""
    scaled = 2 * image - 1
    context_out = net.context_encoder(scaled)
    hidden_size = net.update_block.hidden_state_size
    hidden, context = torch.split(context_out, [hidden_size, context_out.shape[1] - hidden_size], dim=1)
    units = recurrent_units(net, F.relu(context))
    return SourceFeatures(net.feature_encoder(scaled), torch.tanh(hidden), units)


def refine(
    net: RAFT,
    source: SourceFeatures,
    image: Float[Tensor, "B 3 H W"],
    updates: int,
    start: Float[Tensor, "B 2 h w"] | None = None,
) -> list[Float[Tensor, "B 2 H W"]]:
    """Flow in pixels from the source to `image` (in [0,1]) after each update; `start` is in cells (pixels / 8).

    Equal to torchvision's forward when `start` is None.
    """
    return [_upsampled(net, *state) for state in _states(net, source, image, updates, start)]


def _upsampled(net: RAFT, hidden: Tensor, cells: Tensor) -> Tensor:
    mask = None if net.mask_predictor is None else net.mask_predictor(hidden).to(cells)
    return upsample_flow(flow=cells, up_mask=mask)


def _states(
    net: RAFT, source: SourceFeatures, image: Tensor, updates: int, start: Tensor | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Hidden state and flow in cells after each update, in the source's precision, which is the net's."""
    dtype = source.hidden.dtype
    features = net.feature_encoder((2 * image - 1).to(dtype)).to(source.features)
    net.corr_block.build_pyramid(source.features, features)
    cells = source.features.shape
    grid = make_coords_grid(cells[0], cells[2], cells[3], image.device)
    position, hidden = grid if start is None else grid + start, source.hidden
    for _ in range(updates):
        position = position.detach()
        correlation = net.corr_block.index_pyramid(centroids_coords=position)
        motion = net.update_block.motion_encoder((position - grid).to(dtype), correlation.to(dtype))
        for unit in source.units:
            hidden = unit(hidden, motion)
        position = position + net.update_block.flow_head(hidden).to(position)
        yield hidden, position - grid
    net.corr_block.corr_pyramid = []  # the largest tensors here, and with them the graph


def padding_for(height: int, width: int) -> tuple[int, int]:
    """Rows and columns to add so that both sides are multiples of 8 and at least 128."""
    grown = [max(MIN_SIDE_PX, -(-side // STRIDE) * STRIDE) for side in (height, width)]
    return grown[0] - height, grown[1] - width


def pad(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 h w"]:
    """`image` with its last row and column repeated until RAFT takes it."""
    rows, columns = padding_for(image.shape[-2], image.shape[-1])
    return F.pad(image, (0, columns, 0, rows), mode="replicate") if rows or columns else image


def enlarge(image: Float[Tensor, "B 3 H W"], times: int) -> Float[Tensor, "B 3 h w"]:
    """`image` in [0,1], `times` as large (bicubic): RAFT's cells then cover fewer pixels of it, and thin parts show."""
    return F.interpolate(image, scale_factor=times, mode="bicubic").clamp(0, 1) if times > 1 else image


def level_sizes(height: int, width: int, levels: int) -> list[tuple[int, int]]:
    """Sizes from coarse to fine: halved while the shorter side stays at least 96, which padding brings to 128."""
    sizes = [(height, width)]
    while len(sizes) < levels and min(sizes[0]) // 2 >= SHORTEST_LEVEL_PX:
        sizes.insert(0, (-(-sizes[0][0] // 2), -(-sizes[0][1] // 2)))
    return sizes


class FlowNet:
    """RAFT with a remembered source: `encode(a)` once, then `flow(b)` as often as wanted. One instance a thread.

    The source is read in float32, the other image in `dtype`.
    """

    def __init__(self, net: RAFT, updates: int, levels: int = 1, dtype: torch.dtype = torch.float32) -> None:
        self.net, self.updates, self.levels, self.dtype = net, updates, levels, dtype
        self._rounded = net if dtype == torch.float32 else copy.deepcopy(net).to(dtype)
        self._sources: list[SourceFeatures] = []
        self._sizes: list[tuple[int, int]] = []

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    def to(self, device: torch.device | str) -> "FlowNet":
        self.net.to(device)
        self._rounded.to(device)
        return self

    def encode(self, source: Float[Tensor, "B 3 H W"]) -> None:
        """Remember `source`, in [0,1], of any size."""
        self._sizes = level_sizes(source.shape[-2], source.shape[-1], self.levels)
        with torch.no_grad():
            found = [encode_source(self.net, pad(_shrink(source, size))) for size in self._sizes]
        self._sources = [each.to(self.dtype) for each in found]

    def flow(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 2 H W"]:
        """Forward flow in pixels from the remembered source to `image`, in [0,1]; differentiable in `image`."""
        flow: Tensor | None = None
        for size, source in zip(self._sizes, self._sources, strict=True):
            start = None if flow is None else _to_cells(flow, size, source.features.shape[-2:])
            # A coarser level is where a finer one starts; no gradient goes through it.
            with torch.set_grad_enabled(torch.is_grad_enabled() and size == self._sizes[-1]):
                *_, last = _states(self._rounded, source, pad(_shrink(image, size)), self.updates, start)
                padded = _upsampled(self._rounded, *last)
            flow = padded[..., : size[0], : size[1]]
        assert flow is not None, "encode() comes before flow()"
        return flow

    def between(self, source: Float[Tensor, "B 3 H W"], image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 2 H W"]:
        """Flow in pixels from `source` to `image`, without gradients."""
        self.encode(source)
        with torch.no_grad():
            return self.flow(image)


def _shrink(image: Tensor, size: tuple[int, int]) -> Tensor:
    return image if tuple(image.shape[-2:]) == size else F.interpolate(image, size, mode="area")


def _to_cells(flow: Tensor, size: tuple[int, int], cells: torch.Size) -> Tensor:
    """Flow of a coarser level as RAFT's start at this one: resized, padded, in cells."""
    scale = flow.new_tensor([size[1] / flow.shape[-1], size[0] / flow.shape[-2]]).view(1, 2, 1, 1)
    grown = F.interpolate(flow * scale, size, mode="bilinear", align_corners=False)
    padded = F.pad(grown, (0, cells[1] * STRIDE - size[1], 0, cells[0] * STRIDE - size[0]), mode="replicate")
    return F.interpolate(padded, tuple(cells), mode="area") / STRIDE
