"""Filling a hole with texture of the known picture: exemplar-based inpainting.

Wexler, Shechtman and Irani, Space-time completion of video, PAMI 2007, by PatchMatch (Barnes et al., SIGGRAPH 2009): at
working size by pypatchmatch, whose fill is then matched once more to copy the picture's own detail at its own size.
"""

from dataclasses import dataclass

import numpy as np
import patchmatch
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.interpolate import push_pull
from mtransfer.flow.warp import dilate

WORK_SIDE_PX = 320
SHORTEST_SIDE_PX = 24  # at working size, of strips
INPAINTING_RADIUS = 4  # of pypatchmatch's patches: larger ones follow larger structures, slowly
RADIUS = 2  # of the patches by which detail is found
WINDOW = 2 * RADIUS + 1
ROUNDS = 4  # of matching
SEAM_PX = 2  # just inside the hole, where copied detail passes over into the known picture; at working size half
RELAXATIONS = 12  # of that passage: Jacobi sweeps, from one side of it to the other and back
STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0), (0, 4), (0, -4), (4, 0), (-4, 0))


@dataclass
class _Matching:
    """A filled picture [3,h,w], where patches may come from and go to, and the match of every target."""

    image: Tensor
    allowed: Tensor  # [h*w] bool: centres of wholly known patches
    patches: Tensor  # [h*w, 3 * window^2]: what is around every pixel
    targets: Tensor  # [N] flat centres of patches that reach into the hole
    matches: Tensor  # [N] flat centres of their sources


def fill_exemplar(image: Float[Tensor, "1 3 H W"], hole: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "1 3 H W"]:
    """The picture in [0,1] with `hole` (1 = unknown) filled by pieces of the rest. Deterministic.

    Where too little of the picture is known for patches, the fill is smooth.
    """
    if not bool(hole.any()) or not bool((hole < 1).any()):
        return image
    longest, shortest = max(image.shape[-2:]), min(image.shape[-2:])
    scale = max(1.0, min(longest / WORK_SIDE_PX, shortest / SHORTEST_SIDE_PX))
    size = tuple(max(1, round(side / scale)) for side in image.shape[-2:])
    share = F.interpolate(1 - hole.float().cpu(), size, mode="area")
    small = F.interpolate(image.float().cpu() * (1 - hole.cpu()), size, mode="area") / share.clamp_min(1e-6)
    unknown = share < 1 - 1e-4
    if min(size) <= 2 * INPAINTING_RADIUS or not bool((dilate(unknown.float(), INPAINTING_RADIUS) == 0).any()):
        return push_pull(image, 1 - hole)
    filled = torch.where(unknown, _inpainted(small, unknown), small)
    if scale > 1:
        filled = _with_detail(filled, unknown, image.cpu(), hole.cpu())
    return _softened(torch.where(hole > 0, filled.to(image), image), hole, SEAM_PX if scale > 1 else SEAM_PX // 2)


def _inpainted(image: Tensor, hole: Tensor) -> Tensor:
    """Pypatchmatch's fill of a small picture [1,3,h,w] in 8 bits."""
    levels = (255 * image[0].permute(1, 2, 0)).round().clamp(0, 255).to(torch.uint8).contiguous().numpy()
    patchmatch.set_random_seed(0)
    filled = patchmatch.inpaint(levels, hole[0, 0].numpy().astype(np.uint8), patch_size=INPAINTING_RADIUS)
    return torch.from_numpy(filled).permute(2, 0, 1)[None].float() / 255


def _softened(filled: Tensor, hole: Tensor, width_px: int) -> Tensor:
    """The picture with a smooth passage just inside the hole's border, which pieces alone leave visible."""
    known = (hole == 0).to(filled)
    y, x = (dilate(known, width_px) - known)[0, 0].nonzero(as_tuple=True)
    height, width = filled.shape[-2:]
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    beside = torch.stack([(y + dy).clamp(0, height - 1) * width + (x + dx).clamp(0, width - 1) for dy, dx in steps])
    colours = filled[0].flatten(1).clone()
    for _ in range(RELAXATIONS):
        colours[:, y * width + x] = colours[:, beside].mean(dim=1)
    return colours.view_as(filled)


def _with_detail(small: Tensor, unknown: Tensor, image: Tensor, hole: Tensor) -> Tensor:
    """The picture, filled with what the small fill shows, and with the detail of where that is found."""
    (height, width), (h, w) = image.shape[-2:], small.shape[-2:]
    copied = F.interpolate(small, (height, width), mode="bicubic", align_corners=False).clamp(0, 1)
    copied = torch.where(hole > 0, copied, image)
    field = _source_of_each(small, unknown).view(h, w)
    y, x = (hole[0, 0] > 0).nonzero(as_tuple=True)
    row, column = y * h // height, x * w // width
    match = field[row, column]
    from_y = (y + ((match // w - row) * (height / h)).round().long()).clamp(0, height - 1)
    from_x = (x + ((match % w - column) * (width / w)).round().long()).clamp(0, width - 1)
    found = (match >= 0) & (hole[0, 0, from_y, from_x] == 0)
    copied[0][:, y[found], x[found]] = image[0][:, from_y[found], from_x[found]]
    # What was copied has the detail, the small fill the colours that fit together.
    shift = (small - F.interpolate(copied, (h, w), mode="area")) * unknown
    return (copied + hole * F.interpolate(shift, (height, width), mode="bilinear", align_corners=False)).clamp(0, 1)


def _source_of_each(image: Tensor, hole: Tensor) -> Tensor:
    """[h*w]: for every pixel of a filled hole the flat place that looks most like it, -1 elsewhere."""
    inside = F.pad(torch.ones(1, 1, *(side - 2 * RADIUS for side in image.shape[-2:])), (RADIUS,) * 4) > 0
    near = dilate(hole.float(), RADIUS) > 0
    allowed, targets = (~near & inside).flatten(), (near & inside).flatten().nonzero()[:, 0]
    generator = torch.Generator().manual_seed(0)
    sources = allowed.nonzero()[:, 0]
    if not len(sources):
        return torch.full((allowed.numel(),), -1)
    random = sources[torch.randint(len(sources), (len(targets),), generator=generator)]
    patches = F.unfold(image, WINDOW, padding=RADIUS)[0].T.contiguous()
    matching = _Matching(image[0], allowed, patches, targets, random)
    for _ in range(ROUNDS):
        _match(matching, generator)
    return torch.full((allowed.numel(),), -1).scatter(0, targets, matching.matches)


def _match(matching: _Matching, generator: torch.Generator) -> None:
    """PatchMatch: matches of neighbours, shifted, and random ones nearer and nearer, wherever they are better."""
    (height, width), count = matching.image.shape[-2:], matching.allowed.numel()
    wanted = matching.patches[matching.targets]
    best = (matching.patches[matching.matches] - wanted).square().sum(dim=1)
    for dy, dx in STEPS:
        step = dy * width + dx
        field = torch.full((count,), -1).scatter(0, matching.targets, matching.matches)
        neighbour = field[(matching.targets - step).clamp(0, count - 1)]
        best = _try(matching, wanted, best, torch.where(neighbour >= 0, neighbour + step, -1))
    reach = float(max(height, width))
    while reach >= 1:
        shift = (reach * (2 * torch.rand(2, len(matching.targets), generator=generator) - 1)).round().long()
        y, x = matching.matches // width + shift[0], matching.matches % width + shift[1]
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        best = _try(matching, wanted, best, torch.where(inside, y * width + x, -1))
        reach /= 2


def _try(matching: _Matching, wanted: Tensor, best: Tensor, candidates: Tensor) -> Tensor:
    """Take the candidates (-1: none) that are allowed and better; returns the distances of the matches now."""
    safe = candidates.clamp(0, matching.allowed.numel() - 1)
    possible = ((candidates == safe) & matching.allowed[safe]).nonzero()[:, 0]
    distance = (matching.patches[safe[possible]] - wanted[possible]).square().sum(dim=1)
    better = distance < best[possible]
    chosen = possible[better]
    matching.matches[chosen] = safe[chosen]
    return best.index_put((chosen,), distance[better])
