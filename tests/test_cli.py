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
from command_line import Ended, command, contents
from pictures import disc_photo, save_picture, textured
from PIL import Image

from mtransfer.cli import app
from mtransfer.clip import write_video
from mtransfer.output import save_png

ROOT = Path(__file__).parent.parent
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
    "command.toml": 'command = "animate"',
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


EDIT = "edit {inputs}/disc.png "
MOVED = EDIT + "--translate 20,0 "
TRANSFER = "transfer {samples}/bunny.mp4 {inputs}/disc.png "
BAD = {
    # words of the command: words its one line must hold
    "transfer {inputs}/broken.mp4 {inputs}/disc.png": "broken.mp4",
    "transfer {inputs}/text.mp4 {inputs}/disc.png": "text.mp4 is no video",
    "transfer {inputs}/one_frame.mp4 {inputs}/disc.png": "one_frame.mp4 holds one frame; motion needs at least two",
    "transfer {inputs}/absent.mp4 {inputs}/disc.png": "absent.mp4 does not exist; check the name",
    "transfer {inputs} {inputs}/disc.png": "is a folder; name one video file",
    "transfer {inputs}/disc.png {inputs}/disc.png": "still picture; give a clip",
    "transfer {inputs}/static.mp4 {inputs}/disc.png": "static.mp4: nothing moves against the camera",
    "transfer {inputs}/static.mp4 {inputs}/disc.png --pair 0:4": "nothing moves against the camera",
    TRANSFER + "--pair 3:3": "pair 3:3 names frame 3",
    TRANSFER + "--pair 0:999": "frame 999 is outside",
    TRANSFER + "--pair -1:5": "frame -1 is outside",
    TRANSFER + "--pair 0s:99s": "position 99s is outside",
    TRANSFER + "--pair there:here": "'there' is no clip position; write a frame number",
    TRANSFER + "--pair 7": "'7' is no pair of clip positions; write A:B",
    TRANSFER + "--pair 0:4 --clip-subject 9000,10": "--clip-subject 9000,10: outside the picture",
    TRANSFER + "--camera wobble": "--camera 'wobble'",
    TRANSFER + "--align wobble": "--align 'wobble'",
    "edit {inputs}/absent.png --translate 20,0": "absent.png does not exist; check the name",
    "edit {inputs} --translate 20,0": "is a folder; name one picture",
    "edit {inputs}/text.jpg --translate 20,0": "text.jpg is no picture",
    "edit {inputs}/uniform.png --translate 20,0": "--subject auto: no clear subject found; point at it with --subject",
    EDIT: "give --flow FILE, or one or more of --translate",
    "ablate {inputs}/disc.png": "give --flow FILE, or one or more of --translate",
    MOVED + "--flow {inputs}/good.npy": "give --flow FILE, or one or more of --translate",
    EDIT + "--flow {inputs}/wrong_size.npy": "wrong_size.npy: the flow is 100 x 100 pixels, the photo 160 x 160",
    EDIT + "--flow {inputs}/nan.npy": "nan.npy: ",
    EDIT + "--flow {inputs}/zero.npy": "zero.npy: the flow is zero everywhere",
    EDIT + "--flow {inputs}/two.npy": "two.npy: holds 2 flows; an edit takes one",
    EDIT + "--flow {inputs}/absent.npz": "absent.npz: No such file",
    EDIT + "--flow {inputs}/text.mp4": "text.mp4: its suffix must be one of",
    EDIT + "--translate 20": "--translate 20: two numbers with a comma",
    EDIT + "--translate inf,0": "--translate inf,0: the numbers must be finite",
    EDIT + "--translate 0,0": "the motion asked for is zero",
    EDIT + "--rotate nan": "--rotate nan: input should be a finite number",
    EDIT + "--scale 0": "--scale 0.0: input should be greater than 0",
    EDIT + "--scale -2": "--scale -2.0: input should be greater than 0",
    EDIT + "--scale inf": "--scale inf: input should be a finite number",
    EDIT + "--stretch 0,1": "stretch 0,1 must be above 0",
    TRANSFER + "--pair 0:4 --strength 0": "ask for more, or for --strength above 0",
    EDIT + "--stretch 1": "--stretch 1: two numbers with a comma",
    EDIT + "--pin 3,4": "--pin 3,4: write it as x,y:dx,dy",
    EDIT + "--pin 3,4:5": "--pin 5: two numbers",
    MOVED + "--strength nan": "--strength nan: input should be a finite number",
    MOVED + "--strength inf": "--strength inf: input should be a finite number",
    MOVED + "--strength 0": "ask for more, or for --strength above 0",
    MOVED + "--subject 500,10": "--subject 500,10: outside the picture of 160 x 160 pixels",
    MOVED + "--subject 50,10,20,40": "--subject 50,10,20,40: outside the picture of 160 x 160 pixels, or an empty box",
    MOVED + "--subject 1,2,3": "--subject 1,2,3: a point is x,y and a box x0,y0,x1,y1",
    MOVED + "--subject nan,3": "--subject nan,3",
    MOVED + "--subject {inputs}/absent.png": "absent.png does not exist",
    MOVED + "--subject {inputs}/small_mask.png": "mask of 20 x 20 pixels for a picture of 160 x 160",
    MOVED + "--seed -1": "--seed -1: input should be greater than or equal to 0",
    MOVED + "--seed 9223372036854775808": "--seed 9223372036854775808: input should be less than",
    MOVED + "--preset fastest": "--preset fastest: unknown; use one of best, draft, fast",
    MOVED + "--preset ../presets/fast": "--preset ../presets/fast: unknown",
    MOVED + "--device tpu": "--device 'tpu'",
    MOVED + "--dtype int8": "--dtype 'int8'",
    MOVED + "--flow-model flownet": "--flow-model 'flownet'",
    MOVED + "--model ./absent": "--model ./absent: no such folder",
    MOVED + "--model absent": "--model absent: no such folder, and no hub id of the form owner/name",
    MOVED + "--model {inputs}/empty_model": "empty_model: cannot be loaded",
    MOVED + "--model {inputs}/disc.png": "disc.png: no such folder",
    MOVED + "--set sampler.steps": "--set sampler.steps: write it as name=value",
    MOVED + "--set sampler.steps=many": "sampler.steps 'many'",
    MOVED + "--set sampler.steps=-4": "sampler.steps -4",
    MOVED + "--set sampler.stepz=4": "sampler.stepz 4",
    MOVED + "--set sampler=4": "--set sampler=4",
    MOVED + "--set colour=blue": "--colour 'blue'",
    MOVED + "--set sampler.weight=inf": "sampler.weight inf: input should be a finite number",
    MOVED + "--set sampler.window=[0.5]": "sampler.window.1",
    MOVED + "--set sampler.start=later": "sampler.start 'later'",
    MOVED + "--segmenter scissors": "--segmenter 'scissors'",
    MOVED + "--noise {inputs}/disc.png --preset paper --set sampler.start=own": "disc.png: not a noise file",
    MOVED + "--set sampler.start=own --set sampler.steps=4": "start=own needs the noise the photo was generated from",
    "run absent.toml": "absent.toml: no such recipe; name a .toml file, a folder",
    "run {inputs}/no_recipe": "no_recipe/recipe.toml: no such recipe",
    "run {inputs}/disc.png": "disc.png: carries no recipe; give a result that mtransfer made",
    "run {inputs}/static.mp4": "static.mp4: carries no recipe",
    "run {inputs}/text.jpg": "text.jpg: not a recipe",
    "run {inputs}/text.mp4": "text.mp4: cannot be read as a video",
    "run {inputs}/words.toml": "words.toml: not a recipe",
    "run {inputs}/command.toml": "command.toml: command = 'animate'; a recipe's command is one of",
    "run {inputs}/field.toml": "--colour 'blue': extra inputs are not permitted",
    "run {inputs}/type.toml": "--seed 'many': input should be a valid integer",
    "run {inputs}/setting.toml": "sampler.steps -3: input should be greater than or equal to 0",
    "run {inputs}/photo.toml": "absent.png: missing input of",
    "run {inputs}/altered.toml": "disc.png: not the file",
    "run {inputs}/hub.toml": "fetch it with `mtransfer models download someone/something`",
    "run {inputs}/device.toml": "--device 'tpu'",
    "run {inputs}/result.png": "secret.png: missing input of",
    "run {inputs}/good.toml --photo absent.png": "absent.png: missing input of",
    "run {inputs}/good.toml --clip {samples}/bunny.mp4": "--clip",
    "run {inputs}/good.toml --set translate=there": "--translate there: two numbers",
    "run {inputs}/good.toml --set preset=slow": "--preset slow: unknown",
    "run clip_to_photo": "--photo: field required",
    "run clip_to_photo --photo {inputs}/disc.png": "--clip: field required",
    "generate --size wide": "--size wide: write it as WIDTHxHEIGHT, such as 512x512",
    "generate --size 256": "--size 256: write it as WIDTHxHEIGHT",
    "generate --size 200x256": "--size 200x256: sides are multiples of 64 from 128 to 2048",
    "generate --size 64x64": "--size 64x64: sides are multiples of 64 from 128",
    "generate --size 256x4096": "--size 256x4096: sides are multiples of 64 from 128 to 2048",
    "generate --size -256x256": "--size -256x256: sides are multiples of 64",
    "generate --model ./absent": "--model ./absent: no such folder",
    "generate --model someone/something": "fetch it with `mtransfer models download someone/something`",
    "generate --preset slow": "--preset slow: unknown",
    "generate --seed -1": "--seed -1: input should be greater than or equal to 0",
    "generate --set photo=a.png": "--photo 'a.png': extra inputs are not permitted",
    "generate --set sampler.guidance_scale=-1": "sampler.guidance_scale -1",
}
# Commands without a folder for results.
BAD_ELSEWHERE = {
    "flow {inputs}/absent.mp4 -o {out}.flo": "absent.mp4 does not exist",
    "flow {inputs}/text.mp4 -o {out}.flo": "text.mp4 is no video",
    "flow {inputs}/disc.png -o {out}.flo": "still picture; give a clip",
    "flow {inputs}/one_frame.mp4 -o {out}.flo": "one_frame.mp4 holds one frame",
    "flow {inputs}/static.mp4 -o {out}.pth": "its suffix must be one of .npz .npy .flo .png",
    "flow {inputs}/static.mp4 -o {out}": "its suffix must be one of",
    "flow {inputs}/static.mp4 -o {out}/absent/x.flo": "x.flo: its folder is not there; make it first",
    "flow {inputs}/static.mp4 -o {inputs}/good.npy": "good.npy: is already there; add --overwrite",
    "flow {inputs}/static.mp4 -o {out}.flo --pair 2": "'2' is no pair of clip positions",
    "flow {inputs}/static.mp4 -o {out}.flo --pair 0:99": "frame 99 is outside",
    "flow {inputs}/static.mp4 -o {out}.flo --pair 2:2": "names frame 2",
    "flow {inputs}/static.mp4 -o {out}.flo --device tpu": "--device tpu: not available here",
    "recipes show absent": "absent: no such recipe; use one of clip_to_photo, ",
    "recipes show ../pyproject": "../pyproject: no such recipe",
    "recipes copy absent {out}.toml": "absent: no such recipe",
    "recipes copy fast {out}.txt": "out.txt: name a .toml file",
    "recipes copy fast {inputs}/good.toml": "good.toml: is already there; add --overwrite",
    "recipes copy fast {out}/absent/x.toml": "x.toml: cannot be written (No such file or directory)",
    "models path absent": "absent: unknown model; use sd14, sd15",
    "models path someone/something": "fetch it with `mtransfer models download someone/something`",
    "models download absent": "absent: unknown model; use sd14, sd15",
    "models download ../secret/model": "../secret/model: unknown model",
}
# What the parser itself refuses, with a line on how the command is used before it.
BAD_USAGE = {
    "": "",
    "wobble": "No such command 'wobble'",
    "transfer": "Missing argument 'clip'",
    "transfer a.mp4": "Missing argument 'photo'",
    "edit": "Missing argument 'photo'",
    "edit a.png": "Missing option '-o'",
    "edit a.png --wobble": "No such option: --wobble",
    "edit a.png --rotate east -o x": "Invalid value for '--rotate'",
    "edit a.png b.png -o x": "unexpected extra argument",
    "run": "Missing argument 'recipe'",
    "run a.png": "Missing option '-o'",
    "run a.png --translate 9,0 -o x": "No such option: --translate",
    "generate": "Missing option '-o'",
    "generate --seed many -o x": "Invalid value for '--seed'",
    "generate a.png -o x": "unexpected extra argument",
    "flow": "Missing argument 'clip'",
    "flow a.mp4": "Missing option '-o'",
    "flow a.mp4 -o a.flo --flow-model flownet": "Invalid value for '--flow-model'",
    "recipes wobble": "No such command 'wobble'",
    "recipes show": "Missing argument 'name'",
    "recipes copy fast": "Missing argument 'destination'",
    "models wobble": "No such command 'wobble'",
    "models download": "Missing argument",
    "doctor --wobble": "No such option: --wobble",
    "doctor me": "unexpected extra argument",
    "cache wobble": "No such command 'wobble'",
    "cache clear flows": "unexpected extra argument",
}


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


def test_run_json_says_what_was_done(inputs, tmp_path, capsys) -> None:
    assert run(capsys, MOVED + "--seed 5 --set sampler.steps=6", inputs, tmp_path / "out").code == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert record["seed"] == record["recipe"]["seed"] == 5
    assert record["recipe"]["sampler"]["steps"] == 6
    assert record["recipe"]["translate"] == "20,0"
    assert {"photo", "warp", "model", "sample", "measure"} <= record["seconds"].keys()
    assert {"flow_error_raft", "flow_error_dis", "background_psnr_db"} <= record["metrics"].keys()
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
    assert json.loads(done.stdout)["guided_evaluations"] >= 1


@pytest.mark.parametrize("option", ["--prompt", "--negative-prompt"])
def test_a_prompt_that_has_no_effect_is_said(option, inputs, tmp_path, capsys) -> None:
    words = ["edit", inputs / "disc.png", "--translate", "20,0", "--model", "embedded", "--set", "sampler.steps=4"]
    ended = command(capsys, *words, option, "a disc", "-o", tmp_path / "out", "--quiet", "--json")
    assert (ended.code, ended.message) == (
        0,
        "warning: --prompt: the model embedded takes no text, so it has no effect",
    )


def test_help_and_version(capsys) -> None:
    assert command(capsys, "--version").out.strip().count(".") == 2
    shown = command(capsys, "edit", "--help").out
    assert all(option in shown for option in ("--translate", "--preset", "--output", "--seed", "--json"))
