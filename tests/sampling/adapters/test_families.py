"""Every family by parity: unguided, the loop gives what diffusers' own pipelines give from the same noise."""

from typing import Any

import pytest
import torch
from diffusers import (
    FluxImg2ImgPipeline,
    LatentConsistencyModelImg2ImgPipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
)
from shifted_photo import SIZE, Shift, flow, photo, quiet, settings
from tiny_families import FAMILIES, parts_of

from mtransfer.sampling.adapters.noise_schedule import takes_few_steps
from mtransfer.sampling.composite import WarpComposite
from mtransfer.sampling.context import SamplingContext, unguided
from mtransfer.sampling.ddim import Guide, invert, invert_ode, sample_steps
from mtransfer.sampling.denoiser import Denoiser
from mtransfer.sampling.guidance import Energy
from mtransfer.sampling.pipeline import MotionGuidedPipeline
from mtransfer.sampling.settings import SamplerSettings

# diffusers' Euler schedulers make arrays in a way that NumPy 2 is to drop.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
UNCHECKED: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
UNMARKED: dict[str, Any] = {"add_watermarker": False}
# diffusers' pipeline of every family, and what it is made with besides the parts.
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sd": (StableDiffusionImg2ImgPipeline, UNCHECKED),
    "sd-v": (StableDiffusionImg2ImgPipeline, UNCHECKED),
    "sd-inpaint": (StableDiffusionInpaintPipeline, UNCHECKED),
    "lcm": (LatentConsistencyModelImg2ImgPipeline, UNCHECKED),
    "sdxl": (StableDiffusionXLImg2ImgPipeline, UNMARKED),
    "sdxl-inpaint": (StableDiffusionXLInpaintPipeline, UNMARKED),
    "turbo": (StableDiffusionXLImg2ImgPipeline, UNMARKED),
    "lightning": (StableDiffusionXLImg2ImgPipeline, UNMARKED),
    "sd3": (StableDiffusion3Img2ImgPipeline, {}),
    "flux": (FluxImg2ImgPipeline, {}),
    "flux-dev": (FluxImg2ImgPipeline, {}),
}
INPAINTING = ("sd-inpaint", "sdxl-inpaint")
SCALE = {"turbo": 0.0, "lightning": 0.0, "lcm": 8.5}
WHOLE_CELLS = (slice(None), slice(None), slice(40, 88), slice(48, 112))


@pytest.fixture(scope="module", params=FAMILIES)
def family(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def parts(family, tmp_path_factory) -> dict[str, Any]:
    return parts_of(family, tmp_path_factory.mktemp(family))


@pytest.fixture(scope="module")
def pipe(parts) -> MotionGuidedPipeline:
    return quiet(MotionGuidedPipeline(**{"unet": None} | parts))


def prepared(pipe: MotionGuidedPipeline, scale: float, **changes: Any) -> tuple[SamplingContext, Denoiser]:
    """A job that paints whole cells of the photo again, and its denoiser."""
    edit, nothing = torch.zeros(1, 1, *SIZE), torch.zeros(1, 1, *SIZE)
    edit[WHOLE_CELLS] = 1
    draft = WarpComposite(photo(), nothing, edit, nothing, edit)
    chosen = settings(**{"start": "photo", "weight": 0.0, "edit_mask": False, "subject_until": 0.0, **changes})
    plan = SamplingContext(pipe, photo(), draft, chosen, torch.Generator().manual_seed(3))
    return plan, plan.denoiser(pipe.encode_prompt("a kite", "", scale))


def theirs(family: str, parts: dict[str, Any], pipe: MotionGuidedPipeline, **asked: Any) -> torch.Tensor:
    """What diffusers' pipeline of the family ends with, by the schedule that is sampled here."""
    kind, more = KINDS[family]
    known = kind(**{**parts, "scheduler": pipe.scheduler}, **more)
    known.set_progress_bar_config(disable=True)
    return known(prompt="a kite", output_type="latent", generator=torch.Generator().manual_seed(3), **asked).images


def difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_unguided_it_is_diffusers_own_image_to_image(family, parts, pipe) -> None:
    if family in INPAINTING:
        pytest.skip("diffusers gives these nets a mask and surroundings when they inpaint alone")
    scale, steps = SCALE.get(family, 3.0), 4 if family == "lcm" else 10
    plan, denoise = prepared(pipe, scale or 1.0, steps=steps, start_t=500)
    ours = list(plan.steps(denoise, None))[-1].z
    strength = 0.5 if family == "lcm" else len(plan.timesteps.t) / steps
    asked: dict[str, Any] = {"image": plan.source, "num_inference_steps": steps, "guidance_scale": scale}
    matches_flow = family.startswith("flux") or family == "sd3"
    if matches_flow:  # whose pipelines round the other way
        asked |= {"height": SIZE[0], "width": SIZE[1]}
    wanted = theirs(family, parts, pipe, strength=strength + (-1e-6 if matches_flow else 1e-6), **asked)
    if family.startswith("flux"):
        wanted = FluxImg2ImgPipeline._unpack_latents(wanted, *SIZE, 8)
    assert 1 < len(plan.timesteps.t) < 10
    assert difference(ours, wanted) < 1e-4
    assert difference(ours, plan.source) > 1e-2


@pytest.mark.parametrize("family", INPAINTING, indirect=True)
def test_unguided_it_is_diffusers_own_inpainting(family, parts, pipe) -> None:
    plan, denoise = prepared(pipe, 3.0, steps=5, start_t=1000)
    noise = torch.randn(plan.source.shape, generator=torch.Generator().manual_seed(5))
    ours = list(sample_steps(denoise, noise, plan.timesteps, draw=plan.draw))[-1].z
    asked = {"image": photo(), "mask_image": plan.draft.edit, "height": SIZE[0], "width": SIZE[1], "strength": 1.0}
    wanted = theirs(family, parts, pipe, latents=noise, num_inference_steps=5, guidance_scale=3.0, **asked)
    assert difference(ours, wanted) < 1e-4


def test_inverted_latents_come_back(family, tmp_path) -> None:
    """By DDIM with a net that hardly changes from step to step; by the reversed ODE with any, from pure noise."""
    parts = parts_of(family, tmp_path)
    matches_flow = "transformer" in parts
    if not matches_flow:
        with torch.no_grad():
            for weights in parts["unet"].conv_out.parameters():
                weights *= 0.1
    pipe = quiet(MotionGuidedPipeline(**{"unet": None} | parts))
    start_t = 1000 if matches_flow else 300
    plan, denoise = prepared(pipe, 1.0, steps=50, start_t=start_t, start="inverted")
    if takes_few_steps(pipe.scheduler):
        pytest.skip("its steps are too large to be reversed")
    latents = torch.randn(plan.source.shape, generator=torch.Generator().manual_seed(1))
    noise = list((invert_ode if matches_flow else invert)(denoise, latents, plan.timesteps))[-1]
    assert difference(noise, latents) > 0.02
    assert difference(list(unguided(denoise, noise, plan.timesteps))[-1], latents) < 1e-3


def test_the_gradient_of_guidance_is_the_energys(family, tmp_path) -> None:
    """Against central differences along a direction, through the net and the decoder, in double precision."""
    parts = parts_of(family, tmp_path)
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            part.double()
    pipe = quiet(MotionGuidedPipeline(**{"unet": None} | parts))
    plan, denoise = prepared(pipe, 3.0, steps=6, start_t=500, through_denoiser=True)
    t, level = plan.timesteps.t[0], plan.timesteps.levels[0]
    generator = torch.Generator().manual_seed(1)
    z, along = (torch.randn(plan.source.shape, generator=generator).double() for _ in range(2))

    def energy(image: torch.Tensor) -> Energy:
        total = (image - 0.3).square().mean(dim=(1, 2, 3))
        return Energy(total, total, total, torch.zeros(1, 2, 1, 1))

    def total_at(latents: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return energy(pipe.decode_for_guidance(denoise(latents, t, level).clean)).total

    step = 1e-4
    slope = float((total_at(z + step * along) - total_at(z - step * along)) / (2 * step))
    guide = Guide(energy, pipe.decode_for_guidance, [1.0] * len(plan.timesteps.t), weight=1.0)
    pushed, still = (
        next(sample_steps(denoise, z, plan.timesteps, draw=lambda: torch.zeros_like(z), guide=each)).z
        for each in (guide, None)
    )
    after, fresh = plan.timesteps.after[0], plan.timesteps.fresh[0]
    share = after.alpha * level.sigma / level.alpha - (after.sigma**2 - fresh**2) ** 0.5  # of a push of the noise
    gradient = (still - pushed) / (share * level.sigma)
    assert float((gradient * along).sum()) == pytest.approx(slope, rel=1e-2)


@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_it_edits_by_every_preset(family, pipe, preset, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MTRANSFER_CACHE", str(tmp_path))
    changes = {"steps": 10, "start_t": 600} if preset == "fast" else {"steps": 3, "recursions": 2, "weight": 1.0}
    chosen = settings(**changes) if preset == "fast" else preset_paper(changes)
    result = pipe(photo(), flow(), Shift(), chosen, prompt="a kite", output_type="pt")
    assert result.images.isfinite().all()
    assert result.evaluations > 0
    assert torch.equal(result.images[..., :20, :], photo()[..., :20, :])


def preset_paper(changes: dict[str, Any]) -> Any:
    return SamplerSettings.from_preset("paper", **changes).for_any_model()


def test_nets_of_few_steps_take_few_and_are_not_guided_by_text(family, pipe) -> None:
    asked = settings(steps=84, guidance_scale=4.0)
    chosen = pipe._resolved(asked, guided=True)
    few = family in ("lcm", "turbo", "lightning")
    assert pipe.takes_few_steps == few
    assert chosen.steps == (8 if few else 84)
    assert chosen.guidance_scale == (1.0 if family in ("turbo", "lightning") else 4.0)  # LCM is told its scale
    prompt = pipe.encode_prompt("a kite", "", chosen.guidance_scale)
    assert prompt.distilled_scale == (4.0 if family in ("lcm", "flux", "flux-dev") else None)
    assert prompt.scale == (1.0 if few or family.startswith("flux") else 4.0)


def test_without_a_prompt_the_net_runs_once_a_step(family, pipe) -> None:
    prompt = pipe.encode_prompt("", "", 7.5)
    assert prompt is not None
    assert prompt.scale == 1
