"""What is looked at, and what is said of it when it is missing or broken."""

import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from model_cache import snapshot, write, write_sd

from mtransfer import catalog
from mtransfer.flow import loading as flow_loading
from mtransfer.sampling import loading as pipeline_loading
from mtransfer.subject.detection import mobile_sam, saliency
from mtransfer.ui.cli import doctor
from mtransfer.ui.cli.doctor import Finding, examine


@pytest.fixture(autouse=True)
def empty_disk(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("MTRANSFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MTRANSFER_CACHE_GB", raising=False)
    return tmp_path


def found(*, of: str = "") -> dict[str, Finding]:
    """What one part of the examination finds, by name; everything when no part is named."""
    findings = list(getattr(doctor, f"_{of}")()) if of else examine()
    return {finding.name: finding for finding in findings}


def test_on_an_empty_disk_nothing_is_broken(tmp_path) -> None:
    findings = found()
    assert {finding.state for finding in findings.values()} <= {"ok", "missing"}
    assert all("\n" not in finding.text + finding.fix for finding in findings.values())
    for name in ("python", "mtransfer", "torch", "torchvision", "diffusers", "transformers", "decord2", "av"):
        assert findings[name].state == "ok"
    assert findings["numpy"].text == metadata.version("numpy")
    assert findings["opencv-python"].text
    assert findings["cpu"].text.startswith(f"{torch.get_num_threads()} threads")
    assert findings["embedded model"] == Finding("embedded model", "ok", "loads")
    assert findings["embedded flow net"].state == "ok"
    assert findings["embedded saliency net"] == Finding("embedded saliency net", "ok", "loads")
    assert findings["sd14"].state == "missing"
    assert findings["sd14"].fix == "mtransfer models download sd14"
    assert findings["hub cache"].text == str(tmp_path / "hub")
    assert findings["--flow-model auto"].text == "embedded"
    assert findings["cache"].text == f"0 files, 0 bytes of 2.0 GB in {tmp_path / 'cache'}"
    assert " presets, " in findings["recipes"].text
    assert [path.name for path in tmp_path.iterdir()] == []  # looking leaves no trace


def test_a_package_that_cannot_be_imported_is_broken(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    finding = found(of="packages")["decord2"]
    assert finding.state == "broken"
    assert finding.text.startswith("cannot be imported (import of decord halted")
    assert finding.fix == "pip install --force-reinstall 'decord2>=2'"


def test_a_package_that_is_too_old_is_broken(monkeypatch) -> None:
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.1" if name == "av" else version(name))
    finding = found(of="packages")["av"]
    assert finding.state == "broken"
    assert finding.text.startswith("0.1, but mtransfer needs >=")


def test_another_build_of_a_package_will_do(monkeypatch) -> None:
    version = metadata.version

    def without(name: str) -> str:
        if name == "opencv-python":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without)
    assert found(of="packages")["opencv-python"].state == "ok"


def test_run_from_its_sources_any_version_will_do(monkeypatch) -> None:
    def absent(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", absent)
    assert all(finding.state == "ok" for finding in found(of="packages").values())


def test_an_old_python_is_broken(monkeypatch) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 1))
    assert found(of="python")["python"].fix == "install Python 3.11 or newer"


def test_devices(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda _: SimpleNamespace(name="A GPU", total_memory=24 * 10**9)
    )
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    findings = found(of="devices")
    assert (findings["cuda"].text, findings["mps"].text) == ("A GPU, 24 GB", "Apple GPU")


@pytest.mark.parametrize(
    ("driver", "built_with", "fix"),
    [
        (None, None, ""),
        ("/usr/bin/nvidia-smi", None, "nvidia-smi is here: install a build of torch with CUDA"),
        ("/usr/bin/nvidia-smi", "12.8", "nvidia-smi is here: install an NVIDIA driver for torch's CUDA 12.8"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_said(driver, built_with, fix, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda _: driver)
    monkeypatch.setattr(torch.version, "cuda", built_with)
    assert found(of="devices")["cuda"] == Finding("cuda", "missing", "no usable NVIDIA GPU", fix)


def test_embedded_weights_that_do_not_load_are_broken(monkeypatch, tmp_path) -> None:
    cached = (pipeline_loading.load_pipeline, flow_loading.load_flow_model, saliency.load_net, mobile_sam.load_nets)
    for load in cached:
        load.cache_clear()
    monkeypatch.setattr(pipeline_loading, "WEIGHTS", tmp_path)
    monkeypatch.setattr(flow_loading, "EMBEDDED_FLOW", tmp_path / "nothing.safetensors")
    monkeypatch.setattr(saliency, "WEIGHTS_FILE", tmp_path / "nothing.onnx")
    monkeypatch.setattr(mobile_sam, "FOLDER", tmp_path)
    findings = found(of="embedded")
    for load in cached:
        load.cache_clear()
    assert [finding.state for finding in findings.values()] == ["broken"] * 4
    assert "embedded weights missing" in findings["embedded flow net"].text
    assert "nothing.onnx: embedded weights missing or broken" in findings["embedded saliency net"].text
    assert findings["embedded model"].fix == "pip install --force-reinstall --no-deps mtransfer"


def test_recipes_that_cannot_be_read_or_are_not_there(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("mtransfer.sampling.settings.pipelines_folder", lambda: tmp_path)
    assert found(of="recipes")["recipes"].text == f"{tmp_path}: no presets"
    write(tmp_path / "presets" / "fast.toml", "[sampler]\nsteps = 20\n")
    assert found(of="recipes")["recipes"].text == f"1 presets, 0 recipes in {tmp_path}"
    write(tmp_path / "job.toml", "this is [no toml")
    first = next(doctor._recipes())
    assert (first.state, first.fix) == ("broken", "install mtransfer again")
    assert first.text.startswith(f"{tmp_path / 'job.toml'}: ")


def test_models_on_disk_and_altered_ones(tmp_path) -> None:
    write_sd(snapshot(tmp_path / "hub", "owner/own"))
    path = write(catalog.checkpoints_folder() / "raft_small_C_T_V1-ad48884c.pth", "cut")
    findings = found(of="models")
    assert findings["owner/own"].state == "ok"
    assert findings["raft_small"].state == "broken"
    assert findings["raft_small"].text == f"{path}: not what its name says"
    assert findings["raft_small"].fix == "remove it, then: mtransfer models download raft_small"


def test_offline_is_said(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert found(of="models")["hub cache"].text == f"{tmp_path / 'hub'}, HF_HUB_OFFLINE is set"


def test_a_cache_that_cannot_be_written_is_not_needed(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MTRANSFER_CACHE", str(write(tmp_path / "file", "") / "cache"))
    finding = found(of="cache")["cache"]
    assert (finding.state, finding.fix) == ("missing", "set MTRANSFER_CACHE")


def test_a_setting_that_is_no_size_is_broken(monkeypatch) -> None:
    monkeypatch.setenv("MTRANSFER_CACHE_GB", "much")
    (finding,) = doctor._guarded(doctor._cache)
    assert finding.state == "broken"
    assert finding.text.startswith("MTRANSFER_CACHE_GB=much: not a size; set a number")


def test_a_full_disk_is_broken(monkeypatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * 10**6))
    findings = found(of="disk")
    assert {finding.state for finding in findings.values()} == {"broken"}
    assert findings["disk here"].text == f"5.0 MB free at {Path.cwd()}"
    assert findings["disk here"].fix == "free some space"


def test_what_fails_while_being_looked_at_is_broken_and_the_rest_is_looked_at() -> None:
    def _odd():
        yield Finding("first", "ok", "fine")
        raise RuntimeError("first line\nsecond line")

    first, second = doctor._guarded(_odd)
    assert first.state == "ok"
    assert (second.name, second.state, second.text) == ("odd", "broken", "first line")


def test_a_finding_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Finding("a", "ok", "b").name = "c"  # type: ignore[misc]


def test_the_readers_of_clips_are_named() -> None:
    finding = found(of="clip_readers")["clip readers"]
    assert finding.state == "ok"
    for name in ("decord", "PyAV", "libavcodec", "Pillow"):
        assert name in finding.text
