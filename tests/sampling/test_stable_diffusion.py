"""Models of Stable Diffusion's layout, by the command and from Python: a tiny one with every file of the real."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import command, contents
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    SchedulerMixin,
    TCDScheduler,
)
from noise_model import predicting_noise
from PIL import Image
from shifted_photo import SIZE, Shift, flow, photo, quiet, sampled, settings
from tiny_sd import add_safety_checker, build_tiny_sd
from transformers import CLIPTextModel

from mtransfer.errors import ModelError
from mtransfer.sampling.adapters.noise_schedule import as_ddim
from mtransfer.sampling.adapters.stable_diffusion import StableDiffusion
from mtransfer.sampling.context import _fingerprint
from mtransfer.sampling.ddim import Guide, Timesteps, ddim_timesteps, sample_steps
from mtransfer.sampling.denoiser import Denoiser, Level, Prompt
from mtransfer.sampling.guidance import Energy
from mtransfer.sampling.loading import load_pipeline
from mtransfer.sampling.pipeline import MotionGuidedPipeline

KITE = Path(__file__).parents[2] / "samples" / "kite.jpg"
CPU = torch.device("cpu")
FEW = ["--set", "sampler.steps=4", "--set", "sampler.flow_updates=1", "--set", "sampler.flow_levels=1"]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    return lambda **choices: build_tiny_sd(tmp_path_factory.mktemp("tiny_sd"), **choices)


@pytest.fixture(scope="session")
def tiny_sd(build) -> Path:
    return build()


@pytest.fixture
def pipe(tiny_sd) -> MotionGuidedPipeline:
    return quiet(MotionGuidedPipeline.from_pretrained(tiny_sd, use_safetensors=True, low_cpu_mem_usage=False))


@pytest.mark.slow
def test_the_command_runs_a_model_directory(tiny_sd, tmp_path, capsys, monkeypatch) -> None:
    """The whole path, at 512 pixels: the prompt changes the picture, and nothing but our lines is said."""
    sizes, encode = set(), MotionGuidedPipeline.encode_image

    def watched(pipe: MotionGuidedPipeline, image: torch.Tensor) -> torch.Tensor:
        sizes.add(tuple(image.shape[-2:]))
        return encode(pipe, image)

    monkeypatch.setattr(MotionGuidedPipeline, "encode_image", watched)
    for prompt in ("kite", "aeroplane"):
        where = ["--model", tiny_sd, "-o", tmp_path / prompt, "--json", "--subject", "170,150,350,330"]
        ended = command(capsys, "edit", KITE, "--translate", "40,0", "--prompt", prompt, *where, *FEW)
        assert (ended.code, ended.err) == (0, "")
        assert json.loads(ended.out)["guided_evaluations"] >= 1
    assert sizes == {(384, 512)}
    assert (tmp_path / "kite" / "edited.png").read_bytes() != (tmp_path / "aeroplane" / "edited.png").read_bytes()
    with Image.open(tmp_path / "kite" / "edited.png") as edited, Image.open(KITE) as original:
        assert edited.size == original.size
        assert edited.crop((0, 0, 100, 60)).tobytes() == original.convert("RGB").crop((0, 0, 100, 60)).tobytes()


@pytest.mark.parametrize("whole", [False, True])
def test_a_download_loads_with_or_without_its_safety_checker(whole, tiny_sd, tmp_path, capfd) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_sd, folder)
    if whole:
        add_safety_checker(folder)
    pipe = load_pipeline(str(folder), CPU, torch.float32)
    assert isinstance(pipe.scheduler, DDIMScheduler)
    assert pipe.scheduler.config.clip_sample is False
    assert pipe.scheduler.config.beta_schedule == "scaled_linear"
    assert pipe.takes_prompt
    assert capfd.readouterr() == ("", "")


def as_loaded(scheduler: SchedulerMixin, folder: Path) -> SchedulerMixin:
    """The scheduler as a folder holds it, every value stated."""
    scheduler.save_pretrained(folder)
    return type(scheduler).from_pretrained(folder)


@pytest.mark.parametrize("kind", [PNDMScheduler, DDPMScheduler, EulerDiscreteScheduler, TCDScheduler, LCMScheduler])
@pytest.mark.parametrize("given", [{}, {"beta_schedule": "scaled_linear", "prediction_type": "v_prediction"}])
def test_a_schedule_is_the_same_from_an_object_and_from_its_file(kind, given, tmp_path) -> None:
    scheduler = kind(**given)
    made, loaded = as_ddim(scheduler), as_ddim(as_loaded(scheduler, tmp_path))
    assert dict(made.config) == dict(loaded.config)
    assert torch.equal(made.alphas_cumprod, loaded.alphas_cumprod)
    torch.testing.assert_close(made.alphas_cumprod, scheduler.alphas_cumprod)
    chosen = made.config
    assert (chosen.clip_sample, chosen.set_alpha_to_one, chosen.steps_offset, chosen.thresholding) == (
        False,
        False,
        1,
        False,
    )
    assert chosen.prediction_type == scheduler.config.prediction_type


def test_a_scheduler_without_a_noise_schedule_is_refused() -> None:
    with pytest.raises(ModelError, match=r"^scheduler FlowMatchEulerDiscreteScheduler: has no noise schedule"):
        as_ddim(FlowMatchEulerDiscreteScheduler())


def test_the_text_encoder_has_its_weights(pipe, tiny_sd) -> None:
    encoder = CLIPTextModel.from_pretrained(tiny_sd / "text_encoder", use_safetensors=True)
    tokens = pipe.tokenizer("a kite", padding="max_length", max_length=77, return_tensors="pt").input_ids
    assert tokens[0, 0] == 188
    wanted = encoder(tokens).last_hidden_state
    found = pipe.encode_prompt("a kite", "", 4.0)
    torch.testing.assert_close(found.positive.tokens, wanted, rtol=1e-4, atol=1e-5)
    assert (found.negative.tokens - wanted).abs().max() > 0.01


def test_weights_that_would_be_unpickled_are_refused(build, tmp_path, capsys) -> None:
    folder = build(safetensors=False)
    assert list(folder.glob("*/*.bin"))
    ended = command(capsys, "edit", KITE, "--translate", "40,0", "--model", folder, "-o", tmp_path / "out", "--quiet")
    assert ended.code in (1, 2)
    assert ended.message.startswith(f"error: --model {folder}: ")
    assert "(.bin)" in ended.message
    assert contents(tmp_path) == {}


def test_guidance_evaluates_both_prompts_at_once(pipe) -> None:
    rows: list[int] = []
    pipe.unet.register_forward_pre_hook(lambda net, inputs: rows.append(len(inputs[0])))
    sampled(pipe, guidance_scale=4.0)
    assert set(rows) == {2}
    rows.clear()
    sampled(pipe, guidance_scale=1.0)
    assert set(rows) == {1}


def test_the_guided_estimate_goes_from_the_negative_prompt_past_the_prompt(pipe) -> None:
    z, t = torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(1)), 400
    prompt = pipe.encode_prompt("a kite", "rain", 3.0)
    with torch.no_grad():
        against, towards = (
            pipe.unet(z, t, encoder_hidden_states=text.tokens).sample for text in (prompt.negative, prompt.positive)
        )
        found = denoiser(pipe, prompt)(z, t, level(pipe, t)).noise
    assert (towards - against).abs().max() > 1e-5
    torch.testing.assert_close(found, against + 3 * (towards - against), rtol=1e-4, atol=1e-5)


def denoiser(pipe: MotionGuidedPipeline, prompt: Prompt) -> Denoiser:
    return Denoiser(pipe.unet, StableDiffusion(), pipe.scheduler.config.prediction_type, prompt)


def level(pipe: MotionGuidedPipeline, t: int) -> Level:
    alpha_bar = float(pipe.scheduler.alphas_cumprod[t])
    return Level(alpha_bar**0.5, (1 - alpha_bar) ** 0.5)


def test_prompt_scale_and_seed_decide(pipe) -> None:
    first = sampled(pipe)
    assert torch.equal(first, sampled(pipe))
    assert not torch.equal(first, sampled(pipe, prompt="one aeroplane"))
    assert not torch.equal(first, sampled(pipe, guidance_scale=12.0))
    assert not torch.equal(first, sampled(pipe, seed=1))
    assert not first.requires_grad


@pytest.mark.parametrize("start", ["inverted", "noise", "warp"])
@pytest.mark.parametrize("through_denoiser", [False, True])
def test_every_start_runs(start, through_denoiser, pipe) -> None:
    image = sampled(pipe, start=start, start_t=1000, through_denoiser=through_denoiser)
    assert image.shape == (1, 3, *SIZE)
    assert image.isfinite().all()
    assert torch.equal(image[..., :20, :], photo()[..., :20, :])


def test_inversion_takes_the_prompt_without_guidance_and_is_made_once(pipe, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MTRANSFER_CACHE", str(tmp_path))
    rows: list[int] = []
    pipe.unet.register_forward_pre_hook(lambda net, inputs: rows.append(len(inputs[0])))
    first = sampled(pipe, start="inverted", start_t=1000, guidance_scale=4.0)
    assert rows == [1, 1, 1, 1, 2, 2, 2, 2]
    again = sampled(pipe, start="inverted", start_t=1000, guidance_scale=4.0)
    assert rows[8:] == [2, 2, 2, 2]
    assert torch.equal(first, again)
    sampled(pipe, start="inverted", start_t=1000, guidance_scale=4.0, prompt="a boat")
    assert rows[12:] == [1, 1, 1, 1, 2, 2, 2, 2]


def test_an_inversion_belongs_to_all_of_a_nets_weights(pipe) -> None:
    latents = torch.zeros(1, 4, 16, 24)
    eps = Denoiser(pipe.unet, StableDiffusion(), "epsilon")
    before = _fingerprint(eps, latents)
    assert _fingerprint(eps, latents) == before
    fused = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_k.weight
    with torch.no_grad():
        fused.mul_(1.01)
    try:
        assert _fingerprint(eps, latents) != before
    finally:
        with torch.no_grad():
            fused.div_(1.01)


def test_an_inversion_is_heard_of_step_by_step(pipe, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MTRANSFER_CACHE", str(tmp_path))
    heard = []
    chosen = settings(start="inverted", start_t=1000)
    pipe(photo(), flow(), Shift(), chosen, callback_on_step_end=lambda pipe, step, t, values: heard.append(step))
    assert heard == [-1, -1, -1, -1, 0, 1, 2, 3]


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_what_the_net_predicts_is_read_from_the_scheduler(prediction_type, build) -> None:
    pipe = load_pipeline(str(build(prediction_type=prediction_type)), CPU, torch.float32)
    z, t = torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(1)), 400
    a_t = pipe.scheduler.alphas_cumprod[t]
    prompt = pipe.encode_prompt("a kite", "", 1.0)
    with torch.no_grad():
        output = pipe.unet(z, t, encoder_hidden_states=prompt.positive.tokens).sample
        pipe.scheduler.set_timesteps(1000)
        clean = pipe.scheduler.step(output, t, z).pred_original_sample
        found = denoiser(pipe, prompt)(z, t, level(pipe, t)).noise
    wanted = (z - a_t**0.5 * clean) / (1 - a_t) ** 0.5
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    assert sampled(pipe).isfinite().all()


@pytest.mark.parametrize("start", ["warp", "inverted"])
def test_a_net_that_inpaints_gets_mask_and_surroundings(start, build) -> None:
    pipe = load_pipeline(str(build(input_channels=9)), CPU, torch.float32)
    seen: list[torch.Tensor] = []
    handle = pipe.unet.register_forward_pre_hook(lambda net, inputs: seen.append(inputs[0]))
    assert sampled(pipe, start=start).isfinite().all()
    handle.remove()
    channels = seen[-1]
    assert channels.shape[1:] == (9, SIZE[0] // 8, SIZE[1] // 8)
    mask = channels[:, 4]
    assert (mask.min(), mask.max()) == (0, 1)
    assert not mask[:, 0].any()  # nothing to paint at the top of the photo


def test_a_net_of_another_kind_is_refused(build) -> None:
    pipe = load_pipeline(str(build(input_channels=8)), CPU, torch.float32)
    with pytest.raises(ModelError, match="8 input channels"):
        sampled(pipe)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_runs(dtype, tiny_sd) -> None:
    pipe = load_pipeline(str(tiny_sd), CPU, dtype)
    assert pipe.unet.dtype == pipe.vae.dtype == pipe.text_encoder.dtype == dtype
    image = sampled(pipe)
    assert image.dtype == torch.float32
    assert image.isfinite().all()


def test_small_gradients_survive_half_precision(tiny_sd) -> None:
    """A mean over an image of 512 x 512 pixels has gradients that float16 rounds away."""
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    pushes = []
    for dtype in (torch.float32, torch.float16):
        pipe = load_pipeline(str(tiny_sd), CPU, dtype)
        guide = Guide(faint, pipe.decode_latents, [1.0], weight=1e6, through_denoiser=False)
        steps = sample_steps(
            predicting_noise(lambda z, t: 0 * z),
            z,
            Timesteps.from_alpha_bar([1], [0.5], [1.0]),
            draw=lambda: z,
            guide=guide,
        )
        step = next(steps)
        pushes.append((step.z - step.x0).flatten())
    assert torch.cosine_similarity(*pushes, dim=0) > 0.999
    assert 0.99 < pushes[0].norm() / pushes[1].norm() < 1.01


def faint(image: torch.Tensor) -> Energy:
    total = image.square().sum(dim=(1, 2, 3)) / (3 * 512 * 512)
    return Energy(total, total, total, torch.zeros(1, 2, 1, 1))


def test_output_types(pipe) -> None:
    def run(output_type: str) -> Any:
        generator = torch.Generator().manual_seed(0)
        return pipe(photo(), flow(), Shift(), settings(), generator=generator, output_type=output_type).images

    tensor, array, (image,) = run("pt"), run("np"), run("pil")
    assert array.shape == (1, *SIZE, 3)
    assert torch.equal(torch.from_numpy(array).permute(0, 3, 1, 2), tensor)
    assert image.size == SIZE[::-1]
    assert pipe(image, flow(), Shift(), settings()).images[0].size == SIZE[::-1]


def test_the_callback_sees_every_evaluation_and_may_return_nothing(pipe) -> None:
    calls = []

    def callback(given: MotionGuidedPipeline, step: int, t: int, values: dict[str, Any]) -> None:
        assert given is pipe
        assert values["latents"].shape == (1, 4, SIZE[0] // 8, SIZE[1] // 8)
        calls.append((step, t))

    chosen = settings(recursions=2, start_t=1000)
    pipe(photo(), flow(), Shift(), chosen, callback_on_step_end=callback)
    timesteps = ddim_timesteps(pipe.scheduler.alphas_cumprod, 4, 1000).t
    assert calls == [(step, t) for step, t in enumerate(timesteps) for _ in range(2)]


def test_latents_that_the_callback_returns_are_taken(pipe) -> None:
    def erase(given: MotionGuidedPipeline, step: int, t: int, values: dict[str, Any]) -> dict[str, Any]:
        return {"latents": torch.zeros_like(values["latents"])}

    seeds = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    runs = [
        pipe(photo(), flow(), Shift(), settings(), generator=seed, callback_on_step_end=erase, output_type="pt").images
        for seed in seeds
    ]
    assert torch.equal(*runs)  # whatever was sampled, its latents were replaced at the end


def test_the_progress_bar_is_diffusers_own(pipe, capfd) -> None:
    sampled(pipe)
    assert capfd.readouterr().err == ""
    pipe.set_progress_bar_config(disable=False)
    sampled(pipe, start_t=1000)
    assert "4/4" in capfd.readouterr().err


def test_to_moves_every_part(pipe) -> None:
    assert pipe.to(torch.float64) is pipe
    assert {part.dtype for part in (pipe.vae, pipe.unet, pipe.text_encoder)} == {torch.float64}
