"""`mtransfer animate`: what it writes, that it goes on where it was killed, and that nothing drifts."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import command, contents
from pictures import clip_frame, disc_photo, save_clip, save_mask, save_picture
from PIL import Image, ImageSequence
from profiles import P3_RED, SHOWN_AS_SRGB, display_p3

import mtransfer
from mtransfer.flow.io import load_field
from mtransfer.jobs.animation import animate as animate_module
from mtransfer.jobs.animation import clip_scene, scene
from mtransfer.jobs.animation.animation_files import kept_frames
from mtransfer.jobs.recipe import AnimateRecipe
from mtransfer.media.photo.photo import read_photo, save_png
from mtransfer.media.video import ClipReader
from mtransfer.media.video_writer import write_video
from mtransfer.motion.clip_motion import retargeted

FRAMES = 6
MTRANSFER = [sys.executable, "-c", "from mtransfer.ui.cli.main import main; main()"]
DRAFT = ["--subject", "mask.png", "--preset", "draft"]
FEW = [
    "--subject",
    "mask.png",
    *(["--set", "sampler.steps=4", "--set", "sampler.flow_updates=1", "--set", "sampler.flow_levels=1"]),
]
ALL = {"animation.gif", "animation.mp4", "contact.png", "flow.npz", "frames", "preview.png", "recipe.toml", "run.json"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    save_picture(folder / "photo.png", disc_photo())
    save_mask(folder / "mask.png")
    save_clip(folder / "clip.mp4", frames=FRAMES)
    return folder


@pytest.fixture(autouse=True)
def beside_the_inputs(home, monkeypatch) -> None:
    monkeypatch.chdir(home)


def animate(capsys, out: Path, *words: str | Path) -> dict:
    ended = command(capsys, "animate", "clip.mp4", "photo.png", "-o", out, "--json", *words)
    assert (ended.code, ended.err) == (0, "")
    return json.loads(ended.out)


@pytest.fixture(scope="module")
def out(home, tmp_path_factory) -> Path:
    """A draft animation there and back."""
    folder = tmp_path_factory.mktemp("made") / "out"
    words = ["animate", "clip.mp4", "photo.png", "-o", str(folder), "--loop", "pingpong", "--quiet", *DRAFT]
    subprocess.run([*MTRANSFER, *words], cwd=home, check=True, capture_output=True)
    return folder


def test_it_writes_every_kind_of_file(out) -> None:
    assert {path.name for path in out.iterdir()} == ALL | {"side_by_side.mp4"}
    assert sorted(path.name for path in (out / "frames").iterdir()) == [f"{i:04d}.png" for i in range(FRAMES)]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("held_bytes", [2**28, 0])
def test_a_frames_motion_is_worked_out_once_as_far_as_memory_is_to_hold_it(held_bytes, monkeypatch) -> None:
    calls = []

    def counted(*args, **options):
        calls.append(args[2])
        return retargeted(*args, **options)

    monkeypatch.setattr(clip_scene, "retargeted", counted)
    monkeypatch.setattr(scene, "HELD_BYTES", held_bytes)
    mtransfer.animate(clip="clip.mp4", photo="photo.png", subject="mask.png", preset="draft")
    assert set(calls) == set(range(FRAMES))
    assert (len(calls) == FRAMES) == bool(held_bytes)


def test_of_the_warp_alone_one_thread_paints_as_two_do(out, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(animate_module, "LARGEST_AT_ONCE", 0)
    animate(capsys, tmp_path / "alone", "--loop", "pingpong", *DRAFT)
    for path in sorted((out / "frames").iterdir()):
        assert path.read_bytes() == (tmp_path / "alone" / "frames" / path.name).read_bytes()


def test_frames_that_are_there_are_taken_up(tmp_path) -> None:
    (tmp_path / "kept").mkdir()
    made = animate_module.read_scene(
        AnimateRecipe.build({"clip": "clip.mp4", "photo": "photo.png", "subject": "mask.png", "preset": "draft"}, [])
    )
    red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1).expand(3, 160, 160)
    save_png(red, animate_module.frame_path(tmp_path / "kept", 3))
    animate_module.paint_frames(made, tmp_path / "kept")
    assert torch.equal(animate_module.load_frame(tmp_path / "kept", 3), red)
    assert len(list((tmp_path / "kept").iterdir())) == FRAMES


def test_films_go_there_and_back_at_the_clips_rate(out) -> None:
    order = [0, 1, 2, 3, 4, 5, 4, 3, 2, 1]
    frames = torch.stack([read_photo(out / "frames" / f"{index:04d}.png").image for index in order])
    film = ClipReader(out / "animation.mp4")
    assert (film.clip.frame_count, film.clip.size) == (len(order), (160, 160))
    assert film.clip.average_fps == pytest.approx(12, abs=0.01)
    assert (film.read(range(len(order))) - frames).abs().mean() < 0.02
    both = ClipReader(out / "side_by_side.mp4")
    assert (both.clip.frame_count, both.clip.size) == (len(order), (160, 328))
    with Image.open(out / "animation.gif") as gif:
        assert sum(each.info["duration"] for each in ImageSequence.Iterator(gif)) == pytest.approx(10000 / 12, abs=10)


def test_the_subject_moves_as_the_clips_does_and_the_first_frame_is_the_photo(out) -> None:
    first = read_photo(out / "frames" / "0000.png").image
    assert torch.equal(first, read_photo("photo.png").image)
    flow = load_field(out / "flow.npz")
    assert flow.flow.shape == (FRAMES, 2, 160, 160)
    inside = read_photo("mask.png").image[0] > 0.5
    moved_px = flow.flow[:, 0, inside].mean(dim=1)
    assert moved_px == pytest.approx(3.0 * np.arange(FRAMES), abs=1.0)
    last = read_photo(out / "frames" / "0005.png").image
    shifted = torch.roll(first, 15, dims=-1)
    assert (last - shifted)[:, 70:90, 65:105].abs().mean() < 0.05


def test_the_run_says_how_it_went(out) -> None:
    run = json.loads((out / "run.json").read_text())
    assert run["metrics"]["frames"] == FRAMES
    assert run["metrics"]["flicker_255"] <= 2
    assert run["metrics"]["flow_error_dis"]["median_px"] < 2
    assert run["metrics"]["moved_as_asked"] > 0.9
    recipe = run["recipe"]
    assert (recipe["frames"], recipe["reference"], recipe["fps"]) == ("0:6:1", "0", 12.0)
    assert "auto" not in recipe.values()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", "animation.mp4", "animation.gif", "frames/0003.png", "contact.png"])
def test_a_result_is_made_again_from_any_of_its_files(out, name, home, tmp_path, capsys) -> None:
    inputs = ["--clip", home / "clip.mp4", "--photo", home / "photo.png", "--subject", home / "mask.png"]
    assert command(capsys, "run", out / name, *inputs, "-o", tmp_path / "again", "--quiet").code == 0
    for path in (path for path in out.rglob("*") if path.is_file() and path.name != "run.json"):
        assert (tmp_path / "again" / path.relative_to(out)).read_bytes() == path.read_bytes(), path


def test_only_what_is_asked_for_is_written(tmp_path, capsys) -> None:
    words = ["--format", "gif", "--frames", "0:6:2", "--fps", "5", "--no-metadata", *DRAFT]
    printed = animate(capsys, tmp_path / "out", *words)
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == ALL - {"animation.mp4", "frames", "recipe.toml"}
    assert printed["animation_gif"] == str(tmp_path / "out" / "animation.gif")
    with Image.open(tmp_path / "out" / "animation.gif") as gif:
        assert (gif.n_frames, gif.info["duration"], gif.info.get("comment")) == (3, 200, None)
    for content in contents(tmp_path / "out").values():
        assert b"mask.png" not in (content or b"")


@pytest.mark.slow
def test_a_clip_of_variable_rate_keeps_its_pace(tmp_path, capsys) -> None:
    moved_px, speed_px_s = [0, 4, 8, 18, 20, 26], 120
    ends = [*moved_px[1:], 30]
    shown_s = [(after - before) / speed_px_s for before, after in zip(moved_px, ends, strict=True)]
    write_video(torch.stack([clip_frame(px) for px in moved_px]), tmp_path / "uneven.mp4", 24, shown_s=shown_s)
    words = [tmp_path / "uneven.mp4", "photo.png", "-o", tmp_path / "out", "--json", "--format", "mp4,gif"]
    ended = command(capsys, "animate", *words, "--subject", "mask.png", "--preset", "draft")
    assert ended.code == 0
    film = ClipReader(tmp_path / "out" / "animation.mp4")
    frames, clip = film.read(range(len(moved_px))), film.clip
    columns = torch.arange(frames.shape[-1]).float()
    warm = (frames[:, 0] > frames[:, 2]).float()  # the disc, on its cool ground
    centres_px = (warm * columns).sum(dim=(1, 2)) / warm.sum(dim=(1, 2))
    asked_px = speed_px_s * torch.tensor(clip.timestamps_s)
    torch.testing.assert_close(centres_px - centres_px[0], asked_px, atol=1, rtol=0)
    with Image.open(tmp_path / "out" / "animation.gif") as gif:
        starts_ms = np.cumsum([each.info["duration"] for each in ImageSequence.Iterator(gif)])
    assert starts_ms / 1000 == pytest.approx(np.array(ends) / speed_px_s, abs=0.011)


def test_motion_can_be_read_from_another_frame(tmp_path, capsys) -> None:
    animate(capsys, tmp_path / "out", "--reference", "3", "--format", "png", *DRAFT)
    frames = [read_photo(tmp_path / "out" / "frames" / f"{index:04d}.png").image for index in range(FRAMES)]
    assert torch.equal(frames[3], read_photo("photo.png").image)
    flow = load_field(tmp_path / "out" / "flow.npz").flow[:, 0].mean(dim=(1, 2))
    assert flow[0] < 0 < flow[5]


@pytest.mark.parametrize(("stay", "stays"), [("auto", True), ("always", True), ("never", False)])
def test_a_subject_that_would_leave_the_photo_moves_in_place(stay, stays, tmp_path, capsys) -> None:
    words = ["animate", "clip.mp4", "photo.png", "-o", tmp_path / "out", "--strength", "8", "--stay", stay]
    ended = command(capsys, *words, "--format", "png", *DRAFT)
    assert ended.code == 0
    assert ("--stay never" in ended.err) == (stay == "auto")
    moved_px = load_field(tmp_path / "out" / "flow.npz").flow[5, 0]
    assert (float(moved_px[moved_px != 0].mean().abs()) < 5) == stays
    recipe = json.loads((tmp_path / "out" / "run.json").read_text())["recipe"]
    assert recipe["stay"] == ("always" if stays else "never")


def test_one_that_stays_in_the_photo_travels(tmp_path, capsys) -> None:
    animate(capsys, tmp_path / "out", "--format", "png", *DRAFT)
    assert load_field(tmp_path / "out" / "flow.npz").flow[5, 0, 80, 60:100].mean() > 10
    assert json.loads((tmp_path / "out" / "run.json").read_text())["recipe"]["stay"] == "never"


def test_the_cameras_motion_can_move_the_whole_photo(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("MTRANSFER_CACHE_GB", "0")
    still = ClipReader("clip.mp4").read(range(FRAMES))
    panned = [torch.roll(frame, -2 * index, dims=-1) for index, frame in enumerate(still)]
    write_video(panned, tmp_path / "panned.mp4", 12)
    words = ["animate", tmp_path / "panned.mp4", "photo.png", "-o", tmp_path / "out", "--camera", "photo"]
    assert command(capsys, *words, "--format", "png", "--quiet", *DRAFT).code == 0
    photo, last = (read_photo(path).image for path in ("photo.png", tmp_path / "out" / "frames" / "0005.png"))
    shifted = torch.roll(photo, -10, dims=-1)
    away = (slice(None), slice(120, None), slice(20, 130))
    assert (last - shifted)[away].abs().mean() < 0.5 * (last - photo)[away].abs().mean()


def test_a_grey_picture_says_how_much_of_the_motion_to_apply(tmp_path, capsys) -> None:
    half = torch.ones(3, 160, 160)
    half[..., :70] = 0.0
    save_picture(tmp_path / "grey.png", half)
    animate(capsys, tmp_path / "out", "--strength-mask", tmp_path / "grey.png", "--format", "png", *DRAFT)
    flow = load_field(tmp_path / "out" / "flow.npz").flow[5, 0]
    assert flow[:, :68].abs().max() < 0.5
    assert flow[80, 75:90].mean() > 10


def test_of_a_clip_with_cuts_a_shot_can_be_named(tmp_path, capsys) -> None:
    frames = ClipReader("clip.mp4").read(range(FRAMES))
    other = 1 - frames.flip(-1)  # another shot, in which the disc goes left
    write_video(torch.cat([frames, other]), tmp_path / "cut.mp4", 12)
    words = ["animate", tmp_path / "cut.mp4", "photo.png", "--format", "png", "--set", "flow_model=dis", *DRAFT]
    ended = command(capsys, *words, "-o", tmp_path / "out", "--shot", "2", "--json")
    assert ended.code == 0
    assert "2 shots, from frames 0, 6; taken is shot 2" in ended.err
    assert json.loads((tmp_path / "out" / "run.json").read_text())["recipe"]["frames"] == "6:12:1"
    assert load_field(tmp_path / "out" / "flow.npz").flow[-1, 0, 80, 70] < -10
    ended = command(capsys, *words, "-o", tmp_path / "none", "--shot", "3", "--quiet")
    assert (ended.code, "--shot 3: " in ended.message) == (2, True)


def test_films_show_the_photos_colours_and_frames_keep_its_profile(tmp_path, capsys) -> None:
    photo = disc_photo()
    photo[:, :40, :] = torch.tensor(P3_RED).view(3, 1, 1) / 255
    pixels = (255 * photo).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "p3.png", icc_profile=display_p3())
    words = ["animate", "clip.mp4", tmp_path / "p3.png", "-o", tmp_path / "out", "--frames", "0:3", "--quiet", *DRAFT]
    assert command(capsys, *words).code == 0
    film, both = (ClipReader(tmp_path / "out" / name).read([1])[0] for name in ("animation.mp4", "side_by_side.mp4"))
    assert (255 * film[:, 20, 80]).tolist() == pytest.approx(SHOWN_AS_SRGB, abs=4)
    assert (255 * both[:, 20, -80]).tolist() == pytest.approx(SHOWN_AS_SRGB, abs=4)
    with Image.open(tmp_path / "out" / "animation.gif") as gif:
        gif.seek(1)
        shown = np.asarray(gif.convert("RGB"))[10:30, 10:150].reshape(-1, 3).mean(axis=0)
    assert shown.tolist() == pytest.approx(SHOWN_AS_SRGB, abs=5)
    with Image.open(tmp_path / "out" / "frames" / "0001.png") as frame:
        assert (frame.getpixel((80, 20)), frame.info["icc_profile"]) == (P3_RED, display_p3())


def test_it_is_a_function_too(home) -> None:
    made = mtransfer.animate(clip="clip.mp4", photo="photo.png", subject="mask.png", frames="0:3", preset="draft")
    assert made.frames.shape == (3, 3, 160, 160)
    assert torch.equal(made.frames[0], read_photo("photo.png").image)
    assert made.order == (0, 1, 2)
    assert made.recipe.frames == "0:3:1"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--frames 0:9", "frame 9 is outside clip.mp4"),
        ("--format mp4,webm", "--format mp4,webm: 'webm' is none of mp4,gif,png"),
        ("--reference last", "'last' is no clip position"),
        ("--fps -1", "--fps -1.0"),
        ("--fps 0.001", "--fps 0.001: give 0.01 to 1000 frames a second"),
        ("--fps 1e9", "--fps 1000000000.0"),
        ("--align none --mirror", "--mirror: --align none lays frame onto frame"),
        ("--set sampler.steps=20 --set sampler.window=[0.9,0.2]", "sampler.window [0.9, 0.2]: ends before it begins"),
        ("--strength 0", "the motion asked for is zero"),
        ("--loop bounce", "--loop 'bounce'"),
    ],
)
def test_mistakes_end_in_one_line_and_leave_nothing(words, said, home, tmp_path, capsys) -> None:
    ended = command(
        capsys, "animate", "clip.mp4", "photo.png", "-o", tmp_path / "out", "--quiet", *DRAFT, *words.split()
    )
    assert ended.code == 2
    assert said in ended.message
    assert contents(tmp_path) == {}


def test_results_there_are_not_replaced_unasked(out, capsys) -> None:
    ended = command(capsys, "animate", "clip.mp4", "photo.png", "-o", out, "--quiet", *DRAFT)
    assert (ended.code, "already holds" in ended.message) == (2, True)


def started(home: Path, out: Path) -> subprocess.Popen:
    words = ["animate", "clip.mp4", "photo.png", "-o", str(out), "--quiet", *FEW]
    return subprocess.Popen([*MTRANSFER, *words], cwd=home, env=os.environ | {"OMP_NUM_THREADS": "1"})


def kept(out: Path) -> list[Path]:
    return sorted(out.parent.glob(f".{out.name}-animate-*/[0-9]*.png"))


def wait_for_frames(out: Path, count: int, process: subprocess.Popen) -> None:
    while len(kept(out)) < count:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.02)


@pytest.mark.slow
def test_killed_and_started_again_the_bytes_are_those_of_one_go(home, tmp_path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert started(home, whole).wait() == 0
    process = started(home, broken)
    wait_for_frames(broken, 3, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not broken.exists()
    before = {path.name: path.stat().st_mtime_ns for path in kept(broken)}
    assert 3 <= len(before) < FRAMES
    process = started(home, broken)
    wait_for_frames(broken, len(before) + 1, process)
    assert {path.name: path.stat().st_mtime_ns for path in kept(broken)}.items() >= before.items()
    assert process.wait() == 0
    assert kept(broken) == []
    files = {path.relative_to(whole) for path in whole.rglob("*") if path.is_file()} - {Path("run.json")}
    assert len(files) == 7 + FRAMES
    for name in files:
        assert (broken / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
def test_interrupted_it_says_where_the_frames_are(home, tmp_path) -> None:
    words = [*MTRANSFER, "animate", "clip.mp4", "photo.png", "-o", str(tmp_path / "out")]
    process = subprocess.Popen([*words, "--quiet", *FEW], cwd=home, stderr=subprocess.PIPE, text=True)
    wait_for_frames(tmp_path / "out", 2, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert f"frames are kept in {kept(tmp_path / 'out')[0].parent}; the same command goes on from there" in said


def test_kept_frames_are_those_of_the_same_settings_and_inputs(tmp_path) -> None:
    def stop(folder: Path, name: str) -> None:
        (folder / name).write_text("a frame")
        raise RuntimeError(str(folder))

    def leave(key: str) -> Path:
        with pytest.raises(RuntimeError) as error, kept_frames(tmp_path / "out", key) as folder:
            stop(folder, f"{key}.png")
        return Path(str(error.value))

    first, second = leave("first"), leave("second")
    assert [first.parent, second.parent] == [tmp_path, tmp_path]
    assert [path.name for path in second.iterdir()] == ["second.png"]
    with kept_frames(tmp_path / "out", "first") as folder:
        assert [path.name for path in folder.iterdir()] == ["first.png"]
    assert (first.exists(), second.exists()) == (False, True)
