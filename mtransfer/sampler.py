"""The shared sampler: a diffusers pipeline that edits an image so that a flow net sees the asked motion in it."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DiffusionPipeline
from diffusers.utils import BaseOutput
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mtransfer.denoiser import Denoiser, Prompt
from mtransfer.draft import Draft, blend, make_draft, take_out
from mtransfer.errors import InputError, ModelError
from mtransfer.guidance import Energy, FlowModel, MotionGuidance
from mtransfer.loop import Anchor, Guide, Step, Timesteps, ddim_timesteps, invert, sample_steps
from mtransfer.settings import SamplerSettings

Callback = Callable[["MotionGuidedPipeline", int, int, dict[str, Any]], dict[str, Any] | None]
OutputType = Literal["pil", "pt", "np"]
SIDE_MULTIPLE = 64


@dataclass
class MotionGuidedOutput(BaseOutput):
    """The edited images, the draft they started from, and the energy of the last guided evaluation.

    `images`: PIL images, or [B,3,H,W] in [0,1] as torch or (B,H,W,3) as numpy.
    """

    images: Any
    draft: Draft
    energy: Energy | None
    evaluations: int


class MotionGuidedPipeline(DiffusionPipeline):
    """Motion-guided sampling with any denoiser of Stable Diffusion's layout, or one without text.

    `vae`, `unet` and `scheduler` as in diffusers; without `tokenizer` and `text_encoder` it takes no prompt.
    """

    _optional_components = ["tokenizer", "text_encoder"]  # noqa: RUF012 - diffusers reads it off the class
    model_cpu_offload_seq = "text_encoder->unet->vae"

    def __init__(self, vae: Any, unet: Any, scheduler: Any, tokenizer: Any = None, text_encoder: Any = None) -> None:
        super().__init__()
        # A DDIM scheduler built from another's config inherits clip_sample=True, which ruins latents.
        scheduler = DDIMScheduler.from_config(scheduler.config, clip_sample=False)
        self.register_modules(vae=vae, unet=unet, scheduler=scheduler, tokenizer=tokenizer, text_encoder=text_encoder)

    @property
    def takes_prompt(self) -> bool:
        return self.text_encoder is not None

    def __call__(
        self,
        image: Tensor | Image.Image,
        flow: Tensor,
        flow_model: FlowModel,
        settings: SamplerSettings,
        mask: Tensor | None = None,
        prompt: str = "",
        negative_prompt: str = "",
        generator: torch.Generator | None = None,
        callback_on_step_end: Callback | None = None,
        output_type: OutputType = "pil",
    ) -> MotionGuidedOutput:
        """Move what `mask` covers of `image` along `flow`.

        image: [1,3,H,W] in [0,1] or PIL, sides multiples of 64; flow: [1,2,H,W] forward flow in pixels; mask:
        [1,1,H,W] in [0,1], by default where the flow is not zero. `callback_on_step_end(pipe, step, t, values)` gets
        `latents`, `x0`, `energy` and the `count` of steps after each evaluation; `latents` that it returns in a dict
        take the place of the loop's. Raises InputError for sizes that do not fit and flow that is not finite.
        """
        photo = _as_tensor(image).to(self._execution_device, torch.float32)
        flow = flow.to(photo)
        _check(photo, flow)
        mask = flow.ne(0).any(dim=1, keepdim=True).to(photo) if mask is None else mask.to(photo)
        draft = make_draft(photo, flow, mask)
        if settings.steps == 0:
            return MotionGuidedOutput(_as_type(draft.image, output_type), draft, None, 0)
        job = _Job(self, photo, flow, draft, settings, generator)
        eps = job.denoiser(self._encode_prompt(prompt, negative_prompt, settings.guidance_scale))
        guidance = job.guidance(flow_model)
        energy, evaluations, step = None, 0, None
        with self.progress_bar(total=len(job.timesteps.t)) as bar:
            for step in job.run(eps, guidance, callback_on_step_end):
                energy, evaluations = step.energy or energy, evaluations + (step.energy is not None)
                if step.recursion + 1 == settings.recursions:
                    bar.update()
        assert step is not None
        with torch.no_grad():
            result = job.composite(self.decode_latents(step.z), eps)
        return MotionGuidedOutput(_as_type(result, output_type), draft, energy, evaluations)

    def encode_image(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Latents of an image in [0,1]: the mode of the autoencoder's distribution, scaled."""
        encoded = self.vae.encode((2 * image - 1).to(self.vae.dtype)).latent_dist.mode()
        return (encoded * self.vae.config.scaling_factor).float()

    def decode_latents(self, z: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """The image in [0,1] (not clamped) of latents; differentiable."""
        decoded = self.vae.decode((z / self.vae.config.scaling_factor).to(self.vae.dtype)).sample
        return decoded.float() / 2 + 0.5

    def _encode_prompt(self, prompt: str, negative_prompt: str, scale: float) -> Prompt | None:
        if not self.takes_prompt:
            return None
        positive, negative = (self._embed(text) for text in (prompt, negative_prompt))
        return Prompt(positive, negative, scale)

    @torch.no_grad()
    def _embed(self, text: str) -> Tensor:
        tokens = self.tokenizer(
            text,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        embeddings: Tensor = self.text_encoder(tokens.input_ids.to(self._execution_device))[0]
        return embeddings


class _Job:
    """What one call has worked out before the loop starts."""

    def __init__(
        self,
        pipe: MotionGuidedPipeline,
        photo: Tensor,
        flow: Tensor,
        draft: Draft,
        settings: SamplerSettings,
        generator: torch.Generator | None,
    ) -> None:
        self.pipe, self.photo, self.flow, self.draft, self.settings = pipe, photo, flow, draft, settings
        self.generator = generator
        self.timesteps: Timesteps = ddim_timesteps(pipe.scheduler.alphas_cumprod, settings.steps, settings.start_t)
        with torch.no_grad():
            self.source = pipe.encode_image(photo)
            self.warped = pipe.encode_image(draft.image)

    def denoiser(self, prompt: Prompt | None) -> Denoiser:
        unet, config = self.pipe.unet, self.pipe.scheduler.config
        extra = unet.config.in_channels - self.source.shape[1]
        if extra not in (0, self.source.shape[1] + 1):
            raise ModelError(f"unet with {unet.config.in_channels} input channels does not fit the autoencoder")
        surround = self._surround() if extra else None
        return Denoiser(unet, self.pipe.scheduler.alphas_cumprod, config.prediction_type, prompt, surround)

    def _surround(self) -> Tensor:
        """Mask, in whole cells, and surroundings for a net that inpaints: the hole grey, or smoothly filled."""
        cells = _to_cells(self.to_paint(), self.source)
        hole = F.interpolate(cells, self.photo.shape[-2:], mode="nearest")
        base = self.draft.image if self.settings.start == "warp" else self.photo
        if self.pipe.scheduler.config.prediction_type != "sample" or bool((hole > 0).all()):
            base = torch.where(hole > 0, 0.5, base)
        elif self.settings.start != "warp":
            base = take_out(base, hole)
        with torch.no_grad():
            around = self.pipe.encode_image(base)
        return torch.cat([cells, around], dim=1)

    def to_paint(self) -> Tensor:
        """What a net that inpaints is asked for: after a warp the vacated region, else all that may change."""
        return (self.draft.vacated > 0).to(self.photo) if self.settings.start == "warp" else self._changeable()

    def _changeable(self) -> Tensor:
        return (self.draft.edit > 0).to(self.photo)

    def guidance(self, flow_model: FlowModel) -> MotionGuidance:
        chosen = self.settings
        return MotionGuidance(
            self.photo,
            self.flow,
            flow_model,
            w_flow=chosen.w_flow,
            w_color=chosen.w_color,
            occlusion=chosen.occlusion,
        )

    def draw(self) -> Tensor:
        """Fresh noise, drawn where the generator lives so that a seed means the same on every device."""
        device = self.generator.device if self.generator is not None else self.source.device
        return torch.randn(self.source.shape, generator=self.generator, device=device).to(self.source)

    def run(self, eps: Denoiser, guidance: MotionGuidance, callback: Callback | None) -> Iterator[Step]:
        """Every evaluation, once the callback has seen it."""
        steps, latents = self.steps(eps, guidance), None
        while True:
            try:
                step = steps.send(latents)
            except StopIteration:
                return
            values = {"latents": step.z, "x0": step.x0, "energy": step.energy, "count": len(self.timesteps.t)}
            returned = callback and callback(self.pipe, step.index, self.timesteps.t[step.index], values)
            latents = returned.get("latents") if returned else None
            yield step if latents is None else replace(step, z=latents)

    def steps(self, eps: Denoiser, guidance: MotionGuidance) -> Generator[Step, Tensor | None, None]:
        """The loop with this job's anchors and guidance."""
        chosen, count = self.settings, len(self.timesteps.t)
        start, anchors = self._start(eps)
        low, high = (round(share * count) for share in chosen.window)
        guide = Guide(
            guidance,
            self.pipe.decode_latents,
            [float(low <= index < high and chosen.weight > 0) for index in range(count)],
            chosen.weight,
            chosen.clip,
            chosen.through_denoiser,
            chosen.relative,
        )
        return sample_steps(
            eps, start, self.timesteps, draw=self.draw, recursions=chosen.recursions, anchors=anchors, guide=guide
        )

    def _start(self, eps: Denoiser) -> tuple[Tensor, list[Anchor]]:
        """First latents, and what is held: the photo outside the edit region, and the moved subject for a while."""
        count = len(self.timesteps.t)
        outside = 1 - _to_cells(self._changeable(), self.source)
        if self.settings.start == "inverted":
            plain = replace(eps, prompt=_without_guidance(eps.prompt))
            inverted = list(invert(plain, self.source, self.timesteps))[::-1]
            return inverted[0], [Anchor(outside, count, self.source, trajectory=inverted)]
        noise, a_t = self.draw(), self.timesteps.alpha_bar[0]
        clean = self.warped if self.settings.start == "warp" else torch.zeros_like(self.warped)
        subject = _to_cells((self.draft.target > 0.5).to(self.photo) * (1 - self.draft.seam), self.source, solid=True)
        anchors = [
            Anchor(outside, count, self.source, noise),
            Anchor(subject, round(self.settings.subject_until * count), self.warped, noise),
        ]
        return a_t**0.5 * clean + (1 - a_t) ** 0.5 * noise, anchors

    def composite(self, result: Tensor, eps: Denoiser) -> Tensor:
        """The result over the photo with a feathered edit mask: pixels that nothing asked to change are the photo's.

        Of a net that inpaints after a warp only the vacated region is taken, to the pixel.
        """
        if eps.surround is not None and self.settings.start == "warp":
            result = self.draft.image + self.draft.vacated * (result - self.draft.image)
        return blend(self.photo, result.clamp(0, 1), self.draft.edit)


def _without_guidance(prompt: Prompt | None) -> Prompt | None:
    return None if prompt is None else Prompt(prompt.positive, prompt.negative, 1.0)


def _to_cells(mask: Tensor, latents: Tensor, *, solid: bool = False) -> Tensor:
    """A pixel mask at the latents' size: 1 where any pixel of the cell is 1, or where all are if `solid`."""
    block = mask.shape[-1] // latents.shape[-1]
    return -F.max_pool2d(-mask, block) if solid else F.max_pool2d(mask, block)


def _as_tensor(image: Tensor | Image.Image) -> Tensor:
    if isinstance(image, Tensor):
        return image
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def _as_type(images: Tensor, output_type: OutputType) -> Any:
    if output_type == "pt":
        return images
    arrays = images.permute(0, 2, 3, 1).cpu().numpy()
    if output_type == "np":
        return arrays
    return [Image.fromarray((255 * array).round().astype(np.uint8)) for array in arrays]


def _check(photo: Tensor, flow: Tensor) -> None:
    height, width = photo.shape[-2:]
    if height % SIDE_MULTIPLE or width % SIDE_MULTIPLE:
        raise InputError(f"image of {width} x {height} pixels: resize it so that both sides are multiples of 64")
    if flow.shape != (len(photo), 2, height, width):
        raise InputError(
            f"flow of shape {tuple(flow.shape)} does not fit an image of {width} x {height} pixels; resize the flow"
        )
    if not bool(flow.isfinite().all()):
        raise InputError(f"flow holds {int((~flow.isfinite()).sum())} NaN or infinite values; make them 0")
