"""`mtransfer models`, `doctor` and `cache`: what they print, and how they end."""

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from command_line import Ended
from local_hub import serve
from model_cache import snapshot, write_sd

from mtransfer import cache
from mtransfer.catalog import KNOWN, Entry
from mtransfer.ui.cli import doctor
from mtransfer.ui.cli.doctor import Finding
from mtransfer.ui.cli.models import register

CONTENT = b"weights" * 1000
NAME = f"net-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
register(app)


@pytest.fixture(autouse=True)
def empty_disk(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("MTRANSFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("MTRANSFER_CACHE_GB", "MTRANSFER_DEBUG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def place(monkeypatch, tmp_path) -> Path:
    """Where the known checkpoint `net`, on a server here, will be."""
    with serve(files={NAME: CONTENT}) as server:
        monkeypatch.setitem(KNOWN, "net", Entry("net", f"{server.url}/{NAME}", "flow model"))
        yield tmp_path / "torch" / "hub" / "checkpoints" / NAME


@pytest.fixture
def end(capsys):
    """Run words to their end."""

    def command(*words: str) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app(list(words))
        written = capsys.readouterr()
        return Ended(int(ended.value.code or 0), written.out, written.err)

    return command


def as_json(ended: Ended) -> dict[str, Any]:
    (line,) = ended.out.splitlines()
    values: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    return values


class Terminal(io.StringIO):
    """Someone who types."""

    def isatty(self) -> bool:
        return True


def test_the_list_is_a_line_a_model(end, tmp_path) -> None:
    write_sd(snapshot(tmp_path / "hub", "CompVis/stable-diffusion-v1-4"))
    ended = end("models", "list")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert [line.split()[0] for line in lines] == list(KNOWN)
    assert "on disk" in lines[0]
    assert str(tmp_path / "hub") in lines[0]
    assert "about 2.1 GB" in lines[1]
    assert "stable-diffusion-v1-5/stable-diffusion-v1-5" in lines[1]


def test_the_list_as_json(end) -> None:
    rows = as_json(end("models", "list", "--json"))["models"]
    assert rows[0] == {
        "name": "sd14",
        "source": "CompVis/stable-diffusion-v1-4",
        "role": "model",
        "licence": "CreativeML OpenRAIL-M",
        "on_disk": False,
        "path": None,
        "bytes": 2_134_000_000,
    }


def test_a_path_is_printed_alone(end, tmp_path) -> None:
    folder = write_sd(snapshot(tmp_path / "hub", "owner/name"))
    assert end("models", "path", "owner/name") == Ended(0, f"{folder}\n", "")
    assert as_json(end("models", "path", "owner/name", "--json")) == {"name": "owner/name", "path": str(folder)}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("path", "sd14"), 1, "sd14: not on this disk; fetch it with `mtransfer models download sd14`"),
        (("path", "sd99"), 2, "sd99: unknown model; use sd14, sd15, raft_large"),
        (("download", "sd99", "--yes"), 2, "sd99: unknown model; use sd14, sd15, raft_large"),
    ],
)
def test_what_cannot_be_is_one_line(words, code, message, end) -> None:
    ended = end("models", *words)
    assert (ended.code, ended.out) == (code, "")
    assert ended.message.startswith(f"error: {message}")


def test_offline_is_one_line(end, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    ended = end("models", "download", "raft_large", "--yes")
    assert (ended.code, ended.out) == (1, "")
    assert ended.message == "error: raft_large: cannot be fetched while HF_HUB_OFFLINE is set; unset it first"


def test_the_size_is_said_and_the_place_printed(end, place) -> None:
    ended = end("models", "download", "net", "--yes")
    assert (ended.code, ended.out) == (0, f"{place}\n")
    assert ended.err.splitlines()[0].startswith("net: 7.0 kB, 1 file of http://127.0.0.1:")
    assert ended.err.splitlines()[0].endswith(f" into {place.parent}")
    assert place.read_bytes() == CONTENT
    assert end("models", "download", "net") == Ended(0, f"{place}\n", "")  # nothing to ask: it is here


def test_quiet_and_json_say_nothing_else(end, place) -> None:
    assert end("models", "download", "net", "--yes", "--quiet") == Ended(0, f"{place}\n", "")
    place.unlink()
    ended = end("models", "download", "net", "--yes", "--json")
    assert ended.err == ""
    assert as_json(ended) == {"name": "net", "path": str(place)}


def test_without_a_terminal_consent_must_be_given(end, place, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    ended = end("models", "download", "net")
    assert (ended.code, ended.out) == (2, "")
    assert "net: 7.0 kB, 1 file of " in ended.message
    assert ended.message.endswith("; add --yes to fetch it")
    assert not place.exists()


@pytest.mark.parametrize(
    ("typed", "fetched"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_who_is_asked_decides(typed, fetched, end, place, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    ended = end("models", "download", "net")
    assert ended.err.splitlines()[0].startswith("net: 7.0 kB")
    assert "fetch? [y/N] " in ended.err
    assert place.exists() == fetched
    assert (ended.code, ended.out) == ((0, f"{place}\n") if fetched else (1, ""))
    assert fetched or ended.err.endswith("error: nothing was fetched\n")


def test_what_the_doctor_finds(end, monkeypatch) -> None:
    findings = [
        Finding("torch", "ok", "2.11"),
        Finding("sd14", "missing", "not here", "mtransfer models download sd14"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    ended = end("doctor")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "ok       torch  2.11",
        "missing  sd14   not here -> mtransfer models download sd14",
    ]
    findings += [Finding("av", "broken", "cannot be imported", "install it"), Finding("disk", "broken", "full", "")]
    ended = end("doctor", "--json")
    assert (ended.code, ended.message) == (1, "error: broken: av, disk")
    assert as_json(ended)["findings"][2] == {
        "name": "av",
        "state": "broken",
        "text": "cannot be imported",
        "fix": "install it",
    }


def test_what_the_cache_holds_and_clearing_it(end, tmp_path) -> None:
    for number in range(3):
        cache.remember("flow", {"n": number}, lambda: {"x": torch.zeros(300)})
    held = cache.info()
    ended = end("cache", "info")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        f"folder: {tmp_path / 'cache'}",
        "limit: 2.0 GB",
        "flow: 3 files, 4.1 kB",
        "all: 3 files, 4.1 kB",
    ]
    figures = as_json(end("cache", "info", "--json"))
    assert figures == {
        "folder": str(tmp_path / "cache"),
        "files": 3,
        "bytes": held.size_bytes,
        "limit_bytes": 2 * 10**9,
        "by_kind": {"flow": {"files": 3, "bytes": held.size_bytes}},
    }
    assert as_json(end("cache", "clear", "--json")) == {"files": 3, "bytes": held.size_bytes}
    assert end("cache", "clear") == Ended(0, "removed: 0 files, 0 bytes\n", "")


def test_a_bound_that_is_no_size_is_usage(end, monkeypatch) -> None:
    monkeypatch.setenv("MTRANSFER_CACHE_GB", "much")
    ended = end("cache", "info")
    assert (ended.code, ended.out) == (2, "")
    assert ended.message.startswith("error: MTRANSFER_CACHE_GB=much: not a size")


SCRIPT = """
import sys, typer
from mtransfer.ui.cli.models import register
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
register(app)
try:
    app()
finally:
    heavy = sorted({"torch", "diffusers", "transformers", "cv2", "scipy"} & set(sys.modules))
    print("heavy:", heavy, file=sys.stderr)
"""


def apart(words: list[str], **settings: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, for what is read once and what is imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], env=environment | settings, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("words", [["--help"], ["models", "--help"], ["models", "list"], ["models", "path", "sd14"]])
def test_nothing_heavy_is_imported(words) -> None:
    assert apart(words).stderr.splitlines()[-1] == "heavy: []"


def test_a_model_is_fetched_from_a_hub(tmp_path) -> None:
    write_sd(tmp_path / "model")
    with serve("owner/tiny", tmp_path / "model") as server:
        settings = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
        done = apart(["models", "download", "owner/tiny", "--yes", "--json"], **settings)
        asked = apart(["models", "download", "owner/other", "--yes"], **settings)
    assert done.returncode == 0, done.stderr
    assert Path(json.loads(done.stdout)["path"]).is_relative_to(tmp_path / "home" / "hub")
    assert done.stderr == "heavy: []\n"
    assert asked.returncode == 1
    assert asked.stderr.splitlines()[0] == (
        "error: owner/other: the hub has no such model, or it is private; check the name"
    )
