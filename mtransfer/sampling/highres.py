"""The part of a photo that is sampled: at the model's size, and brought back to the photo's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.flow.estimator import FlowModel
from mtransfer.flow.field import FlowField, resize
from mtransfer.media.crop import Window
from mtransfer.sampling.composite import WarpComposite, blend
from mtransfer.sampling.ddim import Callback
from mtransfer.sampling.guidance import EnergyTerm
from mtransfer.sampling.settings import SIDE_MULTIPLE, SamplerSettings

SHORTEST_SIDE_PX = 128
ALIKE = 0.05  # of 1: pictures that differ by more show different things


@dataclass(frozen=True)
class SamplingTools:
    """What sampling needs that is the same for every part of a job.

    The pipeline (a MotionGuidedPipeline), the model's long side in pixels, the flow net that guides if one does, the
    noise of a generated photo, the sampler's settings, prompts, and further terms of the energy.
    """

    pipe: Callable[..., Any]
    side_px: int
    guide: FlowModel | None
    noise: Tensor | None
    settings: SamplerSettings
    prompt: str = ""
    negative_prompt: str = ""
    energy_terms: Sequence[EnergyTerm] = ()


@dataclass(frozen=True, eq=False)
class Part:
    """What of a photo is sampled, at the photo's own size: the flow, the photo, and its draft from parts.

    `own`, `background` and `start`, the draft, are [1,3,H,W] in [0,1], `mask` and `edit` [1,1,H,W].
    """

    flow: FlowField
    own: Tensor
    mask: Tensor
    background: Tensor
    start: Tensor
    edit: Tensor


def cut(flow: FlowField, own: Tensor, mask: Tensor, background: Tensor, draft: WarpComposite, where: Window) -> Part:
    """The part of a job inside a window."""
    rows, columns = where
    pictures = [each[..., rows, columns] for each in (own, mask, background, draft.image, draft.edit)]
    return Part(FlowField(flow.flow[..., rows, columns], flow.confidence[..., rows, columns]), *pictures)


def size_to_sample(tools: SamplingTools, own: Tensor) -> tuple[int, int]:
    """(H, W) at which a part that shows `own` is sampled."""
    # A generated photo keeps its size, for which alone its noise is right.
    side = tools.side_px if tools.noise is None else max(own.shape[-2:])
    return model_size((own.shape[-2], own.shape[-1]), side)


def sample_parts(
    tools: SamplingTools,
    parts: Sequence[Part],
    seeds: Sequence[int],
    on_step: Callback,
    carried: Tensor | None = None,
) -> tuple[list[Tensor], int]:
    """The edited parts at their own sizes, and the number of guided evaluations; all are sampled in one pass.

    Several must have one size to be sampled at. What the sampler changed of a warp at the model's size is added to the
    warp at the photo's own size, so moved detail stays as sharp as the photo; what began otherwise gets its detail from
    `with_detail`. `carried`, at the size to sample, is added to the start beforehand.
    """
    size = size_to_sample(tools, parts[0].own)

    def small(name: str) -> Tensor:
        return torch.cat([F.interpolate(getattr(part, name), size, mode="area") for part in parts])

    own = small("own")
    result = tools.pipe(
        own,
        torch.cat([resize(part.flow, size).flow for part in parts]),
        tools.guide,
        tools.settings,
        mask=small("mask"),
        background=small("background"),
        prompt=tools.prompt,
        negative_prompt=tools.negative_prompt,
        noise=tools.noise,
        carried=carried,
        energy_terms=tools.energy_terms,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        callback_on_step_end=on_step,
        output_type="pt",
    )
    if tools.settings.start == "warp":
        pairs = zip(parts, (result.images - result.draft.image).split(1), strict=True)
        larger = [part.start + _enlarged(change, part) for part, change in pairs]
    else:
        larger = [with_detail(part, each) for part, each in zip(parts, result.images.split(1), strict=True)]
    finished = [blend(part.own, each.clamp(0, 1), part.edit) for part, each in zip(parts, larger, strict=True)]
    return finished, result.evaluations


def _enlarged(small: Tensor, part: Part) -> Tensor:
    return F.interpolate(small, part.own.shape[-2:], mode="bicubic", align_corners=False)


def with_detail(part: Part, sampled: Tensor) -> Tensor:
    """What was sampled [1,3,h,w], at the part's own size, with the draft's or photo's detail where it looks alike."""
    image, left = _enlarged(sampled, part), torch.ones_like(part.mask)
    for sharp in (part.start, part.own):
        small = F.interpolate(sharp, sampled.shape[-2:], mode="area")
        alike = torch.exp(-((sampled - small).square().mean(dim=1, keepdim=True)) / ALIKE**2)
        share = left * F.interpolate(alike, left.shape[-2:], mode="bilinear", align_corners=False)
        image, left = image + share * (sharp - _enlarged(small, part)), left - share
    return image


def model_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """The nearest size with the model's long side, both sides multiples of 64 and at least 128."""
    scale = long_side / max(size)
    height, width = (max(SHORTEST_SIDE_PX, round(s * scale / SIDE_MULTIPLE) * SIDE_MULTIPLE) for s in size)
    return height, width
