"""Filling a hole with texture: every patch of it becomes like some patch of the known picture.

Wexler, Shechtman and Irani, Space-time completion of video, PAMI 2007, with the nearest patches found as in PatchMatch
(Barnes et al., SIGGRAPH 2009), all targets at once. Coarse to fine, from a smooth fill.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.interpolate import push_pull
from mtransfer.flow.warp import dilate

RADIUS = 2  # of the patches: larger ones find smoother matches
WINDOW = 2 * RADIUS + 1
SHARPNESS = 4.0  # of the last vote
ROUNDS = 8  # of matching and voting at each size
SEAM_PX = 2  # just inside the hole, where the fill passes over into the known picture
SHORTEST_SIDE_PX = 48  # of the coarsest level
WORK_SIDE_PX = 256
NEIGHBOURS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0), (0, 4), (0, -4), (4, 0), (-4, 0))


@dataclass
class _Level:
    """One size: the picture [3,h,w], where patches may come from and go to, and the match of every target."""

    image: Tensor
    hole: Tensor  # [h,w] bool
    allowed: Tensor  # [h*w] bool: centres of wholly known patches
    patches: Tensor  # [h*w, 3 * window^2]: what is around every pixel of the known picture
    targets: Tensor  # [N] flat centres of patches that reach into the hole
    matches: Tensor  # [N] flat centres of their sources


def fill_exemplar(image: Float[Tensor, "1 3 H W"], hole: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "1 3 H W"]:
    """The picture with `hole` (1 = unknown) filled by pieces of the rest. Deterministic.

    The pieces are found at working size and then copied at the picture's own. Where too little of the picture is known
    for patches, the fill is smooth.
    """
    if not bool(hole.any()):
        return image
    scale = max(1.0, max(image.shape[-2:]) / WORK_SIDE_PX)
    work = tuple(max(WINDOW, round(side / scale)) for side in image.shape[-2:])
    level = _found(image.float().cpu(), hole.float().cpu(), work)
    if level is None:
        return push_pull(image, 1 - hole) if bool((hole < 1).any()) else image
    if scale == 1:
        filled = _seamless(_vote(level, sharp=True), level.image, level.hole)
    else:
        filled = _copied(level, image[0].cpu(), hole[0, 0].cpu() > 0)
    return _softened(torch.where(hole > 0, filled[None].to(image), image), hole)


def _softened(filled: Tensor, hole: Tensor) -> Tensor:
    """The picture with a smooth passage just inside the hole's border, which pieces alone leave visible."""
    known = (hole == 0).to(filled)
    return push_pull(filled, 1 - (dilate(known, SEAM_PX) - known))


def _found(image: Tensor, hole: Tensor, work: tuple[int, ...]) -> _Level | None:
    """The finest level at working size, matched; None where there are no patches to take."""
    if not bool((hole < 1).any()):
        return None
    generator = torch.Generator().manual_seed(0)
    share = F.interpolate(1 - hole, work, mode="area")
    small = F.interpolate(image * (1 - hole), work, mode="area") / share.clamp_min(1e-6)
    rough, level = push_pull(small, (share > 0.5).to(image)), None
    for size in _sizes(*work):
        finer = _level(image, rough if level is None else level.image[None], hole, size)
        if finer is None:
            return None
        finer.matches = _start(finer, level, generator)
        for _ in range(ROUNDS):
            _match(finer, generator)
            finer.image = torch.where(finer.hole, _vote(finer, sharp=False)[0], finer.image)
        level = finer
    return level


def _copied(level: _Level, image: Tensor, hole: Tensor) -> Tensor:
    """The matches of a smaller size carried out on the picture itself: each pixel from where its patches point."""
    (height, width), (h, w) = image.shape[-2:], level.image.shape[-2:]
    y, x = (dilate(hole[None, None].float(), RADIUS)[0, 0] > 0).nonzero(as_tuple=True)
    field = torch.full((h * w,), -1).scatter(0, level.targets, level.matches).view(h, w)
    total, summed = torch.zeros(len(y)), torch.zeros(3, len(y))
    for dy, dx in NEIGHBOURS:
        row, column = (y * h // height + dy).clamp(0, h - 1), (x * w // width + dx).clamp(0, w - 1)
        match = field[row, column]
        from_y = (y + ((match // w - row) * (height / h)).round().long()).clamp(0, height - 1)
        from_x = (x + ((match % w - column) * (width / w)).round().long()).clamp(0, width - 1)
        weight = ((match >= 0) & ~hole[from_y, from_x]) * math.exp(-(dy**2 + dx**2))
        total, summed = total + weight, summed + weight * image[:, from_y, from_x]
    painted, reached = image.clone(), torch.zeros_like(hole)
    painted[:, y, x], reached[y, x] = summed / total.clamp_min(1e-12), total > 0
    rough = F.interpolate(level.image[None], (height, width), mode="bilinear", align_corners=False)[0]
    return _seamless((torch.where(reached, painted, rough), reached), torch.where(hole, rough, image), hole)


def _seamless(vote: tuple[Tensor, Tensor], image: Tensor, hole: Tensor) -> Tensor:
    """A painting, its colours shifted smoothly so that they meet the known picture around the hole."""
    painted, reached = vote
    ring = (reached & ~hole)[None, None].float()
    if not bool(ring.any()):
        return painted
    # A smooth shift needs no more than working size.
    scale = max(1.0, max(hole.shape) / WORK_SIDE_PX)
    size = [round(side / scale) for side in hole.shape]
    share = F.interpolate(ring, size, mode="area").clamp_min(1e-6)
    small = F.interpolate(ring * (image - painted), size, mode="area") / share
    shift = push_pull(small, (share > 1e-3).to(image))
    return torch.where(reached, painted + F.interpolate(shift, hole.shape, mode="bilinear")[0], image)


def _sizes(height: int, width: int) -> list[tuple[int, int]]:
    sizes = [(height, width)]
    while min(sizes[0]) // 2 >= SHORTEST_SIDE_PX:
        sizes.insert(0, (sizes[0][0] // 2, sizes[0][1] // 2))
    return sizes


def _level(image: Tensor, current: Tensor, hole: Tensor, size: tuple[int, int]) -> _Level | None:
    small_hole = F.adaptive_max_pool2d(hole, size) > 0
    inner = F.interpolate(current, size, mode="area" if current.shape[-1] > size[1] else "bilinear")
    small = torch.where(small_hole, inner, F.interpolate(image, size, mode="area"))
    inside = F.pad(torch.ones(1, 1, size[0] - 2 * RADIUS, size[1] - 2 * RADIUS), (RADIUS,) * 4) > 0
    near = dilate(small_hole.float(), RADIUS)
    whole = near == 0
    reach = near > 0
    allowed, targets = (whole & inside).flatten(), (reach & inside).flatten().nonzero()[:, 0]
    if not bool(allowed.any()):
        return None
    patches = F.unfold(small, WINDOW, padding=RADIUS)[0].T.contiguous()
    return _Level(small[0], small_hole[0, 0], allowed, patches, targets, targets)


def _start(level: _Level, coarser: _Level | None, generator: torch.Generator) -> Tensor:
    """Matches carried over from the coarser level, random where there are none."""
    sources = level.allowed.nonzero()[:, 0]
    random = sources[torch.randint(len(sources), (len(level.targets),), generator=generator)]
    if coarser is None:
        return random
    width, coarse_width = level.image.shape[-1], coarser.image.shape[-1]
    y, x = level.targets // width, level.targets % width
    coarse_height = coarser.image.shape[-2]
    field = torch.full((coarser.allowed.numel(),), -1).scatter(0, coarser.targets, coarser.matches)
    at = (y // 2).clamp_max(coarse_height - 1) * coarse_width + (x // 2).clamp_max(coarse_width - 1)
    found = field[at]
    up = (2 * (found // coarse_width) + y % 2) * width + 2 * (found % coarse_width) + x % 2
    up = up.clamp(0, level.allowed.numel() - 1)
    return torch.where((found >= 0) & level.allowed[up], up, random)


def _match(level: _Level, generator: torch.Generator) -> None:
    """PatchMatch: matches of neighbours, shifted, and random ones nearer and nearer, wherever they are better."""
    (height, width), count = level.image.shape[-2:], level.allowed.numel()
    wanted = _around(level.image, level.targets)
    best = (level.patches[level.matches] - wanted).square().sum(dim=1)
    for dy, dx in STEPS:
        step = dy * width + dx
        field = torch.full((count,), -1).scatter(0, level.targets, level.matches)
        neighbour = field[(level.targets - step).clamp(0, count - 1)]
        best = _try(level, wanted, best, torch.where(neighbour >= 0, neighbour + step, -1))
    reach = float(max(height, width))
    while reach >= 1:
        shift = (reach * (2 * torch.rand(2, len(level.targets), generator=generator) - 1)).round().long()
        y, x = level.matches // width + shift[0], level.matches % width + shift[1]
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        best = _try(level, wanted, best, torch.where(inside, y * width + x, -1))
        reach /= 2


def _try(level: _Level, wanted: Tensor, best: Tensor, candidates: Tensor) -> Tensor:
    """Take the candidates (-1: none) that are allowed and better; returns the distances of the matches now."""
    safe = candidates.clamp(0, level.allowed.numel() - 1)
    possible = ((candidates == safe) & level.allowed[safe]).nonzero()[:, 0]
    distance = (level.patches[safe[possible]] - wanted[possible]).square().sum(dim=1)
    better = distance < best[possible]
    chosen = possible[better]
    level.matches[chosen] = safe[chosen]
    return best.index_put((chosen,), distance[better])


def _around(image: Tensor, centres: Tensor) -> Tensor:
    """[N, C * window^2]: the patches of an image [C,h,w] around flat centres."""
    return image.flatten(1)[:, centres[:, None] + _shifts(image.shape[-1])].transpose(0, 1).flatten(1)


def _shifts(width: int) -> Tensor:
    reach = torch.arange(-RADIUS, RADIUS + 1)
    return (reach[:, None] * width + reach[None]).flatten()


def _vote(level: _Level, *, sharp: bool) -> tuple[Tensor, Tensor]:
    """The mean of what the patches over each pixel say, the better ones counting more, and where there are any."""
    height, width = level.image.shape[-2:]
    sources = level.patches[level.matches]
    distance = (sources - _around(level.image, level.targets)).square().sum(dim=1)
    scale = torch.quantile(distance, 0.75).clamp_min(1e-6)
    weight = torch.exp(-(SHARPNESS if sharp else 1.0) * distance / scale)[:, None].expand(-1, WINDOW**2)
    if sharp:  # the middle of a patch is surest
        reach = torch.arange(-RADIUS, RADIUS + 1)
        weight = weight * torch.exp(-(reach[:, None] ** 2.0 + reach[None] ** 2)).flatten()
    at = (level.targets[:, None] + _shifts(width)).flatten()
    total = torch.zeros(height * width).index_add(0, at, weight.flatten())
    values = (sources.view(-1, 3, WINDOW**2) * weight[:, None]).transpose(0, 1).flatten(1)
    mean = torch.zeros(3, height * width).index_add(1, at, values) / total.clamp_min(1e-12)
    reached = total.view(height, width) > 1e-12
    return torch.where(reached, mean.view(3, height, width), level.image), reached
