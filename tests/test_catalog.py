"""Which models there are, where they are on this disk, and whether they are whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from model_cache import snapshot, write, write_sd

from mtransfer import catalog
from mtransfer.catalog import KNOWN, find, in_words, is_whole, path_on_disk
from mtransfer.errors import InputError, ModelError

SD14 = "CompVis/stable-diffusion-v1-4"
RAFT_FILE = "raft_large_C_T_V1-22a6c225.pth"


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "hub"


def test_a_model_is_found_by_short_name_source_or_any_hub_id() -> None:
    assert find("sd14") == find(SD14) == KNOWN["sd14"]
    assert find("owner/some-Model_1.0").source == "owner/some-Model_1.0"
    assert [name for name, entry in KNOWN.items() if not entry.on_hub] == ["raft_large", "raft_small"]
    assert all(entry.about_bytes for entry in KNOWN.values())


@pytest.mark.parametrize("name", ["", "sd99", "a/b/c", "../x", "owner/", "a b/c", "/abs/path", "owner/na?me", "é/b"])
def test_names_of_nothing(name) -> None:
    with pytest.raises(InputError, match=r"unknown model; use sd14, sd15, [^\n]+ or a hub id owner/name$"):
        find(name)


@pytest.mark.usefixtures("hub")
def test_nothing_is_on_an_empty_disk() -> None:
    for name in (*KNOWN, "owner/name"):
        assert path_on_disk(name) is None
    with pytest.raises(
        ModelError, match=r"^raft_large: not on this disk; fetch it with `mtransfer models download raft_large`$"
    ):
        catalog.existing_path("raft_large")
    assert catalog.how_to_fetch(SD14).endswith("`mtransfer models download sd14`")
    assert catalog.how_to_fetch("owner/name").endswith("`mtransfer models download owner/name`")


def test_a_pipeline_on_disk_is_its_folder(hub) -> None:
    folder = write_sd(snapshot(hub, SD14))
    assert path_on_disk("sd14") == path_on_disk(SD14) == catalog.existing_path("sd14") == folder
    assert path_on_disk("sd15") is None


def test_the_main_version_comes_first_and_another_whole_one_will_do(hub) -> None:
    other = write_sd(snapshot(hub, SD14, "1" * 40, ref="refs/pr/3"))
    main = snapshot(hub, SD14, "2" * 40)
    assert path_on_disk("sd14") == other
    write_sd(main)
    assert path_on_disk("sd14") == main


@pytest.mark.parametrize(
    "missing",
    [
        "model_index.json",
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/diffusion_pytorch_model.safetensors",
        "tokenizer/vocab.json",
    ],
)
def test_an_interrupted_download_is_not_whole(missing, tmp_path) -> None:
    write_sd(tmp_path)
    assert is_whole(tmp_path)
    (tmp_path / missing).unlink()
    if not any((tmp_path / missing).parent.iterdir()):
        (tmp_path / missing).parent.rmdir()
    assert not is_whole(tmp_path)


def test_split_weights_are_whole_with_all_their_pieces(tmp_path) -> None:
    write(tmp_path / "config.json", "{}")
    pieces = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    write(tmp_path / "model.safetensors.index.json", json.dumps({"weight_map": dict(zip("ab", pieces, strict=True))}))
    for piece in pieces:
        assert not is_whole(tmp_path)
        write(tmp_path / piece, "1")
    assert is_whole(tmp_path)


def test_a_broken_index_or_no_safetensors_is_not_whole(tmp_path) -> None:
    write(tmp_path / "config.json", "{}")
    write(tmp_path / "pytorch_model.bin", "never opened")
    assert not is_whole(tmp_path)
    for text in ("no json", "[]", "{}"):
        write(tmp_path / "model_index.json", text)
        assert not is_whole(tmp_path)


def test_half_precision_is_said_where_there_is_nothing_else(tmp_path) -> None:
    assert catalog.variant(write_sd(tmp_path / "full")) is None
    half = write_sd(tmp_path / "half", "diffusion_pytorch_model.fp16.safetensors")
    assert catalog.variant(half) == "fp16"
    for part in ("unet", "vae", "text_encoder"):
        write(half / part / "diffusion_pytorch_model.safetensors", "1")
    assert catalog.variant(half) is None
    assert catalog.variant(tmp_path / "nothing") is None


@pytest.mark.usefixtures("hub")
def test_a_checkpoint_is_a_file_where_torch_keeps_them() -> None:
    path = write(catalog.checkpoints_folder() / RAFT_FILE, "1234")
    assert path_on_disk("raft_large") == path
    assert path_on_disk("raft_small") is None


def test_the_list_tells_sizes_and_other_models_that_could_be_used(hub) -> None:
    write_sd(snapshot(hub, "owner/finetuned"))
    write(snapshot(hub, "owner/words") / "config.json", "{}")
    write(snapshot(hub, "owner/half-fetched") / "model_index.json", json.dumps({"unet": ["a", "b"]}))
    write(hub / "models--odd--na me" / "x", "")
    write(catalog.checkpoints_folder() / RAFT_FILE, "1234")
    held = {row.entry.name: row for row in catalog.listing()}
    assert list(held) == [*KNOWN, "owner/finetuned"]
    assert (held["sd14"].path, held["sd14"].size_bytes) == (None, KNOWN["sd14"].about_bytes)
    assert held["raft_large"].size_bytes == 4
    assert held["owner/finetuned"].size_bytes == catalog.size_bytes(held["owner/finetuned"].path) > 24


def test_torch_home_comes_before_the_cache_home(monkeypatch) -> None:
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert catalog.checkpoints_folder() == Path("/somewhere/torch/hub/checkpoints")
    monkeypatch.setenv("TORCH_HOME", "~/models")
    assert catalog.checkpoints_folder() == Path.home() / "models" / "hub" / "checkpoints"
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")
    assert catalog.checkpoints_folder() == Path.home() / ".cache" / "torch" / "hub" / "checkpoints"


@pytest.mark.parametrize(
    ("variable", "value", "folder"),
    [
        ("HF_HUB_CACHE", "/there/hub", "/there/hub"),
        ("HF_HOME", "/there", "/there/hub"),
        ("XDG_CACHE_HOME", "/there", "/there/huggingface/hub"),
    ],
)
def test_the_hubs_folder_is_the_one_its_libraries_use(variable, value, folder) -> None:
    settings = {name: text for name, text in os.environ.items() if name not in ("HF_HUB_CACHE", "HF_HOME")}
    script = "from mtransfer.catalog import hub_folder; print(hub_folder())"
    done = subprocess.run(
        [sys.executable, "-c", script], env=settings | {variable: value}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == folder


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (21_000_000, "21 MB"),
        (999_900_000, "1.0 GB"),
        (2_134_000_000, "2.1 GB"),
        (None, "unknown size"),
    ],
)
def test_sizes_in_words(count, words) -> None:
    assert in_words(count) == words
