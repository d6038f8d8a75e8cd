"""One face for every denoiser: the noise and the clean latents in z, whatever the net predicts and takes besides."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Level(NamedTuple):
    """A noise level: z = alpha * clean + sigma * noise."""

    alpha: float
    sigma: float


class Estimate(NamedTuple):
    """What is in z, by a denoiser: both of z's shape, z = alpha * clean + sigma * noise."""

    noise: Tensor
    clean: Tensor


@dataclass(frozen=True)
class Text:
    """A prompt as a net reads it: an embedding of every token [1,L,D], and of the whole [1,P] where a net takes one."""

    tokens: Tensor
    pooled: Tensor | None = None


@dataclass(frozen=True)
class Prompt:
    """Texts for and against, the classifier-free guidance scale, and that which a distilled net is told instead."""

    positive: Text
    negative: Text
    scale: float
    distilled_scale: float | None = None


@runtime_checkable
class Family(Protocol):
    """How the nets of one model family are called, and how text reaches them."""

    def predict(
        self, net: nn.Module, z: Float[Tensor, "B I h w"], t: float, text: Text | None, distilled_scale: float | None
    ) -> Float[Tensor, "B C h w"]:
        """The net's output at timestep t of 1000, the text already of B rows."""
        ...

    def encode(self, pipe: Any, prompt: str, negative_prompt: str) -> tuple[Text, Text]:
        """The texts for and against, by the encoders of a pipeline."""
        ...


@dataclass(frozen=True)
class Denoiser:
    """Calling it with z_t [B,C,h,w], t and z's noise level gives its `Estimate`.

    `surround` holds the extra channels of a net that inpaints, in Stable Diffusion's order: the mask [B,1,h,w] (1 = to
    be painted), then the latents of the image around it. A net that inpaints and predicts the clean image is the
    embedded one: it predicts what to add to its surround inside the mask.
    """

    net: nn.Module
    family: Family
    prediction_type: str  # epsilon, v_prediction, sample or flow
    prompt: Prompt | None = None
    surround: Tensor | None = None

    def __call__(self, z: Float[Tensor, "B C h w"], t: float, level: Level) -> Estimate:
        output = self._output(z, t)
        if self.prediction_type == "epsilon":
            return Estimate(output, (z - level.sigma * output) / level.alpha)
        if self.prediction_type == "v_prediction":  # Salimans and Ho, arXiv 2202.00512
            return Estimate(level.alpha * output + level.sigma * z, level.alpha * z - level.sigma * output)
        if self.prediction_type == "flow":  # rectified flow: the net predicts noise - clean (arXiv 2209.03003)
            return Estimate(z + (1 - level.sigma) * output, z - level.sigma * output)
        if self.surround is not None:
            surround = self._surround(len(z))
            output = surround[:, 1:] + (surround[:, :1] > 0) * output
        return Estimate((z - level.alpha * output) / level.sigma, output)

    def _output(self, z: Tensor, t: float) -> Tensor:
        """What the net predicts, guided away from the negative prompt."""
        if self.prompt is None or self.prompt.scale == 1:
            return self._predicted(z, t, None if self.prompt is None else self.prompt.positive)
        against, towards = self._predicted(torch.cat([z, z]), t, self.prompt.negative, self.prompt.positive).chunk(2)
        return against + self.prompt.scale * (towards - against)

    def _predicted(self, z: Tensor, t: float, *texts: Text | None) -> Tensor:
        full = z if self.surround is None else torch.cat([z, self._surround(len(z))], dim=1)
        # The loop keeps its latents in float32, whatever the net works in.
        full = full.to(next(self.net.parameters()).dtype)
        scale = None if self.prompt is None else self.prompt.distilled_scale
        return self.family.predict(self.net, full, t, _in_rows(texts, full), scale).to(z)

    def _surround(self, rows: int) -> Tensor:
        assert self.surround is not None
        return self.surround.repeat(rows // len(self.surround), 1, 1, 1)


def _in_rows(texts: tuple[Text | None, ...], z: Tensor) -> Text | None:
    """The texts as one, each repeated for its share of z's rows."""
    given = [text for text in texts if text is not None]
    if not given:
        return None
    count = len(z) // len(texts)

    def rows(parts: list[Tensor]) -> Tensor:
        return torch.cat(parts).repeat_interleave(count, dim=0).to(z)

    pooled = [text.pooled for text in given if text.pooled is not None]
    return Text(rows([text.tokens for text in given]), rows(pooled) if pooled else None)
