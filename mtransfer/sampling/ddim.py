"""The sampler's loop: DDIM steps, each repeated `recursions` times, pushed down an energy, parts of the latents held.

It sees only what a denoiser finds in z, decode(z) and energy(image). As a generator it leaves progress, preview and
cancelling to the caller. Algorithm 1 of Motion Guidance (arXiv 2401.18085); recursion after Universal Guidance (arXiv
2302.07121).
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.sampling.denoiser import Estimate, Level
from mtransfer.sampling.guidance import Energy
from mtransfer.sampling.settings import visited

# A power of 2, so that it changes no float32: the gradient of a mean over pixels is below float16's smallest number.
HALF_PRECISION_SCALE = 4096.0
FIXED_POINT_ROUNDS = 3  # after which a step and its reverse agree to a thousandth

Denoise = Callable[[Tensor, float, Level], Estimate]  # of z, t and z's noise level
# (pipe, step, t, values) after each evaluation, as diffusers' pipelines call it
Callback = Callable[[Any, int, float, dict[str, Any]], dict[str, Any] | None]


@dataclass(frozen=True)
class Timesteps:
    """The visited t, from noise to image, with the noise level at each and at the one after it.

    `fresh`: of the noise after each step, how much is newly drawn; none where sampling is deterministic.
    """

    t: list[float]
    levels: list[Level]
    after: list[Level]
    fresh: list[float]

    @classmethod
    def deterministic(cls, t: list[float], levels: list[Level], after: list[Level]) -> Self:
        return cls(t, levels, after, [0.0] * len(t))

    @classmethod
    def from_alpha_bar(cls, t: list[float], alpha_bar: list[float], alpha_bar_after: list[float]) -> Self:
        """Of a schedule that keeps variance."""
        return cls.deterministic(t, [level_of(bar) for bar in alpha_bar], [level_of(bar) for bar in alpha_bar_after])

    def without_fresh_noise(self) -> Self:
        """The same levels, nothing drawn on the way."""
        return replace(self, fresh=[0.0] * len(self.t))

    def at_most(self, t: float) -> Self:
        """The steps whose t is at most this; the last one at least."""
        first = min(sum(each > t for each in self.t), len(self.t) - 1)
        return type(self)(self.t[first:], self.levels[first:], self.after[first:], self.fresh[first:])


def ddim_timesteps(alphas_cumprod: Float[Tensor, "T"], steps: int, start_t: int) -> Timesteps:
    """`steps` uniform DDIM steps over the whole schedule, those up to `start_t` kept; the last goes to alpha_bar_0.

    Raises InputError for more steps than the schedule has noise levels.
    """
    if steps > len(alphas_cumprod):
        raise InputError(f"sampler.steps {steps}: the model knows {len(alphas_cumprod)} noise levels; ask for no more")
    rising = visited(steps, start_t, len(alphas_cumprod))
    alpha_bar = [float(alphas_cumprod[t]) for t in rising]
    after = [float(alphas_cumprod[0]), *alpha_bar[:-1]]
    return Timesteps.from_alpha_bar([*rising[::-1]], alpha_bar[::-1], after[::-1])


def level_of(alpha_bar: float) -> Level:
    """The noise level of a schedule that keeps variance."""
    return Level(alpha_bar**0.5, (1 - alpha_bar) ** 0.5)


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

    def at(self, step: int, level: Level, draw: Callable[[], Tensor]) -> Tensor:
        if self.trajectory is not None:
            return self.trajectory[step]
        noise = draw() if self.noise is None else self.noise
        return level.alpha * self.clean + level.sigma * noise


@dataclass(frozen=True)
class Guide:
    """How the energy pushes. `multipliers` has one factor a step; where it is 0 nothing is evaluated."""

    energy: Callable[[Tensor], Energy]
    decode: Callable[[Tensor], Tensor]  # latents -> image in [0,1]
    multipliers: Sequence[float]
    weight: float
    clip: float = 0.0  # greatest norm of sigma G an image; 0: none
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
    guidance_norm: Tensor = field(default_factory=lambda: torch.zeros(1))  # [B], of sigma G, clipped
    noise_norm: Tensor = field(default_factory=lambda: torch.zeros(1))  # [B], of the updated noise


def sample_steps(
    denoise: Denoise,
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
    steps = zip(timesteps.t, timesteps.levels, timesteps.after, timesteps.fresh, strict=True)
    for index, (t, level, after, fresh) in enumerate(steps):
        guided = guide if guide is not None and guide.multipliers[index] else None
        for recursion in range(recursions):
            for anchor in anchors:
                if index < anchor.until:
                    z = z + anchor.mask * (anchor.at(index, level, draw) - z)
            found, energy, push = _evaluate(denoise, z, t, level, guided, index)
            noise, clean = found.noise - push, found.clean
            if energy is not None:
                clean = clean + level.sigma / level.alpha * push
            if recursion + 1 < recursions:
                z = _noised_again(after.alpha * clean + after.sigma * noise, after, level, draw)
            else:
                z = after.alpha * clean + (after.sigma**2 - fresh**2) ** 0.5 * noise
                z = z + fresh * draw() if fresh else z
            sent = yield Step(index, recursion, z, found.clean, energy, _norm(push), _norm(noise))
            z = z if sent is None else sent


def _noised_again(z: Tensor, after: Level, level: Level, draw: Callable[[], Tensor]) -> Tensor:
    """From the noise level after a step back to that before it, by fresh noise."""
    kept = level.alpha / after.alpha
    return kept * z + (level.sigma**2 - (kept * after.sigma) ** 2) ** 0.5 * draw()


def invert(
    denoise: Denoise, clean: Float[Tensor, "B C h w"], timesteps: Timesteps
) -> Iterator[Float[Tensor, "B C h w"]]:
    """DDIM inversion (Song et al., arXiv 2010.02502): yields the latents at each timestep, from image to noise."""
    z = clean
    for t, level, now in zip(timesteps.t[::-1], timesteps.levels[::-1], timesteps.after[::-1], strict=True):
        with torch.no_grad():
            noise = denoise(z, t, level).noise
            z = level.alpha * (z - now.sigma * noise) / now.alpha + level.sigma * noise
        yield z


def invert_ode(
    denoise: Denoise, clean: Float[Tensor, "B C h w"], timesteps: Timesteps
) -> Iterator[Float[Tensor, "B C h w"]]:
    """As `invert` where flow is matched: each Euler step reversed, the velocity taken where the step leads."""
    z = clean
    for t, level, now in zip(timesteps.t[::-1], timesteps.levels[::-1], timesteps.after[::-1], strict=True):
        there = z
        with torch.no_grad():
            for _ in range(FIXED_POINT_ROUNDS):
                found = denoise(there, t, level)
                there = z + (level.sigma - now.sigma) * (found.noise - found.clean)
        z = there
        yield z


def _norm(values: Tensor) -> Tensor:
    return values.flatten(1).norm(dim=1)


def _evaluate(
    denoise: Denoise, z: Tensor, t: float, level: Level, guide: Guide | None, index: int
) -> tuple[Estimate, Energy | None, Tensor]:
    """What is in z, the energy of its clean part, and sigma G."""
    guide = guide if level.alpha > 0 else None  # in pure noise there is no image to guide
    through = guide is not None and guide.through_denoiser
    with torch.set_grad_enabled(through):
        variable = z.detach().requires_grad_(through)
        found = denoise(variable, t, level)
        x0 = found.clean
    if guide is None:
        return found, None, torch.zeros_like(found.noise)
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
    found = Estimate(found.noise.detach(), x0.detach())
    if not through:
        gradient = gradient / level.alpha  # d x0 / d z_t with the noise estimate held
    push = -guide.weight * guide.multipliers[index] * level.sigma * gradient
    return found, _detached(energy), _limit(push, found.noise, guide)


def _limit(push: Tensor, noise: Tensor, guide: Guide) -> Tensor:
    size = _norm(push).view(-1, 1, 1, 1)
    if guide.scale_by_noise_norm:
        share = abs(guide.weight) * _norm(noise).view(-1, 1, 1, 1)
        push, size = push * share / size.clamp_min(1e-12), share
    return push * (guide.clip / size.clamp_min(1e-12)).clamp_max(1) if guide.clip else push


def _detached(energy: Energy) -> Energy:
    return Energy(energy.total.detach(), energy.flow_loss.detach(), energy.color_loss.detach(), energy.flow.detach())
