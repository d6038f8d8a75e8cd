"""A denoiser from a function that predicts noise, which is what toy networks are."""

from collections.abc import Callable

from torch import Tensor

from mtransfer.sampling.denoiser import Estimate, Level


def predicting_noise(eps: Callable[[Tensor, float], Tensor]) -> Callable[[Tensor, float, Level], Estimate]:
    """What the loop calls, of eps(z, t)."""

    def denoise(z: Tensor, t: float, level: Level) -> Estimate:
        noise = eps(z, t)
        return Estimate(noise, (z - level.sigma * noise) / level.alpha)

    return denoise
