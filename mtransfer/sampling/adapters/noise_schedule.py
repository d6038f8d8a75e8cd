"""The noise levels that a sampling visits, of any scheduler: each as alpha and sigma, z = alpha x0 + sigma noise.

Schedules that keep variance, and those that match flow (alpha = 1 - sigma), differ in their levels alone, so that all
else is written once (Karras et al., arXiv 2206.00364).
"""

import math
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
)

from mtransfer.errors import ModelError
from mtransfer.sampling.adapters.layouts import made_for_few_steps
from mtransfer.sampling.ddim import Timesteps, ddim_timesteps, level_of
from mtransfer.sampling.denoiser import Level
from mtransfer.sampling.settings import TRAINED

SCHEDULE = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas"),
    *("prediction_type", "rescale_betas_zero_snr"),
)
CLEAN = Level(1.0, 0.0)
PATCH = 2  # cells a side that transformers take as one token


def usable_scheduler(scheduler: Any) -> Any:
    """A model's scheduler as it is sampled here: as DDIM, but for those that match flow or are made for few steps.

    Raises ModelError for a scheduler with no schedule that is known here.
    """
    return scheduler if _matches_flow(scheduler) or takes_few_steps(scheduler) else as_ddim(scheduler)


def as_ddim(scheduler: Any) -> DDIMScheduler:
    """The noise schedule of any of diffusers' schedulers, for DDIM.

    All is named: `from_config` puts this class's defaults in place of values that an object has by default, and clips
    samples, which ruins latents. Raises ModelError for a scheduler that has no such schedule.
    """
    config = dict(scheduler.config)
    if "beta_start" not in config:
        raise ModelError(
            f"scheduler {type(scheduler).__name__}: has no noise schedule that DDIM takes; use another model"
        )
    schedule = {name: config[name] for name in SCHEDULE if name in config}
    return DDIMScheduler(**schedule, clip_sample=False, thresholding=False, set_alpha_to_one=False, steps_offset=1)


def takes_few_steps(scheduler: Any) -> bool:
    """Whether a scheduler is that of a net distilled to few steps: LCM, Turbo, Lightning."""
    return made_for_few_steps(type(scheduler).__name__, scheduler.config)


def _matches_flow(scheduler: Any) -> bool:
    return isinstance(scheduler, FlowMatchEulerDiscreteScheduler)


def prediction_type(scheduler: Any) -> str:
    """What the net of a scheduler predicts, as `Denoiser` names it."""
    return "flow" if _matches_flow(scheduler) else str(scheduler.config.prediction_type)


def timesteps(
    scheduler: Any, steps: int, start_t: int, cells: tuple[int, int], sigmas: list[float] | None = None
) -> Timesteps:
    """`steps` over the whole schedule, those up to `start_t` of 1000 kept.

    `cells`: rows and columns of the latents, by which some schedules shift; `sigmas`: those before a shift, where a
    family has its own. Raises InputError for more steps than the schedule has noise levels.
    """
    if _matches_flow(scheduler):
        return _of_flow(scheduler, steps, start_t, cells, sigmas)
    if isinstance(scheduler, LCMScheduler):
        return _of_consistency(scheduler, steps, start_t)
    if takes_few_steps(scheduler):
        return _of_euler(scheduler, steps).at_most(start_t)
    return ddim_timesteps(scheduler.alphas_cumprod, steps, start_t)


def _of_flow(scheduler: Any, steps: int, start_t: int, cells: tuple[int, int], sigmas: list[float] | None) -> Timesteps:
    """Rectified flow: alpha = 1 - sigma, t = 1000 sigma; it begins where Stable Diffusion is as noisy at `start_t`."""
    own = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
    shift = {"mu": _shift(own.config, cells)} if own.config.use_dynamic_shifting else {}
    if sigmas is None:
        own.set_timesteps(steps, **shift)
    else:
        own.set_timesteps(sigmas=sigmas, **shift)
    levels = [Level(1 - float(sigma), float(sigma)) for sigma in own.sigmas]
    found = Timesteps.deterministic([float(t) for t in own.timesteps], levels[:-1], levels[1:])
    return found.at_most(TRAINED * _as_noisy(start_t))


def _shift(config: Any, cells: tuple[int, int]) -> float:
    """How far a schedule shifts to noise: linear in the tokens of a picture."""
    tokens = (cells[0] // PATCH) * (cells[1] // PATCH)
    slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
    return float(config.base_shift + slope * (tokens - config.base_image_seq_len))


def _as_noisy(start_t: int) -> float:
    """The sigma of rectified flow with Stable Diffusion's ratio of noise to image at `start_t`."""
    if start_t >= TRAINED:
        return 1.0
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, TRAINED).square()
    alpha, sigma = level_of(float((1 - betas).cumprod(dim=0)[start_t]))
    return sigma / (alpha + sigma)


def _of_consistency(scheduler: LCMScheduler, steps: int, start_t: int) -> Timesteps:
    """Latent consistency (Luo et al., arXiv 2310.04378): each step to a clean image, and back by noise drawn anew."""
    own = LCMScheduler.from_config(scheduler.config)
    share = max(start_t, 1) / TRAINED
    most = max(1, int(own.config.original_inference_steps * share))
    own.set_timesteps(min(steps, most), strength=max(share, 1 / own.config.original_inference_steps))
    t = [int(each) for each in own.timesteps]
    levels = [level_of(float(own.alphas_cumprod[each])) for each in t]
    after = [*levels[1:], CLEAN]
    return Timesteps([float(each) for each in t], levels, after, [level.sigma for level in after])


def _of_euler(scheduler: Any, steps: int) -> Timesteps:
    """Euler steps of Turbo and Lightning, spaced from the noisiest level on; ancestral ones draw some noise anew."""
    t: list[float] = [round(TRAINED - index * TRAINED / steps) - 1 for index in range(steps)]
    levels = [level_of(float(scheduler.alphas_cumprod[int(each)])) for each in t]
    after = [*levels[1:], CLEAN]
    fresh = [0.0] * steps
    if isinstance(scheduler, EulerAncestralDiscreteScheduler):
        fresh = [_ancestral(*pair) for pair in zip(levels, after, strict=True)]
    return Timesteps(t, levels, after, fresh)


def _ancestral(level: Level, after: Level) -> float:
    """How much of the noise after a step is drawn anew (Song et al., arXiv 2011.13456)."""
    ratio, ratio_after = level.sigma / level.alpha, after.sigma / after.alpha
    return after.sigma * math.sqrt(1 - (ratio_after / ratio) ** 2)
