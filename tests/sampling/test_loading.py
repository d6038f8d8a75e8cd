"""What a model's name means, where it runs, and what is said when it cannot."""

import time

import pytest
import torch
from model_cache import snapshot, write_sd
from tiny_sd import build_tiny_sd

from mtransfer.devices import choose_device, choose_dtype
from mtransfer.errors import InputError, ModelError
from mtransfer.flow import loading as flow_loading
from mtransfer.flow.estimator import DisFlow
from mtransfer.flow.loading import MOST_LEVELS, load_flow_model, load_judge
from mtransfer.flow.raft import FlowNet, build_raft
from mtransfer.sampling import loading as pipeline_loading
from mtransfer.sampling.loading import load_pipeline
from mtransfer.sampling.model_folder import auto_in_words, model_side_px, resolve_model

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def without_gpu(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def fresh():
    """No model is remembered from another test, nor for another."""
    for cached in (load_pipeline, load_flow_model):
        cached.cache_clear()
    yield
    for cached in (load_pipeline, load_flow_model):
        cached.cache_clear()


@pytest.mark.usefixtures("without_gpu")
def test_devices_without_a_gpu() -> None:
    assert choose_device("auto") == choose_device("cpu") == CPU
    for name in ("cuda", "mps", "tpu"):
        with pytest.raises(InputError, match=rf"^--device {name}: not available here; use --device cpu or auto$"):
            choose_device(name)


def test_auto_takes_the_best_device_there_is(monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == CUDA
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("mps")


@pytest.mark.parametrize(
    ("name", "device", "dtype"),
    [
        ("auto", CPU, torch.float32),
        ("auto", CUDA, torch.float16),
        ("float32", CUDA, torch.float32),
        ("float16", CPU, torch.float16),
        ("bfloat16", CPU, torch.bfloat16),
    ],
)
def test_dtypes(name, device, dtype) -> None:
    assert choose_dtype(name, device) == dtype


@pytest.mark.usefixtures("without_gpu")
def test_auto_is_the_embedded_model_without_a_gpu() -> None:
    assert resolve_model("auto") == "embedded"
    assert resolve_model("owner/name") == "owner/name"
    assert (model_side_px("embedded"), model_side_px("owner/name")) == (256, 512)


@pytest.mark.parametrize(("on_disk", "model"), [(True, "CompVis/stable-diffusion-v1-4"), (False, "embedded")])
def test_auto_on_a_gpu_is_stable_diffusion_if_it_is_on_disk(on_disk, model, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    if on_disk:
        write_sd(snapshot(tmp_path, "CompVis/stable-diffusion-v1-4"))
    assert resolve_model("auto") == model


@pytest.mark.usefixtures("without_gpu")
def test_what_auto_takes_and_how_to_get_more_is_one_line(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    fetch = "`mtransfer models download sd14`"
    assert auto_in_words() == f"embedded; for Stable Diffusion: an NVIDIA GPU and {fetch}"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert auto_in_words() == f"embedded; for Stable Diffusion: {fetch}"
    write_sd(snapshot(tmp_path, "CompVis/stable-diffusion-v1-4"))
    assert auto_in_words() == "CompVis/stable-diffusion-v1-4: a GPU and its weights are here"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert auto_in_words() == "embedded; for Stable Diffusion: an NVIDIA GPU"


def test_short_names_are_hub_ids() -> None:
    assert resolve_model("sd14") == "CompVis/stable-diffusion-v1-4"
    assert resolve_model("sd15") == "stable-diffusion-v1-5/stable-diffusion-v1-5"


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("half", [False, True])
def test_a_hub_id_is_loaded_from_the_hubs_folder(half, monkeypatch, tmp_path) -> None:
    """In half precision too, which is what is fetched where there is a choice."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = build_tiny_sd(snapshot(tmp_path, "owner/tiny"))
    for path in list(folder.rglob("*.safetensors")) if half else []:
        path.rename(path.with_suffix(".fp16.safetensors"))
    assert load_pipeline("owner/tiny", CPU, torch.float32).takes_prompt


@pytest.mark.usefixtures("fresh")
def test_a_half_fetched_hub_id_is_to_be_fetched(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = write_sd(snapshot(tmp_path, "stable-diffusion-v1-5/stable-diffusion-v1-5"))
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"fetch it with `mtransfer models download sd15`, or name a folder$"):
        load_pipeline("stable-diffusion-v1-5/stable-diffusion-v1-5", CPU, torch.float32)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_embedded_model_loads_without_a_word(dtype, capfd) -> None:
    pipe = load_pipeline("embedded", CPU, dtype)
    assert {pipe.unet.dtype, pipe.vae.dtype} == {dtype}
    assert not pipe.takes_prompt
    assert not any(weight.requires_grad for weight in pipe.unet.parameters())
    assert load_pipeline("embedded", CPU, dtype) is pipe
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("fresh")
def test_missing_embedded_weights_are_said_in_one_line(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(pipeline_loading, "WEIGHTS", tmp_path)
    monkeypatch.setattr(flow_loading, "EMBEDDED_FLOW", tmp_path / "flow" / "embedded.safetensors")
    with pytest.raises(ModelError, match=r"^\S+denoiser: embedded weights missing or broken; install mtransfer again$"):
        load_pipeline("embedded", CPU, torch.float32)
    with pytest.raises(
        ModelError, match=r"^\S+embedded.safetensors: embedded weights missing; install mtransfer again$"
    ):
        load_flow_model("embedded", 1, 1, CPU)


@pytest.mark.usefixtures("fresh")
def test_broken_embedded_weights_are_said_in_one_line(monkeypatch, tmp_path) -> None:
    (tmp_path / "flow").mkdir()
    (tmp_path / "flow" / "embedded.safetensors").write_bytes(b"no weights at all")
    for name in ("unet", "vae", "scheduler"):
        (tmp_path / "denoiser" / name).mkdir(parents=True)
        for path in (pipeline_loading.WEIGHTS / "denoiser" / name).iterdir():
            whole = path.suffix == ".json"
            (tmp_path / "denoiser" / name / path.name).write_bytes(path.read_bytes() if whole else b"cut")
    monkeypatch.setattr(pipeline_loading, "WEIGHTS", tmp_path)
    monkeypatch.setattr(flow_loading, "EMBEDDED_FLOW", tmp_path / "flow" / "embedded.safetensors")
    with pytest.raises(ModelError, match=r"^\S+embedded.safetensors: not the weights of embedded [^\n]+$"):
        load_flow_model("embedded", 1, 1, CPU)
    with pytest.raises(ModelError, match=r"^\S+denoiser: embedded weights missing or broken[^\n]+$"):
        load_pipeline("embedded", CPU, torch.float32)


@pytest.mark.parametrize("name", ["nothing", "./nothing/here", "/nothing/here", "a/b/c", "../x/y"])
def test_names_that_are_no_folder_and_no_hub_id(name) -> None:
    with pytest.raises(ModelError, match=r"no such folder, and no hub id of the form owner/name$"):
        load_pipeline(name, CPU, torch.float32)


def test_a_hub_id_that_is_not_on_disk_is_said_at_once() -> None:
    """Nothing is fetched unasked, so there is nothing to wait for."""
    fetch = "`mtransfer models download nobody/nothing-at-all`"
    message = f"^--model nobody/nothing-at-all: not on this disk; fetch it with {fetch}, or name a folder$"
    started_s = time.monotonic()
    with pytest.raises(ModelError, match=message):
        load_pipeline("nobody/nothing-at-all", CPU, torch.float32)
    assert time.monotonic() - started_s < 5


def test_flow_models_by_name(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    load_flow_model.cache_clear()
    found = load_flow_model("auto", 3, 2, CPU)
    assert isinstance(found, FlowNet)
    assert (found.updates, found.levels) == (3, 2)
    assert isinstance(load_flow_model("dis", 1, 1, CPU), DisFlow)
    with pytest.raises(InputError, match=r"^--flow-model wobble: use auto, embedded, raft_large, raft_small or dis$"):
        load_flow_model("wobble", 1, 1, CPU)
    for name in ("raft_large", "raft_small"):
        fetch = f"`mtransfer models download {name}`, or use --flow-model embedded"
        with pytest.raises(ModelError, match=f"^--flow-model {name}: not on this disk; fetch it with {fetch}$"):
            load_flow_model(name, 1, 1, CPU)


def test_torchvisions_weights_are_preferred_when_they_are_there(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    load_flow_model.cache_clear()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(build_raft("raft_large", None).state_dict(), folder / "raft_large_C_T_V1-22a6c225.pth")
    found = load_flow_model("auto", 3, 2, CPU)
    assert isinstance(found, FlowNet)
    assert found.net.mask_predictor is not None  # which only the large one has
    assert (found.updates, found.levels) == (3, 2)
    assert load_judge("auto", CPU).levels == 1  # trained on motions as large as there are
    load_flow_model.cache_clear()


def test_the_embedded_net_judges_coarse_to_fine() -> None:
    assert load_judge("embedded", CPU).levels == MOST_LEVELS
    assert isinstance(load_judge("dis", CPU), DisFlow)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_net_says_what_the_plain_one_does(tmp_path) -> None:
    folder = build_tiny_sd(tmp_path / "sd")
    plain, compiled = (load_pipeline(str(folder), CPU, torch.float32, False, flag).unet for flag in (False, True))
    z, text = torch.randn(1, 4, 16, 16), torch.randn(1, 7, plain.config.cross_attention_dim)
    with torch.no_grad():
        torch.testing.assert_close(*(net(z, 100, text).sample for net in (compiled, plain)), atol=1e-4, rtol=1e-4)
