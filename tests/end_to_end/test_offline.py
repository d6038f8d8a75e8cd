"""A machine without a network and with empty caches: every command works, on the embedded model, and asks nobody."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from pictures import disc_photo, save_clip, save_mask, save_picture

pytestmark = pytest.mark.slow

MTRANSFER = Path(sys.executable).parent / "mtransfer"
# Python reads this before anything else: a connection is refused, and noted.
NO_NETWORK = """
import os, socket

def refuse(*words, **more):
    with open(os.environ["ASKED"], "a") as file:
        file.write(f"{words[1:]}\\n")
    raise OSError("the network is unreachable")

socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = lambda *words, **more: refuse(None, *words)
"""


@dataclass(frozen=True)
class Machine:
    """Where nothing was ever fetched. `asked` is written when something tries."""

    home: Path
    work: Path
    asked: Path

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS", "LANG", "TMPDIR") if name in os.environ}
        places = {"HOME": self.home, "HF_HOME": self.home / "hf", "TORCH_HOME": self.home / "torch"}
        places |= {"XDG_CACHE_HOME": self.home / "cache", "PYTHONPATH": self.home, "ASKED": self.asked}
        environment = kept | {name: str(path) for name, path in places.items()} | more
        return subprocess.run(
            [str(MTRANSFER), *words], cwd=self.work, env=environment, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    home, work = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("work")
    (home / "sitecustomize.py").write_text(NO_NETWORK)
    save_picture(work / "photo.png", disc_photo())
    save_mask(work / "mask.png")
    save_clip(work / "clip.mp4")
    return Machine(home, work, home / "asked")


FEW = "--set sampler.steps=6 --set sampler.flow_updates=1"
# In this order: the later ones take what the earlier ones made.
COMMANDS = [
    f"edit photo.png --subject mask.png --translate 9,0 -o edited {FEW}",
    f"transfer clip.mp4 photo.png --pair 0:3 -o moved {FEW}",
    "run edited/edited.png --photo photo.png --subject mask.png -o again",
    "run clip_to_photo --clip clip.mp4 --photo photo.png --set preset=draft --set pair=0:3 -o named",
    "generate --size 256x128 --set sampler.steps=3 -o generated",
    "flow clip.mp4 --pair 0:3 -o clip.flo",
    "recipes list",
    "recipes show fast",
    "recipes copy paper mine.toml",
    "recipes settings",
    "models list",
    "doctor",
    "cache info",
    "cache clear",
]


def test_every_command_works_without_a_network(machine) -> None:
    for words in COMMANDS:
        done = machine.run(*words.split(), *(["--quiet"] if " -o " in words and "flow " not in words else []))
        assert done.returncode == 0, (words, done.stderr)
        assert "Traceback" not in done.stderr, words
        assert done.stdout, words
    assert not machine.asked.exists(), machine.asked.read_text()
    again, first = (machine.work / folder / "edited.png" for folder in ("again", "edited"))
    assert again.read_bytes() == first.read_bytes()
    for folder in ("edited", "moved", "named", "generated"):
        recipe = json.loads((machine.work / folder / "run.json").read_text())["recipe"]
        assert recipe["model"] == "embedded"
        assert recipe.get("flow_model", "embedded") == "embedded"


def test_the_network_really_is_cut(machine) -> None:
    done = machine.run("models", "download", "sd14", "--yes")
    assert done.returncode == 1
    assert done.stderr.startswith("error: CompVis/stable-diffusion-v1-4: cannot be fetched (")
    assert machine.asked.exists()
    machine.asked.unlink()


@pytest.mark.parametrize("offline", ["0", "1"])
@pytest.mark.parametrize(
    ("words", "fetched"),
    [
        ("edit photo.png --translate 9,0 -o out --model someone/something", "someone/something"),
        ("edit photo.png --translate 9,0 -o out --model CompVis/stable-diffusion-v1-4", "sd14"),
        ("transfer clip.mp4 photo.png --pair 0:3 -o out --flow-model raft_large", "raft_large"),
        ("generate -o out --model sd15", "sd15"),
        ("models path sam", "sam"),
    ],
)
def test_what_is_not_on_disk_is_not_fetched_but_said(words, fetched, offline, machine) -> None:
    done = machine.run(*words.split(), HF_HUB_OFFLINE=offline)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert f"fetch it with `mtransfer models download {fetched}`" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (machine.work / "out").exists()
    assert not machine.asked.exists(), machine.asked.read_text()
