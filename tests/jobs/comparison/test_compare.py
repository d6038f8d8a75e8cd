"""The commands compare and evaluate: on small pictures, by the quick methods."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
import torch
from command_line import command, contents
from pictures import disc_photo, save_clip, save_flow, save_picture
from tiny_sd import build_tiny_sd

from mtransfer.errors import InputError, ModelError
from mtransfer.evaluation import diffusers_methods, methods
from mtransfer.evaluation.figures import FIGURES
from mtransfer.flow.io import load_field
from mtransfer.jobs.comparison.compare import SLOW, _once, choose
from mtransfer.log import warn
from mtransfer.media.photo.photo import read_photo

FILES = ["compare.csv", "compare.json", "draft.png", "flow.npz", "report.html", "sheet.png", "warp.png"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """A folder with photo.png, flow.npy, clip.mp4."""
    home = tmp_path_factory.mktemp("inputs")
    save_picture(home / "photo.png", disc_photo())
    save_flow(home / "flow.npy", right_px=24)
    save_clip(home / "clip.mp4")
    return home


def test_every_default_method_can_run_here_and_the_rest_say_why() -> None:
    chosen, skipped = choose([], diffusers_methods.MODELS)
    assert {"warp", "draft", "fast", "drag"} <= set(chosen)
    assert set(skipped) == {*SLOW, *diffusers_methods.MODELS}
    assert skipped["paper"] == "slow; ask for it with --methods paper"
    assert skipped["instruct"] == "timbrooks/instruct-pix2pix is not on this disk"
    assert choose(["paper", "warp"], diffusers_methods.MODELS) == (["paper", "warp"], {})
    with pytest.raises(InputError, match=r"^method magic: unknown"):
        choose(["magic"], diffusers_methods.MODELS)
    with pytest.raises(ModelError, match=r"^method inpaint: .* fetch it with `mtransfer models download"):
        choose(["inpaint"], diffusers_methods.MODELS)


def test_a_flow_is_compared_on(inputs, tmp_path, capsys) -> None:
    words = ["compare", inputs / "photo.png", "--flow", inputs / "flow.npy", "--methods", "warp,draft"]
    ended = command(capsys, *words, "-o", tmp_path / "out", "--json")
    assert (ended.code, ended.err) == (0, "")
    shown = json.loads(ended.out)
    assert sorted(contents(tmp_path / "out")) == FILES
    warp, draft = (shown["methods"][name] for name in ("warp", "draft"))
    assert set(warp) == {*FIGURES, "seconds"}
    assert warp["residue"] > 0.9 > 0.1 > draft["residue"]
    assert min(warp["kept_ssim"], draft["kept_ssim"]) > 0.9
    record = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert record["methods"] == shown["methods"]
    assert record["recipe"]["model"] == "embedded"
    assert record["settings"]["draft"]["steps"] == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "compare.csv").read_text())))
    assert [row["method"] for row in rows] == ["warp", "draft"]
    assert float(rows[0]["residue"]) == pytest.approx(warp["residue"], rel=1e-4)
    flow = load_field(tmp_path / "out" / "flow.npz").flow
    assert float(flow[0, 0, 80, 70]) == 24
    assert (tmp_path / "out" / "report.html").read_text().count('data-name="draft"') == 2


@pytest.mark.slow
def test_a_clip_and_set_are_compared_on_and_the_table_is_for_people(inputs, tmp_path, capsys) -> None:
    clip = [inputs / "clip.mp4", inputs / "photo.png", "--pair", "0:4", "--subject", "70,80"]
    for out, words in (("a", clip), ("b", [inputs / "photo.png", "--set", "translate=12,0", "--subject", "70,80"])):
        ended = command(capsys, "compare", *words, "--methods", "warp", "-o", tmp_path / out, "--quiet")
        assert ended.code == 0
        head, row, report, sheet = ended.out.splitlines()
        assert head.split() == ["method", *row_figures(head)]
        assert row.split()[0] == "warp"
        assert (report, sheet) == (f"report: {tmp_path / out}/report.html", f"sheet: {tmp_path / out}/sheet.png")
        flow = load_field(tmp_path / out / "flow.npz").flow
        assert float(flow[0, 0, 80, 70]) == pytest.approx(12, abs=2)


def row_figures(head: str) -> list[str]:
    return ["moved_as_asked", "flow_raft_px", "flow_dis_px", "kept_ssim", "residue", "background_psnr_db", "seconds"]


def test_what_dragging_made_shows_nothing_of_the_photos_own_detail(inputs, tmp_path, capsys, monkeypatch) -> None:
    def plain(name: str, problem: methods.Problem, *rest: object) -> tuple[torch.Tensor, int]:
        return torch.full_like(problem.photo, 0.4), 0

    monkeypatch.setattr(methods, "run_method", plain)
    words = ["compare", inputs / "photo.png", "--flow", inputs / "flow.npy", "--methods", "drag"]
    assert command(capsys, *words, "-o", tmp_path / "out", "--quiet").code == 0
    made, photo = (read_photo(path).image for path in (tmp_path / "out" / "drag.png", inputs / "photo.png"))
    assert float((made[:, 60:100, 50:110] - 0.4).abs().max()) < 0.01
    assert torch.equal(made[:, :20], photo[:, :20])


@pytest.mark.slow
def test_dragging_and_peers_bring_their_results_to_the_photos_size(inputs, tmp_path, capsys, monkeypatch) -> None:
    for name, channels in (("instruct", 8), ("inpaint", 9)):
        index = build_tiny_sd(tmp_path / name, input_channels=channels) / "model_index.json"
        kind = {"_class_name": diffusers_methods.KINDS[name].__name__, "_diffusers_version": "0.6.0.dev0"}
        index.write_text(json.dumps(json.loads(index.read_text()) | kind))
        monkeypatch.setitem(diffusers_methods.STEPS, name, 2)
    photo, out = read_photo(inputs / "photo.png").image, tmp_path / "out"
    words = ["compare", inputs / "photo.png", "--flow", inputs / "flow.npy", "--methods", "drag,inpaint,instruct"]
    models = ["--inpaint-model", tmp_path / "inpaint", "--instruct-model", tmp_path / "instruct"]
    ended = command(capsys, *words, *models, "--instruction", "turn it", "--prompt", "a disc", "-o", out, "--quiet")
    assert ended.code == 0
    made = {name: read_photo(out / f"{name}.png").image for name in ("drag", "inpaint", "instruct")}
    for name in ("drag", "inpaint"):
        assert torch.equal(made[name][:, :20], photo[:, :20]), name
        assert float((made[name] - photo).abs().max()) > 0.1, name
    assert float((made["instruct"] - photo).abs().mean()) > 0.01
    settings = json.loads((out / "compare.json").read_text())["settings"]
    assert settings["instruct"] == {"model": str(tmp_path / "instruct"), "instruction": "turn it"}
    assert settings["drag"]["handles"] == 24


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("photo.png",), "no motion: give --flow FILE, one as --set translate=40,0, or CLIP PHOTO"),
        (
            ("clip.mp4", "photo.png", "--flow", "flow.npy"),
            "2 files and --flow: give PHOTO with --flow FILE, or CLIP PHOTO",
        ),
        (("photo.png", "--flow", "flow.npy", "--pair", "0:3"), "--pair: is of a clip, and none is given"),
        (("clip.mp4", "photo.png", "--set", "camera=photo"), "--set camera=photo: moves the whole photo"),
        (("photo.png", "--flow", "flow.npy", "--methods", "magic"), "method magic: unknown; use some of warp"),
        (
            ("photo.png", "--flow", "flow.npy", "--methods", "instruct"),
            "method instruct: timbrooks/instruct-pix2pix is",
        ),
        (("absent.png", "--flow", "flow.npy"), "absent.png"),
    ],
)
def test_a_mistake_ends_in_one_line_and_leaves_nothing(words, said, inputs, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(inputs)
    ended = command(capsys, "compare", *words, "-o", tmp_path / "out", "--quiet")
    assert ended.code == (1 if "instruct" in words else 2)
    assert said in ended.message
    assert contents(tmp_path) == {}


@pytest.fixture(scope="module")
def results(inputs, tmp_path_factory) -> Path:
    """Two results below one folder, one of which says nothing of how it was made."""
    from mtransfer.jobs.recipe import EditRecipe
    from mtransfer.jobs.run_job import run_to_folder
    from mtransfer.ui.cli.console import run

    home = tmp_path_factory.mktemp("results")
    shutil.copy(inputs / "photo.png", home)
    recipe = EditRecipe.build({"photo": home / "photo.png", "flow": inputs / "flow.npy", "preset": "draft"}, [])
    for name, metadata in (("told", True), ("untold", False)):
        run(lambda name=name, metadata=metadata: _do(run_to_folder, recipe, home / name, metadata))
    return home


def _do(job, recipe, out: Path, metadata: bool) -> None:
    job(recipe, out, overwrite=False, metadata=metadata, report=lambda *step: None)


def test_results_are_evaluated_in_a_table_json_and_csv(results, capsys) -> None:
    words = ["evaluate", results, "--photo", results / "photo.png"]
    found = json.loads(command(capsys, *words, "--json").out)
    assert list(found) == [str(results / "told"), str(results / "untold")]
    first, second = found.values()
    assert first == second
    assert set(first) == set(FIGURES)
    assert first["residue"] < 0.1
    assert first["clip"] is None
    rows = list(csv.DictReader(io.StringIO(command(capsys, *words, "--csv").out)))
    assert float(rows[1]["kept_ssim"]) == pytest.approx(second["kept_ssim"], rel=1e-4)
    assert rows[0]["clip"] == ""
    table = command(capsys, *words).out.splitlines()
    assert table[0].split()[:2] == ["result", "moved_as_asked"]
    assert len(table) == 3


def test_a_result_knows_its_photo(results, capsys) -> None:
    told = json.loads(command(capsys, "evaluate", results / "told", "--json").out)
    assert told[str(results / "told")]["kept_ssim"] > 0.9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("untold",), "does not say what it was made from; name the photo with --photo"),
        (("empty",), "empty: holds no result; name a folder in which mtransfer wrote edited.png"),
        (("told", "--json", "--csv"), "--csv and --json: give one of them"),
        (("told", "--photo", "small.png"), "pixels; name the photo it was made from with --photo"),
        (("moved",), "moved: its photo photo.png is not beside it; name it with --photo"),
        (("other/told",), "not the file"),
        (("flowless",), "flowless: holds no flow.npz"),
    ],
)
def test_what_cannot_be_evaluated_is_said(words, said, results, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    save_picture(tmp_path / "small.png", disc_photo()[:, :80])
    save_picture(tmp_path / "other" / "photo.png", 1 - disc_photo())
    for name in ("told", "untold"):
        shutil.copytree(results / name, tmp_path / name)
    shutil.copytree(results / "told", tmp_path / "other" / "told")
    for name, gone in (("moved", "run.json"), ("flowless", "flow.npz")):
        shutil.copytree(results / "told", tmp_path / name)
        (tmp_path / name / gone).unlink()
    ended = command(capsys, "evaluate", *words)
    assert ended.code == 2
    assert said in ended.message


def test_what_every_run_would_warn_of_is_said_once(capsys) -> None:
    said: set[str] = set()
    for preset in ("sdedit", "repaint"):
        with _once(said):
            warn(f"--preset {preset}: it is no generator")
    assert capsys.readouterr().err == "warning: --preset sdedit: it is no generator\n"
