"""What guidance looks at: through a smaller decoder, at a smaller size, with less memory; the result is still ours."""

from pathlib import Path

import pytest
import torch
from command_line import command
from diffusers import AutoencoderTiny
from shifted_photo import SIZE, Shift, flow, photo, quiet, sampled, settings
from tiny_sd import build_tiny_sd

from mtransfer.errors import InputError, ModelError
from mtransfer.jobs.context import Run
from mtransfer.jobs.recipe import EditRecipe
from mtransfer.sampling.loading import load_guidance_decoder, load_pipeline
from mtransfer.sampling.model_folder import resolve_guidance_decoder
from mtransfer.sampling.pipeline import MotionGuidedPipeline

CPU = torch.device("cpu")
KITE = Path(__file__).parents[2] / "samples" / "kite.jpg"


@pytest.fixture(scope="module")
def tiny_sd(tmp_path_factory) -> Path:
    return build_tiny_sd(tmp_path_factory.mktemp("tiny_sd"))


@pytest.fixture(scope="module")
def taesd(tmp_path_factory) -> Path:
    """TAESD's layout, tiny and random."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("taesd")
    blocks = {"encoder_block_out_channels": (8, 8, 8, 8), "decoder_block_out_channels": (8, 8, 8, 8)}
    AutoencoderTiny(**blocks).save_pretrained(folder)
    return folder


@pytest.fixture
def pipe(tiny_sd) -> MotionGuidedPipeline:
    return quiet(MotionGuidedPipeline.from_pretrained(tiny_sd, use_safetensors=True, low_cpu_mem_usage=False))


class Watched(Shift):
    """Remembers the sizes it was shown."""

    def __init__(self) -> None:
        self.sizes: set[tuple[int, int]] = set()

    def flow(self, image: torch.Tensor) -> torch.Tensor:
        self.sizes.add((image.shape[-2], image.shape[-1]))
        return super().flow(image)


def test_guidance_decodes_small_and_the_result_is_the_vaes(pipe, taesd) -> None:
    calls: list[str] = []
    plain = sampled(pipe)
    pipe.guidance_vae = load_guidance_decoder(str(taesd), CPU, torch.float32)
    pipe.guidance_vae.decoder.register_forward_hook(lambda *_: calls.append("small"))
    pipe.vae.decoder.register_forward_hook(lambda *_: calls.append("vae"))
    guided = sampled(pipe)
    assert calls == [*["small"] * (len(calls) - 1), "vae"]
    assert len(calls) > 1
    assert not torch.equal(plain, guided)
    calls.clear()
    sampled(pipe, weight=0.0)
    assert calls == ["vae"]


@pytest.mark.slow
def test_the_small_decoder_is_asked_for_by_name(tiny_sd, taesd, tmp_path, capsys) -> None:
    where = ["--model", tiny_sd, "--subject", "170,150,350,330", "--set", "sampler.steps=4", "--quiet"]
    words = ["edit", KITE, "--translate", "40,0", *where]
    for name, decoder in (("small", taesd), ("vae", "vae")):
        assert command(capsys, *words, "--guidance-decoder", decoder, "-o", tmp_path / name).code == 0
    small, vae = ((tmp_path / name / "edited.png").read_bytes() for name in ("small", "vae"))
    assert small != vae
    ended = command(capsys, *words, "--guidance-decoder", tmp_path, "-o", tmp_path / "none")
    assert ended.code == 1
    assert "cannot be loaded" in ended.message


def test_jobs_of_one_process_keep_their_own_decoders(tiny_sd, taesd) -> None:
    recipes = [
        EditRecipe.build({"photo": KITE, "model": str(tiny_sd), "guidance_decoder": name}, [])
        for name in ("vae", str(taesd), "vae")
    ]
    pipes = [Run(recipe, lambda *_: None, None, ()).pipeline() for recipe in recipes]
    assert [pipe.guidance_vae is None for pipe in pipes] == [True, False, True]
    assert isinstance(pipes[1].guidance_vae, AutoencoderTiny)
    assert all(pipe.unet is pipes[0].unet and pipe.vae is pipes[0].vae for pipe in pipes)  # loaded once
    assert torch.equal(pipes[1].scheduler.alphas_cumprod, pipes[0].scheduler.alphas_cumprod)


def test_without_it_on_disk_the_vae_decodes(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="the embedded model has its own"):
        resolve_guidance_decoder("taesd", "embedded")
    assert resolve_guidance_decoder("auto", "embedded") == resolve_guidance_decoder("auto", "some/model") == "vae"
    with pytest.raises(ModelError, match="taesd: not on this disk; fetch it with `mtransfer models download"):
        load_guidance_decoder("taesd", CPU, torch.float32)


@pytest.mark.parametrize(("side", "wanted"), [(0, SIZE), (96, (64, 96)), (1000, SIZE)])
def test_guidance_looks_at_the_chosen_size(pipe, side, wanted) -> None:
    watched = Watched()
    made = pipe(photo(), flow(), watched, settings(guidance_side_px=side), output_type="pt")
    assert watched.sizes == {wanted}
    assert made.images.shape[-2:] == SIZE


def test_less_memory_gives_the_same_picture(tiny_sd) -> None:
    pictures = [
        sampled(load_pipeline(str(tiny_sd), CPU, torch.float32, low), through_denoiser=True) for low in (False, True)
    ]
    torch.testing.assert_close(pictures[0], pictures[1], atol=2e-3, rtol=0)
    assert load_pipeline(str(tiny_sd), CPU, torch.float32, True).vae.use_slicing
    assert load_pipeline("embedded", CPU, torch.float32, True).unet.is_gradient_checkpointing
