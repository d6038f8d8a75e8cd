"""The sampler's loop: DDIM steps, each repeated `recursions` times, pushed down an energy, parts of the latents held.

It sees only eps(z, t), decode(z) and energy(image). As a generator it leaves progress, preview and cancelling to the
caller. Algorithm 1 of Motion Guidance (arXiv 2401.18085); recursion after Universal Guidance (arXiv 2302.07121).
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.sampling.guidance import Energy
from mtransfer.sampling.settings import visited

# A power of 2, so that it changes no float32: the gradient of a mean over pixels is below float16's smallest number.
HALF_PRECISION_SCALE = 4096.0

NoiseEstimate = Callable[[Tensor, int], Tensor]  # eps(z_t, t)
# (pipe, step, t, values) after each evaluation, as diffusers' pipelines call it
Callback = Callable[[Any, int, int, dict[str, Any]], dict[str, Any] | None]


@dataclass(frozen=True)
class Timesteps:
    """The visited t, from noise to image, with alpha_bar at each and at the one after it."""

    t: list[int]
    alpha_bar: list[float]
    alpha_bar_prev: list[float]


def ddim_timesteps(alphas_cumprod: Float[Tensor, "T"], steps: int, start_t: int) -> Timesteps:
    """`steps` uniform DDIM steps over the whole schedule, those up to `start_t` kept; the last goes to alpha_bar_0.

    Raises InputError for more steps than the schedule has noise levels.
    """
    if steps > len(alphas_cumprod):
        raise InputError(f"sampler.steps {steps}: the model knows {len(alphas_cumprod)} noise levels; ask for no more")
    rising = visited(steps, start_t, len(alphas_cumprod))
    alpha_bar = [float(alphas_cumprod[t]) for t in rising]
    previous = [float(alphas_cumprod[0]), *alpha_bar[:-1]]
    return Timesteps(rising[::-1], alpha_bar[::-1], previous[::-1])


@dataclass(frozen=True)
class Anchor:
    """Latents held where `mask` is 1 while step < `until`: a stored trajectory, or clean latents noised to each level.

    Without `noise` every use draws its own.
    """

    mask: Tensor
    until: int
    clean: Tensor
    noise: Tensor | None = None
    trajectory: Sequence[Tensor] | None = None

    def at(self, step: int, alpha_bar: float, draw: Callable[[], Tensor]) -> Tensor:
        if self.trajectory is not None:
            return self.trajectory[step]
        noise = draw() if self.noise is None else self.noise
        return alpha_bar**0.5 * self.clean + (1 - alpha_bar) ** 0.5 * noise


@dataclass(frozen=True)
class Guide:
    """How the energy pushes. `multipliers` has one factor a step; where it is 0 nothing is evaluated."""

    energy: Callable[[Tensor], Energy]
    decode: Callable[[Tensor], Tensor]  # latents -> image in [0,1]
    multipliers: Sequence[float]
    weight: float
    clip: float = 0.0  # greatest norm of sqrt(1 - alpha_bar) G an image; 0: none
    through_denoiser: bool = True
    scale_by_noise_norm: bool = False  # weight counts in sizes of the noise estimate instead of absolutely


@dataclass(frozen=True)
class Step:
    """One evaluation, after its update."""

    index: int
    recursion: int
    z: Tensor
    x0: Tensor  # the clean estimate before guidance
    energy: Energy | None
    guidance_norm: Tensor = field(default_factory=lambda: torch.zeros(1))  # [B], of sqrt(1 - alpha_bar) G, clipped
    noise_norm: Tensor = field(default_factory=lambda: torch.zeros(1))  # [B], of the updated eps


def sample_steps(
    eps: NoiseEstimate,
    z: Tensor,
    timesteps: Timesteps,
    *,
    draw: Callable[[], Tensor],
    recursions: int = 1,
    anchors: Sequence[Anchor] = (),
    guide: Guide | None = None,
) -> Generator[Step, Tensor | None, None]:
    """Yield every evaluation from z at the first timestep to the clean latents, `z` of the last one.

    Latents sent back take the place of that evaluation's.
    """
    for index, (t, a_t, a_prev) in enumerate(
        zip(timesteps.t, timesteps.alpha_bar, timesteps.alpha_bar_prev, strict=True)
    ):
        guided = guide if guide is not None and guide.multipliers[index] else None
        for recursion in range(recursions):
            for anchor in anchors:
                if index < anchor.until:
                    z = z + anchor.mask * (anchor.at(index, a_t, draw) - z)
            noise, x0, energy, push = _evaluate(eps, z, t, a_t, guided, index)
            noise = noise - push
            z_prev = a_prev**0.5 * _clean(z, noise, a_t) + (1 - a_prev) ** 0.5 * noise
            again = recursion + 1 < recursions
            z = (a_t / a_prev) ** 0.5 * z_prev + (1 - a_t / a_prev) ** 0.5 * draw() if again else z_prev
            sent = yield Step(index, recursion, z, x0, energy, _norm(push), _norm(noise))
            z = z if sent is None else sent


def invert(
    eps: NoiseEstimate, clean: Float[Tensor, "B C h w"], timesteps: Timesteps
) -> Iterator[Float[Tensor, "B C h w"]]:
    """DDIM inversion (Song et al., arXiv 2010.02502): yields the latents at each timestep, from image to noise."""
    z = clean
    reversed_steps = zip(timesteps.t[::-1], timesteps.alpha_bar[::-1], timesteps.alpha_bar_prev[::-1], strict=True)
    for t, a_next, a_t in reversed_steps:
        with torch.no_grad():
            noise = eps(z, t)
            z = a_next**0.5 * _clean(z, noise, a_t) + (1 - a_next) ** 0.5 * noise
        yield z


def _clean(z: Tensor, noise: Tensor, a_t: float) -> Tensor:
    return (z - (1 - a_t) ** 0.5 * noise) / a_t**0.5


def _norm(values: Tensor) -> Tensor:
    return values.flatten(1).norm(dim=1)


def _evaluate(
    eps: NoiseEstimate, z: Tensor, t: int, a_t: float, guide: Guide | None, index: int
) -> tuple[Tensor, Tensor, Energy | None, Tensor]:
    """The noise estimate, the clean estimate, its energy, and sqrt(1 - alpha_bar) G."""
    through = guide is not None and guide.through_denoiser
    with torch.set_grad_enabled(through):
        variable = z.detach().requires_grad_(through)
        noise = eps(variable, t)
        x0 = _clean(variable, noise, a_t)
    if guide is None:
        return noise, x0, None, torch.zeros_like(noise)
    with torch.enable_grad():
        if not through:
            variable = x0 = x0.detach().requires_grad_(True)
        energy = guide.energy(guide.decode(x0))
        if not bool(energy.total.isfinite().all()):  # whose gradient would crash grid_sample (pytorch issue 24823)
            raise InputError(
                f"sampler.weight {guide.weight:g}: drove the picture out of all bounds; "
                "use a smaller one, or smaller sampler.w_flow and sampler.w_color"
            )
        (gradient,) = torch.autograd.grad(HALF_PRECISION_SCALE * energy.total.sum(), variable)
    gradient = gradient / HALF_PRECISION_SCALE
    noise = noise.detach()
    if not through:
        gradient = gradient / a_t**0.5  # d x0 / d z_t with the noise estimate held
    push = -guide.weight * guide.multipliers[index] * (1 - a_t) ** 0.5 * gradient
    return noise, x0.detach(), _detached(energy), _limit(push, noise, guide)


def _limit(push: Tensor, noise: Tensor, guide: Guide) -> Tensor:
    size = _norm(push).view(-1, 1, 1, 1)
    if guide.scale_by_noise_norm:
        share = abs(guide.weight) * _norm(noise).view(-1, 1, 1, 1)
        push, size = push * share / size.clamp_min(1e-12), share
    return push * (guide.clip / size.clamp_min(1e-12)).clamp_max(1) if guide.clip else push


def _detached(energy: Energy) -> Energy:
    return Energy(energy.total.detach(), energy.flow_loss.detach(), energy.color_loss.detach(), energy.flow.detach())
