"""The scattered half of inverting a flow: continue it past a mask, and find a source for every target pixel."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

POWERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))  # of x and y in a fit's moments


def extend_flow(
    flow: Float[Tensor, "1 2 H W"], known: Bool[Tensor, "1 1 H W"], width_px: int
) -> tuple[Float[Tensor, "1 2 H W"], Bool[Tensor, "1 1 H W"]]:
    """Continue a flow for `width_px` pixels beyond where it is known, by its local affine trend.

    At each new pixel the plane that fits the known ones around it best (Gaussian weights) is read; an affine flow is
    thus continued exactly. Returns the flow, 0 beyond the band, and where it now holds.
    """
    weight = known.to(flow)
    ring = (F.max_pool2d(weight, 2 * width_px + 1, stride=1, padding=width_px) > 0) & ~known
    extended = flow * weight
    row, column = ring[0, 0].nonzero(as_tuple=True)
    # In double precision, which not every accelerator has: sums nearly cancel where the known pixels lie to one side.
    values = torch.cat([weight, extended], dim=1)[0].cpu().double()
    moments = _moments(values, row.cpu(), column.cpu(), width_px)
    extended[0, :, row, column] = _plane_at_centre(moments).to(flow)
    return extended, ring | known


def _moments(values: Float[Tensor, "C H W"], row: Tensor, column: Tensor, width_px: int) -> Float[Tensor, "C N 6"]:
    """Sums over Gaussian windows at N pixels of each channel times 1, x, y, x^2, xy, y^2 about the window's centre."""
    radius = 2 * width_px
    offset = np.arange(-radius, radius + 1) / width_px
    weights = np.exp(-2 * offset**2) * offset ** np.arange(3)[:, None]  # their products make the Gaussian, too

    def sums(channel: NDArray[np.float64], x: int, y: int) -> NDArray[np.float64]:
        whole = cv2.sepFilter2D(channel, -1, weights[x], weights[y], borderType=cv2.BORDER_CONSTANT)
        return whole[row.numpy(), column.numpy()]

    found = [[sums(channel, x, y) for x, y in POWERS] for channel in values.numpy()]
    return torch.from_numpy(np.array(found)).transpose(1, 2)


def _plane_at_centre(moments: Float[Tensor, "3 N 6"]) -> Float[Tensor, "2 N"]:
    """Height at the window's centre of the least-squares planes through two channels; the first is their weight."""
    one, x, y, xx, xy, yy = moments[0].unbind(dim=1)
    values, values_x, values_y = moments[1:, :, :3].unbind(dim=2)
    # A whiff of damping on the slopes: where known pixels stand in one row, the plane must not tilt off it.
    damping = 1e-5 * one + 1e-12
    xx, yy = xx + damping, yy + damping
    minor, minor_x, minor_y = xx * yy - xy * xy, y * xy - x * yy, x * xy - y * xx
    determinant = (one * minor + x * minor_x + y * minor_y).clamp_min(1e-30)
    return (values * minor + values_x * minor_x + values_y * minor_y) / determinant


def nearest_source(
    flow: Float[Tensor, "1 2 H W"], known: Bool[Tensor, "1 1 H W"], rank: Float[Tensor, "1 1 H W"], upsample: int
) -> tuple[Float[Tensor, "1 2 H W"], Bool[Tensor, "1 1 H W"]]:
    """For every target pixel, a source point (x, y) that p + flow(p) carries to it, and whether there is one.

    `upsample`^2 points a pixel are tried; of several that arrive at a pixel the one of highest `rank` stays.
    """
    height, width = flow.shape[-2:]
    points, moved, ranks = _dense_points(flow, known, rank, upsample)
    column, row = moved.round().long().unbind(dim=0)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    points, ranks, cell = points[:, inside], ranks[inside], (row * width + column)[inside]
    winner = _winner(cell, ranks, height * width)
    found = winner >= 0
    source = points.new_zeros(2, height * width)
    source[:, found] = points[:, winner[found]]
    return source.view(1, 2, height, width), found.view(1, 1, height, width)


def _dense_points(
    flow: Tensor, known: Tensor, rank: Tensor, upsample: int
) -> tuple[Float[Tensor, "2 N"], Float[Tensor, "2 N"], Float[Tensor, " N"]]:
    """Points of a grid `upsample` times as fine as the pixels: where they are, where they go, their rank."""
    row, column = known[0, 0].nonzero(as_tuple=True)
    steps = (torch.arange(upsample, device=flow.device, dtype=flow.dtype) + 0.5) / upsample - 0.5
    shift = torch.stack(torch.meshgrid(steps, steps, indexing="xy")).view(2, 1, -1)
    centre = torch.stack([column, row]).to(flow)[:, :, None]
    vector = flow[0, :, row, column][:, :, None]
    along_x, along_y = (_limited_slope(flow[0], dim)[:, row, column][:, :, None] for dim in (2, 1))
    points = centre + shift
    moved = points + vector + along_x * shift[0] + along_y * shift[1]
    ranks = rank[0, 0, row, column][:, None].expand(-1, upsample**2)
    return points.flatten(1), moved.flatten(1), ranks.flatten()


def _limited_slope(values: Tensor, dim: int) -> Tensor:
    """The gentler of the slopes to both neighbours, 0 where they disagree: no pixel is smeared across a tear."""
    rise = values.diff(dim=dim)
    before = torch.cat([rise.narrow(dim, 0, 1), rise], dim=dim)
    after = torch.cat([rise, rise.narrow(dim, rise.shape[dim] - 1, 1)], dim=dim)
    return torch.where(before * after > 0, torch.where(before.abs() < after.abs(), before, after), 0)


def _winner(cell: Tensor, ranks: Tensor, cells: int) -> Tensor:
    """Index of the highest-ranked point in each cell, the first of equals, -1 where the cell is empty."""
    best = ranks.new_full((cells,), -torch.inf).scatter_reduce(0, cell, ranks, "amax")
    index = torch.arange(len(cell), device=cell.device)
    leads = ranks == best[cell]
    return (
        index.new_full((cells,), len(cell))
        .scatter_reduce(0, cell[leads], index[leads], "amin")
        .where(best > -torch.inf, -1)
    )
