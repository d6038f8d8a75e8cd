"""Warps along a flow, and the masks they leave: pure tensor functions.

Shapes: images [B,C,H,W], flows [B,2,H,W] as (dx, dy) in pixels anchored on the source, masks [B,1,H,W] in [0,1].
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.interpolate import fill_motion
from mtransfer.flow.splatting import extend_flow, nearest_source
from mtransfer.media.crop import window

INVERTED_SIDE_PX = 1024  # of larger pictures the motion is inverted on every n-th pixel
NEWTON_STEPS = 4
RING_PX = 4  # how far the motion is continued beyond the mask: soft edges and derivatives need neighbours there
EDGE_PX = 2  # how far around the mask source points are tried, for its soft edge
BETWEEN = 0.1  # of a moved region's size: how far apart what moves may be for what is between to be fixed
FIXED_PX, FADING_PX = 1.0, 1.5  # motion, carried on from around, of a fixed point; motion beside it: of rounded flows
MAX_UPSAMPLE = 8  # source points tried a pixel's side: enough for a fivefold enlargement
MAX_TAPS = 4  # samples a side when a subject shrinks: enough for a quarter of its size


def pixel_grid(like: Float[Tensor, "B C H W"]) -> Float[Tensor, "1 2 H W"]:
    """The (x, y) of every pixel centre, [1,2,H,W], in the type and on the device of `like`."""
    height, width = like.shape[-2:]
    x = torch.arange(width, dtype=like.dtype, device=like.device)
    y = torch.arange(height, dtype=like.dtype, device=like.device)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))[None]


@torch.no_grad()
def moved_region(flow: Float[Tensor, "B 2 H W"]) -> Float[Tensor, "B 1 H W"]:
    """1 where a flow moves something, 0 elsewhere; its fixed points, between what moves, belong to what moves.

    A subject that is stretched about a line, or turned about a point, stands still there: such pixels are told from
    what lies beside or behind it by the motion around them, which fades towards them.
    """
    return torch.cat([_moved_region(each[None]) for each in flow])


def _moved_region(flow: Tensor) -> Tensor:
    region = flow.ne(0).any(dim=1, keepdim=True).to(flow)
    reach_px = max(2, round(BETWEEN * math.sqrt(float(region.sum()))))
    rows, columns = window(region, 0.0)
    moving = region[..., rows, columns]
    fading = moving * (magnitude(flow[..., rows, columns]) < FADING_PX)
    between = erode(dilate(moving, reach_px), reach_px) * dilate(fading, reach_px) * (1 - moving)
    if bool(between.any()):
        fixed = between * (magnitude(fill_motion(flow[..., rows, columns], moving)) < FIXED_PX)
        sealed = erode(dilate(torch.maximum(moving, fixed), 1), 1) * dilate(fixed, 1)
        region[..., rows, columns] = torch.maximum(moving, sealed)
    return region


def backward_warp(
    image: Float[Tensor, "B C H W"], flow: Float[Tensor, "B 2 H W"], padding_mode: str = "reflection"
) -> Float[Tensor, "B C H W"]:
    """Sample `image` at p + flow(p), bilinearly; differentiable in both.

    Corners aligned and reflected edges are the convention of Motion Guidance (Geng and Owens, 2024).
    """
    return sample(image, pixel_grid(flow) + flow, padding_mode=padding_mode)


def magnitude(flow: Float[Tensor, "B 2 H W"]) -> Float[Tensor, "B 1 H W"]:
    """Of every vector, in its unit."""
    return torch.hypot(flow[:, :1], flow[:, 1:])  # much quicker than a norm over so short an axis


def sample(
    image: Float[Tensor, "B C H W"],
    points: Float[Tensor, "B 2 h w"],
    *,
    mode: str = "bilinear",
    padding_mode: str = "border",
) -> Float[Tensor, "B C h w"]:
    """`image` at `points`, (x, y) in pixels of the image; modes and padding are those of grid_sample."""
    last = points.new_tensor([image.shape[-1] - 1, image.shape[-2] - 1]).clamp_min(1).view(1, 2, 1, 1)
    grid = (2 * points / last - 1).permute(0, 2, 3, 1)
    return F.grid_sample(image, grid, mode=mode, padding_mode=padding_mode, align_corners=True)


def forward_warp(
    image: Float[Tensor, "1 C H W"],
    flow: Float[Tensor, "1 2 H W"],
    mask: Float[Tensor, "1 1 H W"],
    inverted_side_px: int = INVERTED_SIDE_PX,
) -> tuple[Float[Tensor, "1 C H W"], Float[Tensor, "1 1 H W"]]:
    """The masked subject carried along its forward flow, and its new silhouette, soft-edged, in [0,1].

    The original pixels are sampled once, bicubically, along the inverse of the flow: enlarged or turned subjects
    stay sharp and whole, shrunk ones are averaged. Colours outside the silhouette are not meaningful; composite
    with the mask. Differentiable in `image`. Give the flow unfeathered; it may end within the mask's soft edge. Of
    pictures larger than `inverted_side_px` the motion is inverted on fewer pixels: quicker, less exact.
    """
    every = max(1, round(max(flow.shape[-2:]) / inverted_side_px))
    backward, target_mask = invert_flow(flow, mask) if every == 1 else _invert_coarsely(flow, mask, every)
    return _carry(image, backward, target_mask), target_mask


def _invert_coarsely(flow: Tensor, mask: Tensor, every: int) -> tuple[Tensor, Tensor]:
    """As `invert_flow` from every n-th pixel: motion is smooth, and the silhouette is the full mask's all the same."""
    coarse, silhouette = invert_flow(flow[..., ::every, ::every] / every, mask[..., ::every, ::every])
    parts = torch.cat([every * coarse, dilate(silhouette, 1), silhouette], dim=1)
    backward, near, inside = _enlarged(parts, every, flow.shape[-2:]).split((2, 1, 1), dim=1)
    return backward, _area_sample(mask, backward, inside > 0.5, near) * (near > 0)


def _enlarged(values: Tensor, every: int, size: Sequence[int]) -> Tensor:
    """Values at every n-th pixel, from the first on, brought to every pixel: bilinear, and the last ones repeated."""
    between = [(count - 1) * every + 1 for count in values.shape[-2:]]
    linear = F.interpolate(values, between, mode="bilinear", align_corners=True)
    below, right = (whole - part for whole, part in zip(size, between, strict=True))
    return F.pad(linear, (0, right, 0, below), mode="replicate")


def _carry(image: Tensor, backward: Tensor, target_mask: Tensor) -> Tensor:
    warped = _area_sample(image, backward, target_mask > 0.5, target_mask, mode="bicubic")
    return warped.clamp(image.min(), image.max())  # bicubic overshoots at edges


@torch.no_grad()
def invert_flow(
    flow: Float[Tensor, "1 2 H W"],
    mask: Float[Tensor, "1 1 H W"],
    importance: Float[Tensor, "1 1 H W"] | None = None,
) -> tuple[Float[Tensor, "1 2 H W"], Float[Tensor, "1 1 H W"]]:
    """Backward flow of a masked forward flow: inside the moved silhouette, q + backward(q) is where q came from.

    Returns backward [1,2,H,W] in pixels, valid inside the silhouette and a few pixels around it (0 further out), and
    the silhouette [1,1,H,W] in [0,1]. Where the subject folds over itself the pixels of larger `importance` win; by
    default those that move further. A dense splat starts each target pixel, Newton's method finishes it.
    """
    subject = mask > 0
    if not subject.any():
        return torch.zeros_like(flow), torch.zeros_like(mask)
    smooth, _ = extend_flow(flow, _told(mask), RING_PX)
    near = dilate(subject.to(mask), EDGE_PX) > 0
    rank = magnitude(flow) if importance is None else importance
    # Samples of the subject itself beat those of the ring around it, whatever their rank.
    rank = rank / rank.max().clamp_min(1e-12) + (mask > 0.5)
    source, found = nearest_source(smooth, near, rank, upsample=_upsample_factor(smooth, subject))
    backward = _refine(smooth, source, found) - pixel_grid(flow)
    backward, _ = extend_flow(backward, found, RING_PX)
    # Pinholes that a rough flow leaves take the motion of their surroundings; the mask there says what they are.
    closed = erode(dilate(found.to(mask), EDGE_PX), EDGE_PX)
    inside = found & (sample(mask, pixel_grid(flow) + backward) > 0.5)
    return backward, _area_sample(mask, backward, inside, closed) * closed


def _told(mask: Tensor) -> Tensor:
    """Where a flow is taken at its word: within the soft edge of a subject it may have been cut off."""
    body = (mask > 0.5).to(mask)
    return (mask > 0) & ((body > 0) | (dilate(body, RING_PX) == 0))


def _refine(flow: Tensor, source: Tensor, found: Tensor) -> Tensor:
    """Newton's method from the splat's source points, on the pixels found; where it strays the splat's own stays."""
    row, column = found[0, 0].nonzero(as_tuple=True)
    start = source[:, :, row, column][:, :, None]
    target = pixel_grid(flow)[:, :, row, column][:, :, None]
    end = _newton(flow, target, start)
    missed_px = magnitude(end + sample(flow, end) - target)
    refined = source.clone()
    refined[:, :, row, column] = torch.where(missed_px < 0.5, end, start)[:, :, 0]
    return refined


def _newton(flow: Tensor, target: Tensor, start: Tensor) -> Tensor:
    """Solve p + flow(p) = target from `start`; steps stay within a pixel, for the start is already that near."""
    slopes = _jacobian(flow)
    p = start
    for _ in range(NEWTON_STEPS):
        residual_x, residual_y = (target - p - sample(flow, p)).unbind(dim=1)
        a, b, c, d = sample(slopes, p).unbind(dim=1)
        determinant = a * d - b * c
        determinant = torch.where(determinant.abs() < 1e-3, 1e-3, determinant)
        step = torch.stack([d * residual_x - b * residual_y, a * residual_y - c * residual_x], dim=1)
        step = step / determinant[:, None]
        p = p + step / magnitude(step).clamp_min(1)
    return p


def dilate(mask: Float[Tensor, "B 1 H W"], width_px: int) -> Float[Tensor, "B 1 H W"]:
    """A mask widened by `width_px` pixels, squarely."""
    padded = F.pad(mask, (width_px,) * 4, value=-torch.inf)
    for dim in (-1, -2):
        padded = _running_max(padded, 2 * width_px + 1, dim)
    return padded


def _running_max(values: Tensor, count: int, dim: int) -> Tensor:
    """The largest of every `count` neighbours, of which there are so many less: of two, four, eight, and so on."""
    covered = 1
    while covered < count:
        step = min(covered, count - covered)
        length = values.shape[dim] - step
        values = torch.maximum(values.narrow(dim, 0, length), values.narrow(dim, step, length))
        covered += step
    return values


def erode(mask: Float[Tensor, "B 1 H W"], width_px: int) -> Float[Tensor, "B 1 H W"]:
    """A mask narrowed by `width_px` pixels, squarely."""
    return -dilate(-mask, width_px)


def _jacobian(flow: Tensor) -> Tensor:
    """Derivatives of p + flow(p) as [B,4,H,W]: dx/dx, dx/dy, dy/dx, dy/dy."""
    along_y, along_x = torch.gradient(flow, dim=(2, 3))
    return torch.stack([1 + along_x[:, 0], along_y[:, 0], along_x[:, 1], 1 + along_y[:, 1]], dim=1)


def _stretch(flow: Tensor, where: Tensor) -> float:
    """How far apart p + flow(p) pulls two neighbouring pixels at most, but for the odd outlier."""
    a, b, c, d = (slope[where[:, 0]] for slope in _jacobian(flow).unbind(dim=1))
    stretch = torch.maximum(a.square() + c.square(), b.square() + d.square()).sqrt().cpu()
    return float(stretch.kthvalue(math.ceil(0.999 * len(stretch))).values) if len(stretch) else 1.0


def _upsample_factor(flow: Tensor, subject: Tensor) -> int:
    # Samples less than a pixel apart, at any angle, leave no target pixel out.
    return min(max(math.ceil(1.5 * _stretch(flow, subject)), 2), MAX_UPSAMPLE)


def _area_sample(image: Tensor, backward: Tensor, inside: Tensor, where: Tensor, mode: str = "bilinear") -> Tensor:
    """`image` at q + backward(q), averaged over each pixel if the motion inside shrinks it; 0 far from `where`."""
    rows, columns = window(dilate(where, 1), 0.0)
    points = (pixel_grid(backward) + backward)[..., rows, columns]
    taps = min(max(math.ceil(_stretch(backward, inside) - 0.25), 1), MAX_TAPS)
    if taps > 1:
        points = F.interpolate(points, scale_factor=taps, mode="bilinear", align_corners=False)
    found = image.new_zeros(1, image.shape[1], *backward.shape[-2:])
    found[..., rows, columns] = F.avg_pool2d(sample(image, points, mode=mode), taps)
    return found


def forward_splat(
    image: Float[Tensor, "B C H W"], flow: Float[Tensor, "B 2 H W"], weight: Float[Tensor, "B 1 H W"]
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B 1 H W"]]:
    """The whole picture after a forward flow: moving pixels over still ones, and among moving the heavier `weight`.

    Returns the picture, 0 where nothing arrived, and the coverage [B,1,H,W] in [0,1].
    """
    pairs = [_splat_one(*(values[None] for values in one)) for one in zip(image, flow, weight, strict=True)]
    pictures, coverages = zip(*pairs, strict=True)
    return torch.cat(pictures), torch.cat(coverages)


def _splat_one(image: Tensor, flow: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    moving = flow.ne(0).any(dim=1, keepdim=True).to(image)
    backward, target = invert_flow(flow, moving, weight)
    still = (1 - target) * (1 - moving)
    return target * _carry(image, backward, target) + still * image, target + still


def covered_mask(flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "1 1 H W"]:
    """Where a masked subject lies after a forward flow: soft-edged, in [0,1]."""
    return invert_flow(flow, mask)[1]


def vacated_mask(
    source_mask: Float[Tensor, "B 1 H W"], target_mask: Float[Tensor, "B 1 H W"]
) -> Float[Tensor, "B 1 H W"]:
    """Where the subject was and is no longer, in [0,1]: what must be painted anew."""
    return source_mask * (1 - target_mask)


def seam_mask(target_mask: Float[Tensor, "B 1 H W"], width_px: int) -> Float[Tensor, "B 1 H W"]:
    """The band within `width_px` pixels of a silhouette's edge, on both sides, in [0,1]."""
    return dilate(target_mask, width_px) - erode(target_mask, width_px)


def occlusion_mask(flow: Float[Tensor, "B 2 H W"]) -> Float[Tensor, "B 1 H W"]:
    """0 where a pixel that does not move is touched by the bilinear footprint of one that does, 1 elsewhere.

    The mask M of the colour loss of Motion Guidance (Geng and Owens, 2024): what the motion hides cannot be compared.
    """
    height, width = flow.shape[-2:]
    moving = flow.ne(0).any(dim=1)
    target = pixel_grid(flow) + flow.detach()
    hidden = torch.zeros_like(moving)
    image_index = torch.arange(len(flow), device=flow.device).view(-1, 1, 1).expand_as(moving)
    for x in (target[:, 0].floor().long(), target[:, 0].ceil().long()):
        for y in (target[:, 1].floor().long(), target[:, 1].ceil().long()):
            lands = moving & (x >= 0) & (x < width) & (y >= 0) & (y < height)
            hidden[image_index[lands], y[lands], x[lands]] = True
    return 1 - (hidden & ~moving)[:, None].to(flow)
