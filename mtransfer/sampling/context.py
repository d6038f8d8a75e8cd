"""What one sampling works out before its loop starts: latents, masks, anchors, and what the net is shown."""

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Float
from torch import Tensor

from mtransfer.cache import remember
from mtransfer.errors import InputError, ModelError
from mtransfer.flow.estimator import FlowModel
from mtransfer.flow.field import FlowField, resize
from mtransfer.sampling.adapters.families import family_of, own_sigmas
from mtransfer.sampling.adapters.noise_schedule import prediction_type, timesteps
from mtransfer.sampling.composite import WarpComposite
from mtransfer.sampling.ddim import Anchor, Callback, Guide, Step, Timesteps, invert, invert_ode, sample_steps
from mtransfer.sampling.denoiser import Denoiser, Prompt
from mtransfer.sampling.guidance import EnergyTerm, EnergyWeights, MotionGuidance
from mtransfer.sampling.settings import SamplerSettings, guided

DETAIL_PX = 3  # what is finer stays the draft's own where a net betters a draft
WEIGHTS_READ = 64  # about so many of each of a net's parameters tell it from others
OWN_TOLERANCE = 0.02  # root mean square: half-precision nets and an 8-bit photo differ by a tenth of it


class SamplingContext:
    """What one call of the pipeline has worked out before its loop starts."""

    def __init__(
        self,
        pipe: Any,
        photo: Tensor,
        draft: WarpComposite,
        settings: SamplerSettings,
        generator: torch.Generator | list[torch.Generator] | None,
        noise: Tensor | None = None,
        carried: Tensor | None = None,
    ) -> None:
        self.pipe, self.photo, self.draft, self.settings = pipe, photo, draft, settings
        self.generator, self.noise = generator, noise
        with torch.no_grad():
            self.source = pipe.encode_image(photo)
            self.warped = pipe.encode_image(draft.image)
            self.begun = self.warped if carried is None else pipe.encode_image((draft.image + carried).clamp(0, 1))
        self.timesteps = timesteps_of(pipe, settings.steps, settings.start_t, self.source)
        if settings.start in ("inverted", "own"):
            self.timesteps = self.timesteps.without_fresh_noise()

    def denoiser(self, prompt: Prompt | None) -> Denoiser:
        """The pipeline's net, shown what this job knows of the picture."""
        return build_denoiser(self.pipe, self.source, prompt, self._surround)

    def _surround(self) -> Tensor:
        """Mask, in whole cells, and surroundings for a net that inpaints: inside the mask grey, or the draft.

        Only the embedded net, which predicts what to add to its surroundings, knows what to do with a draft.
        """
        cells = to_cells(self.to_paint(), self.source)
        around = self.draft.image
        if not self._betters_draft():
            around = torch.where(F.interpolate(cells, self.photo.shape[-2:], mode="nearest") > 0, 0.5, around)
        with torch.no_grad():
            return torch.cat([cells, self.pipe.encode_image(around)], dim=1)

    def _betters_draft(self) -> bool:
        return self.settings.show_draft and bool(self.pipe.refines)

    def with_the_drafts_detail(self, painted: Tensor) -> Tensor:
        """What a net painted that betters the draft: its changes smoothed, for its detail is worse than the draft's."""
        if not self._betters_draft():
            return painted
        change = F.pad(painted - self.draft.image, (DETAIL_PX,) * 4, mode="replicate")
        return self.draft.image + F.avg_pool2d(change, 2 * DETAIL_PX + 1, stride=1)

    def to_paint(self) -> Tensor:
        """What a net that inpaints is asked for: all that may change, but for a subject held to the end."""
        held = self._held() if self.settings.subject_until == 1 else torch.zeros_like(self.draft.edit)
        return self._changeable() * (1 - held)

    def _held(self) -> Tensor:
        """The moved subject without its seam."""
        return (self.draft.target > 0.5).to(self.photo) * (1 - self.draft.seam)

    def _changeable(self) -> Tensor:
        return (self.draft.edit > 0).to(self.photo)

    def guidance(self, flow: Tensor, flow_model: FlowModel, terms: Sequence[EnergyTerm]) -> MotionGuidance:
        """The energy of this job for a target flow [B,2,H,W], at the size at which guidance looks."""
        chosen, looked_at = self.settings, resize(FlowField.from_flow(flow), self._looked_at())
        weights = EnergyWeights(
            chosen.w_flow, chosen.w_color, chosen.occlusion, chosen.oracle_flow, chosen.charbonnier_eps
        )
        return MotionGuidance(self._seen(self.photo), looked_at.flow, flow_model, weights, terms)

    def _looked_at(self) -> tuple[int, int]:
        """(H, W) at which guidance looks: no larger than the sampler's own size."""
        height, width = self.photo.shape[-2:]
        scale = min(1.0, (self.settings.guidance_side_px or max(height, width)) / max(height, width))
        return round(height * scale), round(width * scale)

    def _seen(self, image: Tensor) -> Tensor:
        size = self._looked_at()
        return image if tuple(image.shape[-2:]) == size else F.interpolate(image, size, mode="area")

    def draw(self) -> Tensor:
        """Fresh noise, drawn where the generator lives so that a seed means the same on every device."""
        return randn_tensor(self.source.shape, self.generator, self.source.device, torch.float32)

    def run(self, eps: Denoiser, guidance: MotionGuidance | None, callback: Callback | None) -> Iterator[Step]:
        """Every evaluation, once the callback has seen it; while the photo is inverted it sees step -1."""
        first, count = self.timesteps.t[0], len(self.timesteps.t)

        def tick() -> None:
            if callback:
                callback(
                    self.pipe, -1, first, {"latents": self.source, "x0": self.source, "energy": None, "count": count}
                )

        steps, latents = self.steps(eps, guidance, tick), None
        while True:
            try:
                step = steps.send(latents)
            except StopIteration:
                return
            values = {"latents": step.z, "x0": step.x0, "energy": step.energy, "count": count}
            returned = callback and callback(self.pipe, step.index, self.timesteps.t[step.index], values)
            latents = returned.get("latents") if returned else None
            yield step if latents is None else replace(step, z=latents)

    def steps(
        self, eps: Denoiser, guidance: MotionGuidance | None, tick: Callable[[], None] = lambda: None
    ) -> Generator[Step, Tensor | None, None]:
        """The loop with this job's anchors and guidance. `tick` is called at each evaluation that comes before it."""
        chosen, count = self.settings, len(self.timesteps.t)
        start, anchors = self._start(eps, tick)
        guide = (
            None
            if guidance is None
            else Guide(
                guidance,
                lambda z: self._seen(self.pipe.decode_for_guidance(z)),
                [float(inside and chosen.weight > 0) for inside in guided(chosen.window, count)],
                chosen.weight,
                chosen.clip,
                chosen.through_denoiser,
                chosen.scale_by_noise_norm,
            )
        )
        return sample_steps(
            eps, start, self.timesteps, draw=self.draw, recursions=chosen.recursions, anchors=anchors, guide=guide
        )

    def _start(self, eps: Denoiser, tick: Callable[[], None]) -> tuple[Tensor, list[Anchor]]:
        """First latents, and what is held: the photo outside the edit region, and the moved subject for a while."""
        count = len(self.timesteps.t)
        outside = 1 - to_cells(self._changeable(), self.source)
        if not self.settings.edit_mask:
            outside = torch.zeros_like(outside)
        if self.settings.start == "inverted":
            inverted = self.inverted(replace(eps, prompt=_without_guidance(eps.prompt)), tick)
            return inverted[0], [Anchor(outside, count, self.source, trajectory=inverted)]
        if self.settings.start == "own":
            own = self._own_trajectory(eps, tick)
            return own[0], [Anchor(outside, count, self.source, trajectory=own)]
        noise, level = self.draw(), self.timesteps.levels[0]
        begun = {"warp": self.begun, "photo": self.source, "noise": torch.zeros_like(self.source)}
        subject = to_cells(self._held(), self.source, solid=True)
        anchors = [
            Anchor(outside, count, self.source, noise),
            Anchor(subject, round(self.settings.subject_until * count), self.warped, noise),
        ]
        return level.alpha * begun[self.settings.start] + level.sigma * noise, anchors

    def inverted(self, eps: Denoiser, tick: Callable[[], None] = lambda: None) -> list[Tensor]:
        """The photo's latents at each timestep, from noise to image; from the cache where they were made before."""
        key = {"net": _fingerprint(eps, self.source), "timesteps": self.timesteps.t, "levels": self.timesteps.levels}
        reverse = invert_ode if eps.prediction_type == "flow" else invert
        latents = remember(
            "inversion", key, lambda: {"z": torch.stack(_each(reverse(eps, self.source, self.timesteps), tick)[::-1])}
        )
        return list(latents["z"].to(self.source))

    def _own_trajectory(self, eps: Denoiser, tick: Callable[[], None]) -> list[Tensor]:
        """The latents through which the model came from `noise` to the photo. Raises InputError when it did not."""
        if self.noise is None or self.noise.shape != self.source.shape:
            shape = None if self.noise is None else tuple(self.noise.shape)
            raise InputError(
                f"start=own needs the noise the photo was generated from, of shape {tuple(self.source.shape)}, "
                f"not {shape}; give the --noise file that mtransfer generate wrote beside it"
            )
        blind = build_denoiser(self.pipe, self.source, eps.prompt, lambda: nothing_known(self.source))
        trajectory = _each(unguided(blind, self.noise.to(self.source), self.timesteps), tick)
        made = self.pipe.decode_latents(trajectory[-1]).clamp(0, 1)
        difference = float((made - self.photo).square().mean().sqrt())
        if not difference <= OWN_TOLERANCE:  # of noise that is not finite it is NaN
            raise InputError(
                f"the noise does not lead to this photo with these settings (they differ by {difference:.3f} of 1 on "
                "average); use the model, size, prompt, steps and guidance scale it was generated with"
            )
        return trajectory[:-1]


def build_denoiser(pipe: Any, latents: Tensor, prompt: Prompt | None, surround: Callable[[], Tensor]) -> Denoiser:
    """The pipeline's net for latents like these; one that inpaints gets the surround. Raises ModelError for others."""
    extra = pipe.input_channels - latents.shape[1]
    if extra not in (0, latents.shape[1] + 1):
        raise ModelError(f"a net with {pipe.input_channels} input channels does not fit the autoencoder")
    found = prediction_type(pipe.scheduler)
    return Denoiser(pipe.net, family_of(pipe.net), found, prompt, surround() if extra else None)


def timesteps_of(pipe: Any, steps: int, start_t: int, latents: Float[Tensor, "B C h w"]) -> Timesteps:
    """The noise levels that a pipeline visits for latents like these."""
    cells = (latents.shape[-2], latents.shape[-1])
    return timesteps(pipe.scheduler, steps, start_t, cells, own_sigmas(pipe.net, steps))


def nothing_known(latents: Float[Tensor, "B C h w"]) -> Float[Tensor, "B S h w"]:
    """The surround of a picture of which nothing is known: all to be painted, grey around."""
    return torch.cat([torch.ones_like(latents[:, :1]), torch.zeros_like(latents)], dim=1)


def unguided(eps: Denoiser, noise: Tensor, timesteps: Timesteps) -> Iterator[Tensor]:
    """The latents at each timestep, from `noise` to the clean ones, nothing drawn on the way."""
    yield noise
    for step in sample_steps(eps, noise, timesteps.without_fresh_noise(), draw=lambda: torch.zeros_like(noise)):
        yield step.z


def _each(latents: Iterator[Tensor], tick: Callable[[], None]) -> list[Tensor]:
    found = []
    for z in latents:
        tick()
        found.append(z)
    return found


def _fingerprint(eps: Denoiser, source: Tensor) -> str:
    """What an inversion depends on: the net (a few of each of its weights stand for all), prompt, surround, latents."""
    weights = [values.detach().flatten() for _, values in sorted(eps.net.named_parameters())]
    weights = [values[:: max(1, len(values) // WEIGHTS_READ)] for values in weights]
    text = None if eps.prompt is None else eps.prompt.positive
    prompt = [] if text is None else [each for each in (text.tokens, text.pooled) if each is not None]
    surround = [] if eps.surround is None else [eps.surround]
    told = None if eps.prompt is None else eps.prompt.distilled_scale
    digest = hashlib.sha256(f"{source.device.type} {eps.prediction_type} {told}".encode())
    for tensor in (*weights, source, *prompt, *surround):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _without_guidance(prompt: Prompt | None) -> Prompt | None:
    return None if prompt is None else replace(prompt, scale=1.0)


def to_cells(mask: Tensor, latents: Tensor, *, solid: bool = False) -> Tensor:
    """A pixel mask at the latents' size: 1 where any pixel of the cell is 1, or where all are if `solid`."""
    block = mask.shape[-1] // latents.shape[-1]
    return -F.max_pool2d(-mask, block) if solid else F.max_pool2d(mask, block)
