"""Fetching a model: which files, what is said first, and that it arrives whole or not at all. No network is needed."""

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from local_hub import serve
from model_cache import snapshot, write_sd
from tiny_sd import build_tiny_sd

from mtransfer import catalog, download, files
from mtransfer.catalog import KNOWN, Entry
from mtransfer.download import Plan, carry_out, download_model, plan_for, wanted_files
from mtransfer.errors import InputError, ModelError

CONTENT = os.urandom(2 * download.CHUNK_BYTES + 77)
NAME = f"net-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"
UNET = "diffusion_pytorch_model"


@pytest.fixture(autouse=True)
def empty_disk(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def checkpoint(monkeypatch):
    """A known checkpoint `net` on a server here."""
    with serve(files={NAME: CONTENT}) as server:
        monkeypatch.setitem(KNOWN, "net", Entry("net", f"{server.url}/{NAME}", "flow model"))
        yield server


def agree(plan: Plan) -> bool:
    return True


def test_of_a_pipeline_its_parts_in_half_precision_where_they_have_it() -> None:
    wanted = [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "unet/config.json",
        f"unet/{UNET}.fp16.safetensors",
        "vae/config.json",
        f"vae/{UNET}.fp16.safetensors",
    ]
    others = [
        ".gitattributes",
        "README.md",
        "v1-5-pruned-emaonly.safetensors",
        "v1-5-pruned.ckpt",
        "v1-inference.yaml",
        "feature_extractor/preprocessor_config.json",
        "safety_checker/config.json",
        "safety_checker/model.fp16.safetensors",
        "text_encoder/pytorch_model.bin",
        f"unet/{UNET}.bin",
        f"unet/{UNET}.safetensors",
        f"unet/{UNET}.non_ema.safetensors",
        f"vae/{UNET}.safetensors",
        "vae/onnx/model.safetensors",
    ]
    assert wanted_files(sorted(wanted + others)) == wanted


def test_of_any_other_model_the_plain_weights_at_its_top() -> None:
    clip = ["config.json", "merges.txt", "model.safetensors", "vocab.json"]
    others = ["README.md", "flax_model.msgpack", "pytorch_model.bin", "tf_model.h5", "model.fp16.safetensors"]
    assert wanted_files(clip + others) == clip
    taesd = ["config.json", f"{UNET}.safetensors"]
    assert wanted_files([*taesd, "taesd_decoder.safetensors", "onnx/config.json", f"{UNET}.bin"]) == taesd


def test_split_weights_come_with_their_index_and_no_other() -> None:
    full = [f"unet/{UNET}-0000{i}-of-00002.safetensors" for i in (1, 2)] + [f"unet/{UNET}.safetensors.index.json"]
    half = [f"unet/{UNET}.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)]
    half += [f"unet/{UNET}.safetensors.index.fp16.json"]
    assert wanted_files(["model_index.json", *full]) == sorted(["model_index.json", *full])
    found = wanted_files(["model_index.json", *full, *half, f"unet/{UNET}.bin.index.json"])
    assert found == sorted(["model_index.json", *half])


class Api:
    """huggingface_hub's HfApi as far as a plan asks it: sizes by revision, and the converter's proposals."""

    def __init__(self, sizes: dict[str | None, dict[str, int]], proposals: list[Any] | None = None) -> None:
        self.sizes, self.proposals = sizes, proposals or []

    def model_info(self, hub_id: str, *, revision: str | None, **_: object) -> Any:
        files = self.sizes[revision].items()
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name, size=size) for name, size in files])

    def get_repo_discussions(self, hub_id: str, **_: object) -> list[Any]:
        return self.proposals


def proposal(number: int, status: str, title: str = download.CONVERSION) -> Any:
    return SimpleNamespace(num=number, status=status, title=title)


def test_a_plan_tells_files_size_and_place(tmp_path) -> None:
    entry = catalog.find("owner/net")
    plan = download.plan_from_hub(entry, Api({None: {"config.json": 10, "model.safetensors": 1000, "x.bin": 5000}}))
    assert plan == Plan(entry, ("config.json", "model.safetensors"), 1010, tmp_path / "hub")


def test_the_hubs_own_conversion_is_taken_where_main_has_no_safetensors() -> None:
    old, converted = {"config.json": 1, "pytorch_model.bin": 2}, {"config.json": 1, "model.safetensors": 2}
    api = Api(
        {None: old, "refs/pr/8": converted},
        [proposal(3, "closed"), proposal(5, "open", "Adding a picture"), proposal(8, "open"), proposal(9, "open")],
    )
    assert download.plan_from_hub(KNOWN["clip"], api).revision == "refs/pr/8"
    for proposals in ([], [proposal(3, "closed")]):
        with pytest.raises(ModelError, match=r"^openai/clip\S+: holds no safetensors weights that can be used here"):
            download.plan_from_hub(KNOWN["clip"], Api({None: old}, proposals))


def test_a_pipeline_with_a_part_without_safetensors_is_refused() -> None:
    sizes = {"model_index.json": 1, f"unet/{UNET}.safetensors": 1, "unet/config.json": 1, "vae/config.json": 1}
    with pytest.raises(ModelError, match="holds no safetensors"):
        download.plan_from_hub(catalog.find("owner/half"), Api({None: sizes}))


def test_a_checkpoint_arrives_whole_under_its_name(checkpoint, tmp_path) -> None:
    plans: list[Plan] = []
    reports: list[tuple[Any, ...]] = []
    path = download_model("net", lambda plan: not plans.append(plan), lambda *report: reports.append(report))
    assert path == tmp_path / "torch" / "hub" / "checkpoints" / NAME
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]
    assert (plans[0].size_bytes, plans[0].files) == (len(CONTENT), (NAME,))
    assert reports[-1] == ("fetch net", len(CONTENT), len(CONTENT), None)
    checkpoint.asked.clear()
    assert download_model("net", pytest.fail) == path
    assert checkpoint.asked == []


@pytest.mark.usefixtures("checkpoint")
def test_nothing_is_fetched_without_consent(tmp_path) -> None:
    assert download_model("net", lambda plan: False) is None
    assert not (tmp_path / "torch").exists()


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b"<html>log in to this network</html>"])
def test_other_content_than_its_name_says_is_thrown_away(content, checkpoint, tmp_path) -> None:
    checkpoint.files[NAME] = content
    with pytest.raises(ModelError, match=r"^\S+: what came is not the file it should be; run the command again$"):
        download_model("net", agree)
    assert list((tmp_path / "torch" / "hub" / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("url", [f"http://127.0.0.1:9/{NAME}", f"http://no-such-host.invalid/{NAME}"])
def test_without_network_there_is_one_line(url, monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(KNOWN, "net", Entry("net", url, "flow model", 100))
    with pytest.raises(ModelError, match=r"^\S+: cannot be fetched \([^\n]+\); check the network, then [^\n]+$"):
        download_model("net", agree)
    assert not (tmp_path / "torch").exists()


def test_a_file_the_server_does_not_have_is_one_line(checkpoint) -> None:
    checkpoint.files.clear()
    with pytest.raises(ModelError, match=r"cannot be fetched \(Not Found\)"):
        download_model("net", agree)


@pytest.mark.parametrize("name", ["sd14", "raft_large", "owner/name"])
def test_offline_is_one_line(name, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=rf"^{name}: cannot be fetched while HF_HUB_OFFLINE is set; unset it first$"):
        plan_for(name)


def test_names_of_nothing() -> None:
    with pytest.raises(InputError, match=r"^sd99: unknown model"):
        download_model("sd99", agree)


def test_too_little_space_is_said_before_anything_is_fetched(checkpoint, monkeypatch) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ModelError, match=r"^net: needs 2.1 MB and \S+ has 1.0 kB free; free some space$"):
        download_model("net", pytest.fail)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full; free some space, then run the command again"),
        (errno.EACCES, "cannot be written (Permission denied); set TORCH_HOME to a folder"),
    ],
)
@pytest.mark.usefixtures("checkpoint")
def test_a_disk_that_does_not_take_it(number, words, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(ModelError) as raised:
        download_model("net", agree)
    assert str(raised.value).endswith(words)


@pytest.mark.usefixtures("checkpoint")
def test_an_interrupt_leaves_nothing(tmp_path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_model("net", agree, interrupt)
    assert list((tmp_path / "torch" / "hub" / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("quiet", [True, False])
def test_a_hub_model_is_fetched_file_by_file(quiet, monkeypatch, tmp_path) -> None:
    import huggingface_hub
    from huggingface_hub.utils import are_progress_bars_disabled

    asked: list[Any] = []

    def fetched(hub_id: str, *, revision: str | None, allow_patterns: list[str]) -> None:
        asked.append((hub_id, revision, allow_patterns, are_progress_bars_disabled()))
        write_sd(snapshot(tmp_path / "hub", hub_id))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    plan = Plan(catalog.find("owner/name"), ("model_index.json",), 9, tmp_path / "hub", "refs/pr/1")
    path = carry_out(plan, None if quiet else lambda *_: None)
    assert asked == [("owner/name", "refs/pr/1", ["model_index.json"], quiet)]
    assert path == catalog.path_on_disk("owner/name")
    assert not are_progress_bars_disabled()


def hub_error(kind: str) -> Exception:
    from huggingface_hub import errors

    answer: Any = SimpleNamespace(headers={}, request=None, status_code=403)
    return {
        "gated": lambda: errors.GatedRepoError("403 Client Error", response=answer),
        "private": lambda: errors.RepositoryNotFoundError("401 Client Error", response=answer),
        "network": lambda: errors.HTTPError("[Errno -2] Name or service not known"),
        "stopped": lambda: errors.LocalEntryNotFoundError("An error happened\nwhile"),
        "full": lambda: OSError(errno.ENOSPC, "No space left on device"),
    }[kind]()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "gated",
            r"owner/name: accept its terms at https://huggingface.co/owner/name, then log in with `hf auth login`",
        ),
        ("private", r"owner/name: the hub has no such model, or it is private; check the name"),
        (
            "network",
            r"owner/name: cannot be fetched \(\[Errno -2\] Name or service not known\); check the network, \w+",
        ),
        (
            "stopped",
            r"owner/name: cannot be fetched \(An error happened\); check the network, then run the command again",
        ),
        ("full", r"\S+hub: the disk is full; free some space, then run the command again"),
    ],
)
def test_what_the_hub_says_becomes_one_line(kind, words, monkeypatch, tmp_path) -> None:
    import huggingface_hub

    def refuse(*_: object, **__: object) -> None:
        raise hub_error(kind)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ModelError, match=f"^{words}") as raised:
        carry_out(Plan(catalog.find("owner/name"), ("model_index.json",), 9, tmp_path / "hub"))
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_a_model_is_fetched_from_a_hub_and_loads(tmp_path) -> None:
    """The hub's own client, against a server here; in a process of its own, because it reads its settings once."""
    build_tiny_sd(tmp_path / "model")
    script = (
        "from mtransfer.download import download_model; print(download_model('owner/tiny', lambda plan: True)); "
        "import torch; from mtransfer.sampling.loading import load_pipeline; "
        "print(load_pipeline('owner/tiny', torch.device('cpu'), torch.float32).takes_prompt)"
    )
    with serve("owner/tiny", tmp_path / "model") as server:
        settings = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "no_proxy": "127.0.0.1"}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment | settings, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    folder, takes_prompt = done.stdout.splitlines()
    assert Path(folder).is_relative_to(tmp_path / "home" / "hub" / "models--owner--tiny")
    assert takes_prompt == "True"
    assert {path.relative_to(folder).parts[0] for path in Path(folder).rglob("*")} == {
        "model_index.json", "scheduler", "text_encoder", "tokenizer", "unet", "vae"
    }  # fmt: skip


def test_a_hash_in_a_name() -> None:
    assert download.hash_in_name("raft_large_C_T_V1-22a6c225.pth") == "22a6c225"
    assert download.hash_in_name("raft_large.pth") == ""
    assert all(download.hash_in_name(Path(entry.source).name) for entry in KNOWN.values() if not entry.on_hub)
