"""The command: what it refuses and how, what it prints, and that nothing is left when it is stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_inputs import BAD, BAD_ELSEWHERE, BAD_USAGE, EDIT, MOVED
from command_line import Ended, command, contents
from pictures import disc_photo, save_picture, textured
from PIL import Image

from mtransfer.media.photo.photo import save_png
from mtransfer.media.video_writer import write_video
from mtransfer.ui.cli.main import app

ROOT = Path(__file__).parents[3]
KITE, BUNNY = ROOT / "samples" / "kite.jpg", ROOT / "samples" / "bunny.mp4"
MTRANSFER = Path(sys.executable).parent / "mtransfer"
SMALL = 160
FILES = ["edited.png", "flow.npz", "preview.png", "run.json"]


def flow_file(path: Path, flow: np.ndarray) -> Path:
    np.save(path, flow.astype(np.float32))
    return path


# Recipes that lie among the inputs.
EDIT_DISC = 'command = "edit"\nphoto = "disc.png"\ntranslate = "9,0"\npreset = "draft"\n'
RECIPES = {
    "words.toml": "no recipe at all",
    "command.toml": 'command = "wobble"',
    "field.toml": EDIT_DISC + 'colour = "blue"',
    "type.toml": EDIT_DISC + 'seed = "many"',
    "setting.toml": EDIT_DISC + "[sampler]\nsteps = -3",
    "photo.toml": EDIT_DISC.replace("disc.png", "absent.png"),
    "altered.toml": EDIT_DISC + '[inputs]\nphoto = "0123456789abcdef"',
    "hub.toml": EDIT_DISC.replace("draft", "fast") + 'model = "someone/something"',
    "device.toml": EDIT_DISC + 'device = "tpu"',
    "good.toml": EDIT_DISC,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of good and broken inputs; `disc.png` has a clear subject."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "broken.mp4").write_bytes(BUNNY.read_bytes()[:60_000])
    (folder / "text.mp4").write_text("no video\n" * 50)
    (folder / "text.jpg").write_text("no picture\n" * 50)
    frame = textured(144, SMALL, seed=1)
    write_video(frame[None], folder / "one_frame.mp4", 12)
    write_video(frame.expand(6, -1, -1, -1), folder / "static.mp4", 12)
    save_picture(folder / "disc.png", disc_photo())
    save_picture(folder / "tiny.png", disc_photo()[:, 70:78, 70:78])
    save_picture(folder / "uniform.png", torch.full((3, SMALL, SMALL), 0.5))
    moving = np.zeros((2, SMALL, SMALL))
    moving[0, 50:110, 40:100] = 10
    flow_file(folder / "good.npy", moving)
    flow_file(folder / "nan.npy", np.where(moving > 0, np.nan, moving))
    flow_file(folder / "zero.npy", 0 * moving)
    flow_file(folder / "wrong_size.npy", moving[:, :100, :100])
    flow_file(folder / "two.npy", np.stack([moving, moving]))
    save_picture(folder / "small_mask.png", torch.ones(3, 20, 20))
    (folder / "empty_model").mkdir()
    (folder / "no_recipe").mkdir()
    for name, text in RECIPES.items():
        (folder / name).write_text(text)
    save_png(disc_photo(), folder / "result.png", recipe='command = "edit"\nphoto = "../disc.png/secret.png"')
    return folder


def run(capsys: pytest.CaptureFixture[str], words: str, inputs: Path, out: Path) -> Ended:
    filled = words.format(inputs=inputs, samples=ROOT / "samples").split()
    return command(capsys, *filled, "-o", out, "--quiet")


@pytest.mark.parametrize(("words", "said"), BAD.items(), ids=[words.strip() for words in BAD])
def test_what_cannot_be_done_is_refused_in_one_line(words, said, inputs, tmp_path, capsys) -> None:
    before = contents(inputs)
    ended = run(capsys, words, inputs, tmp_path / "out")
    assert ended.code in (1, 2)
    assert said in ended.message
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert "Error:" not in ended.err
    assert contents(tmp_path) == {}
    assert contents(inputs) == before


@pytest.mark.parametrize(("words", "said"), BAD_ELSEWHERE.items(), ids=BAD_ELSEWHERE)
def test_what_other_commands_cannot_do_is_refused_in_one_line(words, said, inputs, tmp_path, capsys) -> None:
    before = contents(inputs)
    ended = command(capsys, *words.format(inputs=inputs, out=tmp_path / "out").split())
    assert ended.code in (1, 2)
    assert said in ended.message
    assert ended.out == ""
    assert "Error:" not in ended.err
    assert contents(tmp_path) == {}
    assert contents(inputs) == before


@pytest.mark.parametrize(("words", "said"), BAD_USAGE.items(), ids=BAD_USAGE)
def test_what_the_parser_refuses(words, said, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = command(capsys, *words.split())
    assert ended.code == 2
    assert said in (ended.err.splitlines() or [""])[-1]
    assert "Traceback" not in ended.err
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("words", ["cache info", "doctor"])
@pytest.mark.parametrize("given", ["many", "-1", "nan", "inf"])
def test_a_bound_of_the_cache_that_is_no_size_is_said(words, given, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("MTRANSFER_CACHE", str(tmp_path))
    monkeypatch.setenv("MTRANSFER_CACHE_GB", given)
    ended = command(capsys, *words.split())
    assert ended.code in (1, 2)
    assert f"MTRANSFER_CACHE_GB={given}: not a size" in ended.out + ended.err
    assert "Traceback" not in ended.err
    assert contents(tmp_path) == {}


def test_bad_inputs_are_tried_on_every_command() -> None:
    tried = {words.split()[0] for words in (*BAD, *BAD_ELSEWHERE, *BAD_USAGE) if words}
    names = {one.name for one in app.registered_commands} | {group.name for group in app.registered_groups}
    assert names <= tried
    assert len(BAD) + len(BAD_ELSEWHERE) + len(BAD_USAGE) >= 60


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_without_cuda_is_refused(inputs, tmp_path, capsys) -> None:
    ended = run(capsys, MOVED + "--device cuda", inputs, tmp_path / "out")
    assert (ended.code, contents(tmp_path)) == (2, {})
    assert ended.message == "error: --device cuda: not available here; use --device cpu or auto"


def taken(out: Path) -> dict[str, bytes | None]:
    out.mkdir()
    (out / "edited.png").write_bytes(b"earlier")
    (out / "notes.txt").write_bytes(b"mine")
    return contents(out)


def test_results_that_are_there_stay_unless_overwritten(inputs, tmp_path, capsys) -> None:
    before = taken(tmp_path / "out")
    ended = run(capsys, MOVED + "--preset draft", inputs, tmp_path / "out")
    assert ended.code == 2
    assert "already holds edited.png; add --overwrite" in ended.message
    assert contents(tmp_path / "out") == before
    assert run(capsys, MOVED + "--preset draft --overwrite", inputs, tmp_path / "out").code == 0
    after = contents(tmp_path / "out")
    assert sorted(after) == sorted([*FILES, "notes.txt"])
    assert after["edited.png"] != b"earlier"
    assert after["notes.txt"] == b"mine"


def test_a_failure_while_overwriting_keeps_the_earlier_results(inputs, tmp_path, capsys) -> None:
    before = taken(tmp_path / "out")
    ended = run(capsys, EDIT + "--flow {inputs}/nan.npy --overwrite", inputs, tmp_path / "out")
    assert ended.code == 2
    assert contents(tmp_path / "out") == before
    assert contents(tmp_path).keys() == {"out", *(f"out/{name}" for name in before)}


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/mtransfer", "/proc/self/out"])
def test_places_that_cannot_be_written_are_refused_at_once(place, inputs, tmp_path, capsys) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    ended = run(capsys, MOVED, inputs, tmp_path / place)
    assert ended.code == 2
    assert ended.message.startswith(f"error: -o {tmp_path / place}: ")
    assert contents(tmp_path) == {"file": b"mine"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into read-only folders")
@pytest.mark.parametrize("place", [".", "below"])
def test_a_read_only_folder_is_refused_at_once(place, inputs, tmp_path, capsys) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    ended = run(capsys, MOVED, inputs, locked / place)
    assert ended.code == 2
    assert "read-only" in ended.message or "cannot be written" in ended.message
    assert contents(locked) == {}


def test_the_same_command_gives_the_same_bytes(inputs, tmp_path, capsys) -> None:
    for name in ("first", "second"):
        assert run(capsys, MOVED + "--set sampler.steps=6", inputs, tmp_path / name).code == 0
    first, second = contents(tmp_path / "first"), contents(tmp_path / "second")
    assert sorted(first) == FILES
    assert all(first[name] == second[name] for name in ("edited.png", "flow.npz", "preview.png"))


def test_json_is_one_strict_line(inputs, tmp_path, capsys) -> None:
    ended = run(capsys, MOVED + "--preset draft --seed 7 --json", inputs, tmp_path / "out")
    assert (ended.code, ended.err) == (0, "")
    (line,) = ended.out.splitlines()
    values = json.loads(line, parse_constant=lambda name: pytest.fail(name))
    assert values["edited"] == str(tmp_path / "out" / "edited.png")
    assert values["seed"] == 7
    assert 0.9 < values["moved_as_asked"] <= 1


def test_run_json_says_what_was_done(inputs, tmp_path, capsys) -> None:
    assert (
        run(capsys, MOVED + "--seed 5 --set sampler.steps=6 --set sampler.weight=0.15", inputs, tmp_path / "out").code
        == 0
    )
    record = json.loads((tmp_path / "out" / "run.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert record["seed"] == record["recipe"]["seed"] == 5
    assert record["recipe"]["sampler"]["steps"] == 6
    assert record["recipe"]["translate"] == "20,0"
    assert {"photo", "warp", "model", "sample", "measure"} <= record["seconds"].keys()
    assert {"moved_as_asked", "flow_error_raft", "flow_error_dis", "background_psnr_db"} <= record["metrics"].keys()
    assert record["metrics"]["guided_evaluations"] >= 1
    assert record["metrics"]["background_psnr_db"] is None  # not one pixel differs
    with Image.open(tmp_path / "out" / "edited.png") as edited:
        assert edited.size == (SMALL, SMALL)


@pytest.fixture
def sampling(tmp_path: Path, inputs: Path) -> Iterator[subprocess.Popen[str]]:
    """A command that would sample for long, already at it."""
    words = [MTRANSFER, "edit", inputs / "disc.png", "--translate", "20,0", "--preset", "paper", "-o", tmp_path / "out"]
    environment = os.environ | {"COLUMNS": "80", "TERM": "dumb", "FORCE_COLOR": "1"}
    process = subprocess.Popen(
        list(map(str, words)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: any(path.is_dir() for path in tmp_path.iterdir()))
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def wait_for(happened, limit_s: float = 60) -> None:
    deadline_s = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_an_interrupt_leaves_nothing(sampling, tmp_path) -> None:
    time.sleep(4)  # the model is loaded, or being loaded
    sampling.send_signal(signal.SIGINT)
    out, err = sampling.communicate(timeout=30)
    assert sampling.returncode == 130
    assert out == ""
    assert [line for line in err.splitlines() if "error" in line] == ["error: interrupted; nothing was written"]
    assert "Traceback" not in err
    assert contents(tmp_path) == {}


def test_the_real_command_prints_our_lines_only(inputs, tmp_path) -> None:
    words = [MTRANSFER, "edit", inputs / "disc.png", "--translate", "20,0", "--set", "sampler.steps=6", "--json"]
    done = subprocess.run([*map(str, words), "-o", str(tmp_path / "out")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["guided_evaluations"] == 0  # the embedded net refines unguided


@pytest.mark.parametrize("option", ["--prompt", "--negative-prompt"])
def test_a_prompt_that_has_no_effect_is_said(option, inputs, tmp_path, capsys) -> None:
    words = ["edit", inputs / "disc.png", "--translate", "20,0", "--model", "embedded", "--set", "sampler.steps=4"]
    ended = command(capsys, *words, option, "a disc", "-o", tmp_path / "out", "--quiet", "--json")
    assert (ended.code, ended.message) == (
        0,
        "warning: --prompt: the model embedded takes no text, so it has no effect",
    )


def test_subjects_may_be_named_one_by_one(inputs, tmp_path, capsys) -> None:
    words = [
        "edit",
        inputs / "disc.png",
        "--translate",
        "20,0",
        "--preset",
        "draft",
        "--subject",
        "1",
        "--subject",
        "all",
    ]
    assert command(capsys, *words, "-o", tmp_path / "out").code == 0
    first, second = json.loads((tmp_path / "out" / "run.json").read_text())["recipe"]["subject"].split(";")
    assert first.startswith("salient@")
    assert second == "all"


def test_help_and_version(capsys) -> None:
    assert command(capsys, "--version").out.strip().count(".") == 2
    shown = command(capsys, "edit", "--help").out
    assert all(option in shown for option in ("--translate", "--preset", "--output", "--seed", "--json"))
