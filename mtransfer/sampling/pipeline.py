"""The shared sampler: a diffusers pipeline that edits an image so that a flow net sees the asked motion in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.estimator import FlowModel
from mtransfer.flow.warp import moved_region
from mtransfer.sampling.adapters.families import family_of, is_distilled
from mtransfer.sampling.adapters.noise_schedule import prediction_type, takes_few_steps, usable_scheduler
from mtransfer.sampling.composite import WarpComposite, blend, make_composite
from mtransfer.sampling.context import SamplingContext, build_denoiser, nothing_known, timesteps_of, unguided
from mtransfer.sampling.ddim import Callback
from mtransfer.sampling.denoiser import Denoiser, Prompt
from mtransfer.sampling.guidance import Energy, EnergyTerm, MotionGuidance
from mtransfer.sampling.settings import SIDE_MULTIPLE, SamplerSettings

OutputType = Literal["pil", "pt", "np"]
ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3")


@dataclass
class MotionGuidedOutput(BaseOutput):
    """The edited images, the draft they started from, and the energy of the last guided evaluation.

    `images`: PIL images, or [B,3,H,W] in [0,1] as torch or (B,H,W,3) as numpy.
    """

    images: Any
    draft: WarpComposite
    energy: Energy | None
    evaluations: int


class MotionGuidedPipeline(DiffusionPipeline):
    """Motion-guided sampling with any denoiser of the known families, or one without text.

    `vae`, `unet` or `transformer`, and `scheduler` as in diffusers; `encoders` are the family's `tokenizer`,
    `text_encoder` and further ones: without a `text_encoder` it takes no prompt. A `guidance_vae`, such as TAESD
    (diffusers' AutoencoderTiny), decodes what guidance looks at; the result is the vae's. Raises ModelError for a
    scheduler that is not known here.
    """

    _optional_components = ["unet", "transformer", *ENCODERS, "guidance_vae"]  # noqa: RUF012 - diffusers reads it off the class
    model_cpu_offload_seq = "text_encoder->text_encoder_2->text_encoder_3->unet->transformer->vae"

    def __init__(
        self,
        vae: Any,
        unet: Any,
        scheduler: Any,
        tokenizer: Any = None,
        text_encoder: Any = None,
        guidance_vae: Any = None,
        transformer: Any = None,
        tokenizer_2: Any = None,
        text_encoder_2: Any = None,
        tokenizer_3: Any = None,
        text_encoder_3: Any = None,
    ) -> None:
        super().__init__()
        if guidance_vae is not None:
            guidance_vae.to(memory_format=torch.channels_last)  # a quarter faster, equal up to rounding
        self.register_modules(
            vae=vae,
            unet=unet,
            scheduler=usable_scheduler(scheduler),
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            guidance_vae=guidance_vae,
            transformer=transformer,
            tokenizer_2=tokenizer_2,
            text_encoder_2=text_encoder_2,
            tokenizer_3=tokenizer_3,
            text_encoder_3=text_encoder_3,
        )

    @property
    def net(self) -> Any:
        """The denoising net."""
        return self.unet if self.transformer is None else self.transformer

    @property
    def input_channels(self) -> int:
        """Those of the net, a patch of cells counted once."""
        channels = int(self.net.config.in_channels)
        packed = self.transformer is not None and channels == 4 * self.vae.config.latent_channels
        return channels // 4 if packed else channels

    @property
    def takes_prompt(self) -> bool:
        return self.text_encoder is not None

    @property
    def takes_few_steps(self) -> bool:
        """Whether the net was distilled to few steps, as its scheduler tells."""
        return takes_few_steps(self.scheduler)

    @property
    def refines(self) -> bool:
        """Whether the net is the embedded one, which predicts what to add to a warp."""
        return prediction_type(self.scheduler) == "sample"

    def __call__(
        self,
        image: Tensor | Image.Image,
        flow: Tensor,
        flow_model: FlowModel | None = None,
        settings: SamplerSettings | None = None,
        mask: Tensor | None = None,
        background: Tensor | None = None,
        prompt: str = "",
        negative_prompt: str = "",
        noise: Tensor | None = None,
        carried: Tensor | None = None,
        energy_terms: Sequence[EnergyTerm] = (),
        generator: torch.Generator | list[torch.Generator] | None = None,
        callback_on_step_end: Callback | None = None,
        output_type: OutputType = "pil",
    ) -> MotionGuidedOutput:
        """Move what `mask` covers of `image` along `flow`; several of one size in one pass.

        image: [B,3,H,W] in [0,1] or PIL, sides multiples of 64; flow: [B,2,H,W] forward flow in pixels; mask: [B,1,H,W]
        in [0,1], by default where the flow is not zero; `background`: the image without its subject, by default filled
        from around it; `flow_model` guides, by default the embedded RAFT; `settings`: by default the preset `fast`, by
        which the embedded net is guided only if a `flow_model` or `energy_terms`, added to the energy, are given;
        `noise`: the start noise of a generated image (start=own); `carried` [B,3,H,W] is added to the warp that
        sampling begins with (start=warp), what an earlier frame's result added to its own; `generator`: one, or one
        an image. `callback_on_step_end(pipe, step, t, values)` gets `latents`, `x0`, `energy` and the `count` of steps
        after each evaluation; `latents` that it returns in a dict take the place of the loop's. Raises InputError for
        sizes that do not fit and flow that is not finite.
        """
        settings = self._resolved(settings, guided=flow_model is not None or bool(energy_terms))
        photo = _as_tensor(image).to(self._execution_device, torch.float32)
        flow = flow.to(photo)
        _check(photo, flow)
        mask = moved_region(flow) if mask is None else mask.to(photo)
        draft = _drafts(photo, flow, mask, background)
        if settings.steps == 0:
            return MotionGuidedOutput(_as_type(draft.image, output_type), draft, None, 0)
        plan = SamplingContext(self, photo, draft, settings, generator, noise, carried)
        eps = plan.denoiser(self.encode_prompt(prompt, negative_prompt, settings.guidance_scale))
        guidance = self._guidance(plan, flow, flow_model, energy_terms)
        painted, energy, evaluations = self._painted(plan, eps, guidance, callback_on_step_end)
        # Over the photo with a feathered edit mask: pixels that nothing asked to change are the photo's own.
        result = blend(photo, painted.clamp(0, 1), draft.edit)
        return MotionGuidedOutput(_as_type(result, output_type), draft, energy, evaluations)

    def _resolved(self, settings: SamplerSettings | None, *, guided: bool) -> SamplerSettings:
        """The settings as they are for this pipeline's net, which is `guided` by what the caller gave."""
        settings = settings or SamplerSettings.from_preset("fast")
        if self.takes_few_steps:
            settings = settings.for_few_steps(keep_scale=is_distilled(self.net))
        return settings.for_model(refines=self.refines, guided=guided)

    def _guidance(
        self, plan: SamplingContext, flow: Tensor, flow_model: FlowModel | None, terms: Sequence[EnergyTerm]
    ) -> MotionGuidance | None:
        """The energy, by the embedded RAFT where no flow net is given; None where nothing is to guide."""
        if not plan.settings.weight:
            return None
        return plan.guidance(flow, flow_model or self._embedded_flow_model(plan.settings), terms)

    def _embedded_flow_model(self, settings: SamplerSettings) -> FlowModel:
        from mtransfer.flow.loading import load_flow_model  # and with it torchvision

        return load_flow_model("embedded", settings.flow_updates, settings.flow_levels, self._execution_device)

    def _painted(
        self, plan: SamplingContext, eps: Denoiser, guidance: MotionGuidance | None, on_step: Callback | None
    ) -> tuple[Tensor, Energy | None, int]:
        """What the loop ends with [B,3,H,W], the last energy, and the number of guided evaluations."""
        energy, evaluations, step = None, 0, None
        with self.progress_bar(total=len(plan.timesteps.t)) as bar:
            for step in plan.run(eps, guidance, on_step):
                energy, evaluations = step.energy or energy, evaluations + (step.energy is not None)
                if step.recursion + 1 == plan.settings.recursions:
                    bar.update()
        assert step is not None
        with torch.no_grad():
            painted = plan.with_the_drafts_detail(self.decode_latents(step.z))
        _require_finite(painted, plan.settings)
        return painted, energy, evaluations

    @torch.no_grad()
    def generate(
        self,
        size: tuple[int, int],
        settings: SamplerSettings,
        prompt: str = "",
        negative_prompt: str = "",
        generator: torch.Generator | None = None,
        on_step: Callable[[int, int], object] = lambda done, total: None,
    ) -> tuple[Tensor, Tensor]:
        """An image [1,3,H,W] in [0,1] of `size` (H, W) that the model makes, and its start noise [1,C,h,w].

        Only the settings' steps and guidance scale count. Such an image can be edited with start=own.
        """
        settings = self._resolved(settings, guided=True)
        like = self.encode_image(torch.zeros(1, 3, *size, device=self._execution_device))
        device = generator.device if generator is not None else like.device
        noise = torch.randn(like.shape, generator=generator, device=device).to(like)
        text = self.encode_prompt(prompt, negative_prompt, settings.guidance_scale)
        eps = build_denoiser(self, like, text, lambda: nothing_known(like))
        timesteps = timesteps_of(self, max(1, settings.steps), 1000, like)
        for done, latents in enumerate(unguided(eps, noise, timesteps)):  # noqa: B007 - the last are the image
            on_step(done, len(timesteps.t))
        return self.decode_latents(latents).clamp(0, 1), noise

    def guided_through(self, guidance_vae: Any) -> "MotionGuidedPipeline":
        """A pipeline of the same parts whose guidance decodes by this; the pipeline itself, which others use, stays."""
        other = type(self)(**self.components | {"guidance_vae": guidance_vae})
        other.set_progress_bar_config(**getattr(self, "_progress_bar_config", {}))
        return other

    def save_memory(self) -> None:
        """Trade time for memory: one image at a time through the autoencoder, activations of the net computed twice."""
        if hasattr(self.vae, "enable_slicing"):
            self.vae.enable_slicing()
        self.net.enable_gradient_checkpointing()

    def encode_image(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Latents of an image in [0,1]: the mode of the autoencoder's distribution, shifted and scaled."""
        encoded = self.vae.encode((2 * image - 1).to(self.vae.dtype)).latent_dist.mode()
        return ((encoded - _shift_of(self.vae)) * self.vae.config.scaling_factor).to(image)

    def decode_latents(self, z: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """The image in [0,1] (not clamped) of latents; differentiable."""
        return self._decoded(self.vae, z)

    def decode_for_guidance(self, z: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """As `decode_latents`, by the cheaper decoder where there is one."""
        return self._decoded(self.guidance_vae or self.vae, z)

    def _decoded(self, vae: Any, z: Tensor) -> Tensor:
        decoded = vae.decode((z / vae.config.scaling_factor + _shift_of(vae)).to(vae.dtype)).sample
        return decoded.to(z) / 2 + 0.5

    def encode_prompt(self, prompt: str, negative_prompt: str, scale: float) -> Prompt | None:
        """The texts of both prompts, for a net that takes text; else None. Without a prompt nothing is guided by it."""
        if not self.takes_prompt:
            return None
        positive, negative = family_of(self.net).encode(self, prompt, negative_prompt)
        if is_distilled(self.net):
            return Prompt(positive, negative, 1.0, distilled_scale=scale)
        return Prompt(positive, negative, scale if prompt or negative_prompt else 1.0)


def _shift_of(vae: Any) -> float:
    """What is taken off latents before they are scaled; 0 for autoencoders that know no such thing."""
    return float(vae.config.get("shift_factor") or 0)


def _drafts(photo: Tensor, flow: Tensor, mask: Tensor, background: Tensor | None) -> WarpComposite:
    """The drafts of a batch as one."""
    behind = [None] * len(photo) if background is None else list(background.to(photo).split(1))
    items = zip(photo.split(1), flow.split(1), mask.split(1), behind, strict=True)
    drafts = [make_composite(*item) for item in items]
    return WarpComposite(
        **{part.name: torch.cat([getattr(draft, part.name) for draft in drafts]) for part in fields(WarpComposite)}
    )


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


def _require_finite(painted: Tensor, settings: SamplerSettings) -> None:
    if not bool(painted.isfinite().all()):
        raise InputError(
            f"sampler.guidance_scale {settings.guidance_scale:g}, sampler.weight {settings.weight:g}: drove the "
            "picture out of all bounds; use smaller ones, or --dtype float32"
        )


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
