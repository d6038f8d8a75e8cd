"""A small photo, a flow on it, and what samples both with a net that sees brightness as motion."""

from typing import Any

import torch

from mtransfer.sampling.pipeline import MotionGuidedPipeline
from mtransfer.sampling.settings import SamplerSettings

SIZE = (128, 192)


def quiet(pipe: MotionGuidedPipeline) -> MotionGuidedPipeline:
    pipe.set_progress_bar_config(disable=True)
    return pipe


class Shift:
    """A flow estimator that sees the brightness of the image as motion: cheap, and differentiable."""

    def encode(self, source: torch.Tensor) -> None:
        self._source = source

    def flow(self, image: torch.Tensor) -> torch.Tensor:
        return 8 * (image - self._source)[:, :2]


def settings(**changes: Any) -> SamplerSettings:
    """Of the preset `fast` for any model, with few steps."""
    return SamplerSettings.from_preset("fast", **{"steps": 4, **changes}).for_any_model()


def photo() -> torch.Tensor:
    rough = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.interpolate(rough, SIZE, mode="bicubic").clamp(0, 1)


def flow() -> torch.Tensor:
    field = torch.zeros(1, 2, *SIZE)
    field[:, 0, 40:90, 50:110] = 24
    return field


def sampled(pipe: MotionGuidedPipeline, prompt: str = "a kite", seed: int = 0, **changes: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    chosen = settings(**changes)
    return pipe(photo(), flow(), Shift(), chosen, prompt=prompt, generator=generator, output_type="pt").images
