"""Point dragging on the denoiser's own features: the latents of the photo are changed until its points have moved.

Motion supervision and point tracking after DragGAN (Pan et al., SIGGRAPH 2023, arXiv 2305.10973), on the latents of one
step of a diffusion model's inversion after DragDiffusion (Shi et al., CVPR 2024, arXiv 2306.14435), drawn towards the
features that each handle had at first after GoodDrag (Zhang et al., arXiv 2404.07206). A handle is known again by its
patch, not by its point alone: a small net's features are alike in many places. Of DragDiffusion the net's
fine-tuning on the photo and the reference's attention are not here. Points are (x, y): [N,2] in cells of the features
inside, pixels of the photo outside.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.warp import dilate, sample
from mtransfer.sampling.composite import WarpComposite, blend, make_composite
from mtransfer.sampling.context import SamplingContext, to_cells
from mtransfer.sampling.ddim import HALF_PRECISION_SCALE, Anchor, sample_steps
from mtransfer.sampling.denoiser import Denoiser, Level
from mtransfer.sampling.pipeline import MotionGuidedPipeline
from mtransfer.sampling.settings import SamplerSettings

SMALLEST_MOTION_PX = 2.0  # a point that moves less needs no handle
RIM_PX = 3  # handles keep this far inside the subject: features at its rim are half the background's
SUBCELL = 0.25  # step of the search for a handle, in cells
ARRIVED_CELLS = 0.25  # mean distance at which nothing is left to drag
LAST_RATE = 0.1  # of the first: a handle near its target is not to be shaken off it


@dataclass(frozen=True)
class DragSettings:
    """How hard is dragged; lengths in cells of the feature map."""

    start_t: int  # the diffusion step of 1000 whose latents are changed
    steps: int  # DDIM steps over the whole schedule
    block: int  # whose output of the net's up blocks are the features
    handles: int
    updates: int  # at most; fewer when the handles arrive
    rate: float  # Adam's, in units of the latents
    patch: int  # radius of what is pulled about a handle, and known again
    search: int  # radius within which a handle is found again
    keep: float  # weight of the features outside the edit, which are to stay


# DragDiffusion's own step, rate, updates and weight, for Stable Diffusion.
PUBLISHED = DragSettings(
    start_t=700, steps=50, block=-2, handles=32, updates=80, rate=0.01, patch=1, search=1, keep=0.1
)
# The embedded net's latents are pixels: its picture is settled late, and its last block alone sees where things are.
EMBEDDED = DragSettings(start_t=120, steps=50, block=-1, handles=24, updates=60, rate=0.08, patch=2, search=1, keep=0.1)


@dataclass(frozen=True, eq=False)
class Dragged:
    """The edited photo [1,3,H,W] in [0,1], and how far each handle was from its target before and after, [N] in pixels.

    Where a handle is now is told by its features alone, as in the published methods; `flow_error` says whether the
    picture followed.
    """

    image: Tensor
    before_px: Tensor
    after_px: Tensor
    updates: int


def drag(
    pipe: MotionGuidedPipeline,
    photo: Float[Tensor, "1 3 H W"],
    flow: Float[Tensor, "1 2 H W"],
    mask: Float[Tensor, "1 1 H W"],
    settings: DragSettings | None = None,
    prompt: str = "",
) -> Dragged:
    """Drag points of the masked subject along the flow. Photo in [0,1], flow in pixels, sides multiples of 64.

    Nothing is drawn at random. Raises InputError when no point inside the frame moves far enough to be dragged.
    """
    chosen = settings or (EMBEDDED if pipe.refines else PUBLISHED)
    start, target = handle_points(flow, mask, chosen.handles)
    draft = make_composite(photo, flow, mask)
    loop = SamplerSettings.from_preset("paper", steps=chosen.steps, start_t=chosen.start_t)
    plan = SamplingContext(pipe, photo, draft, loop, None)
    eps = plan.denoiser(pipe.encode_prompt(prompt, "", 1.0))
    trajectory = plan.inverted(eps)
    features = Features(eps, plan.timesteps.t[0], plan.timesteps.levels[0], chosen.block)
    held = 1 - to_cells((draft.edit > 0).to(photo), plan.source)
    moved = _Drag(features, trajectory[0], held, photo.shape[-1], chosen)
    latents = moved.run(start, target)
    return Dragged(_painted(plan, eps, latents, trajectory, held, draft), *moved.distances_px(), moved.updates)


def handle_points(
    flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 1 H W"], count: int
) -> tuple[Float[Tensor, "N 2"], Float[Tensor, "N 2"]]:
    """Up to `count` points well inside the subject, far from one another, and where the flow takes them; in pixels.

    The same for the same flow. Raises InputError when none moves by SMALLEST_MOTION_PX and stays in the frame.
    """
    inside = -dilate(-(mask > 0.5).to(flow), RIM_PX)
    rows, columns = inside[0, 0].nonzero(as_tuple=True)
    points = torch.stack([columns, rows], dim=-1).to(flow)
    ends = points + flow[0, :, rows, columns].T
    last = points.new_tensor([flow.shape[-1] - 1, flow.shape[-2] - 1])
    usable = ((ends >= 0) & (ends <= last)).all(dim=1) & ((ends - points).norm(dim=1) >= SMALLEST_MOTION_PX)
    if not bool(usable.any()):
        raise InputError(
            f"no point of the subject moves by {SMALLEST_MOTION_PX:g} px and stays in the frame to be dragged"
        )
    chosen = _far_apart(points[usable], count)
    return points[usable][chosen], ends[usable][chosen]


def _far_apart(points: Tensor, count: int) -> Tensor:
    """Indices of points each as far as can be from those before it, the most central one first."""
    chosen = [int((points - points.mean(dim=0)).norm(dim=1).argmin())]
    nearest = (points - points[chosen[0]]).norm(dim=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).norm(dim=1))
    return torch.tensor(chosen)


@dataclass(frozen=True)
class Features:
    """Calling it with latents [1,C,h,w] gives the output of one of the net's up blocks at step t; differentiable."""

    eps: Denoiser
    t: float
    level: Level
    block: int

    def __call__(self, z: Float[Tensor, "1 C h w"]) -> Float[Tensor, "1 K y x"]:
        found: list[Tensor] = []
        blocks: Any = self.eps.net.up_blocks
        hook = blocks[self.block].register_forward_hook(lambda *call: found.append(call[-1]))
        try:
            self.eps(z, self.t, self.level)
        finally:
            hook.remove()
        return found[0].to(z)


class _Drag:
    """One optimisation of latents under way: where the handles are now, in cells."""

    def __init__(
        self,
        features: Callable[[Tensor], Tensor],
        latents: Tensor,
        held: Tensor,
        width_px: int,
        settings: DragSettings,
    ) -> None:
        self.features, self.latents, self.settings = features, latents, settings
        with torch.no_grad():
            self.first = features(latents)
        self.cell_px = width_px / self.first.shape[-1]
        self.held = F.interpolate(held, self.first.shape[-2:], mode="area")
        self.updates = 0

    def run(self, start_px: Tensor, target_px: Tensor) -> Tensor:
        """The latents in which the handles have moved from `start_px` towards `target_px`, each [N,2]."""
        self.start, self.target = ((points + 0.5) / self.cell_px - 0.5 for points in (start_px, target_px))
        self.handles = self.start
        self.around = _square(self.settings.patch, 1.0, self.latents)
        self.own = at(self.first, self.start[:, None] + self.around)
        z = self.latents.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([z], lr=self.settings.rate, eps=HALF_PRECISION_SCALE * 1e-8)
        slowing = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, LAST_RATE, self.settings.updates)
        found = self.features(z)
        while self.updates < self.settings.updates:
            optimizer.zero_grad()
            (HALF_PRECISION_SCALE * self._loss(found)).backward()  # Adam's steps stay the same
            optimizer.step()
            slowing.step()
            self.updates += 1
            found = self.features(z)
            self.handles = self._tracked(found.detach())
            if float((self.target - self.handles).norm(dim=1).mean()) < ARRIVED_CELLS:
                break
        return z.detach()

    def distances_px(self) -> tuple[Tensor, Tensor]:
        """How far the handles were from their targets, and are, [N] in pixels."""
        before, after = ((self.target - points).norm(dim=1) * self.cell_px for points in (self.start, self.handles))
        return before, after

    def _loss(self, found: Tensor) -> Tensor:
        """Motion supervision: a step ahead of each handle its patch is to look as it did at first; the rest is kept."""
        left = self.target - self.handles
        length = left.norm(dim=1, keepdim=True)
        ahead = self.handles + left / length.clamp_min(1)
        pull = (at(found, ahead[:, None] + self.around) - self.own).abs().mean()
        strayed = ((found - self.first).abs() * self.held).mean()
        return pull + self.settings.keep * strayed

    def _tracked(self, found: Tensor) -> Tensor:
        """Point tracking: the place about each handle whose patch is nearest to the one it had at first."""
        places = self.handles[:, None] + _square(self.settings.search, SUBCELL, found)
        strange = (at(found, places[:, :, None] + self.around) - self.own[:, None]).abs().mean(dim=(-2, -1))
        return places[torch.arange(len(places)), strange.argmin(dim=1)]


def at(features: Float[Tensor, "1 K y x"], points: Float[Tensor, "... 2"]) -> Float[Tensor, "... K"]:
    """Features at points in cells, bilinearly."""
    flat = points.reshape(1, -1, 1, 2).permute(0, 3, 1, 2)
    return sample(features, flat)[0, :, :, 0].T.reshape(*points.shape[:-1], -1)


def _square(radius: int, step: float, like: Tensor) -> Tensor:
    """The offsets [M,2] of a square about 0."""
    along = torch.arange(-radius, radius + step / 2, step, device=like.device, dtype=like.dtype)
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=-1)


def _painted(
    plan: SamplingContext, eps: Denoiser, latents: Tensor, trajectory: list[Tensor], held: Tensor, draft: WarpComposite
) -> Tensor:
    """The picture the changed latents lead to, over the photo; outside the edit the photo's own trajectory is held."""
    outside = Anchor(held, len(plan.timesteps.t), plan.source, trajectory=trajectory)
    for step in sample_steps(eps, latents, plan.timesteps, draw=plan.draw, anchors=[outside]):  # noqa: B007 - the last
        pass
    with torch.no_grad():
        return blend(plan.photo, plan.pipe.decode_latents(step.z).clamp(0, 1), draft.edit)
