"""Batches on this machine, from folders to results."""

import json
import os
import shutil
from pathlib import Path

import pytest
from command_line import command, contents
from folders import QUICK, RESULTS, entries, make_folders
from pictures import save_clip

from mtransfer.lock import sole_driver


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Two clips and two photos, the second clip cut short."""
    make_folders(tmp_path, 3, 2)
    whole = (tmp_path / "clips" / "c1.mp4").read_bytes()
    (tmp_path / "clips" / "c1.mp4").write_bytes(whole[: len(whole) // 2])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def batch(capsys, *words: str):
    return command(capsys, "batch", "clips", "photos", "-o", "out", *QUICK, *words)


def test_a_corrupt_clip_fails_alone_and_is_done_when_mended(home, capsys) -> None:
    ended = batch(capsys, "--workers", "2", "--json")
    assert ended.code == 1
    assert ended.message == "error: 2 of 6 items failed; `mtransfer status` says why"
    *items, end = (json.loads(line) for line in ended.out.splitlines())
    assert (end["done"], end["failed"], end["total"]) == (4, 2, 6)
    assert {item["clip"]: item["state"] for item in items} == {"c0.mp4": "done", "c1.mp4": "failed", "c2.mp4": "done"}
    assert items[-1]["progress"]["left_s"] == 0
    assert {name for item in items if item["state"] == "done" for name in item["outputs"]} == RESULTS
    assert {item["error"] for item in items if item["state"] == "failed"} == {
        f"{home}/clips/c1.mp4 is no video, or a broken one; give a clip that a player can play"
    }
    _check_status(capsys)
    before = contents(home / "out" / "c0")
    save_clip(home / "clips" / "c1.mp4", frames=4)
    assert batch(capsys, "--quiet").code == 1  # a failed item waits until it is asked for
    ended = batch(capsys, "--workers", "1", "--quiet", "--retry-failed")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[:3] == ["done: 6", "failed: 0", "total: 6"]
    assert contents(home / "out" / "c0") == before
    assert [entry.attempts for entry in entries(home / "out" / "manifest.sqlite")] == [1, 1, 2, 2, 1, 1]
    assert not (home / "out" / ".stage").exists() or not any((home / "out" / ".stage").iterdir())


def _check_status(capsys) -> None:
    status = json.loads(command_ok(capsys, "status", "out", "--json"))
    figures = {key: status[key] for key in ("total", "done", "failed", "running", "pending", "at_work")}
    assert figures == {"total": 6, "done": 4, "failed": 2, "running": 0, "pending": 0, "at_work": False}
    lines = command_ok(capsys, "status", "out").splitlines()
    assert lines[:3] == ["total: 6", "done: 4", "failed: 2"]
    assert lines[5].startswith("failed: c1.mp4 with p0.png: ")


def command_ok(capsys, *words: str) -> str:
    ended = command(capsys, *words)
    assert ended.code == 0, ended.err
    return ended.out


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(home, capsys) -> None:
    before = contents(home)
    assert batch(capsys, "--dry-run").out.splitlines()[0] == "do    pending  c0.mp4  p0.png  c0/p0"
    lines = [json.loads(line) for line in batch(capsys, "--dry-run", "--json").out.splitlines()]
    assert [line["action"] for line in lines] == ["do"] * 6
    assert lines[5] | {"action": ""} == {
        "clip": "c2.mp4", "photo": "p1.png", "folder": "c2/p1", "state": "pending", "action": "",
    }  # fmt: skip
    assert contents(home) == before


def test_a_second_driver_is_refused(home, capsys) -> None:
    with sole_driver(home / "out" / ".lock"):
        ended = batch(capsys)
    assert ended.code == 2
    assert f"out: another batch is at work here (process {os.getpid()})" in ended.message
    assert [path.name for path in (home / "out").iterdir()] == [".lock"]


def test_other_settings_and_results_of_others_are_refused(home, capsys) -> None:
    shutil.rmtree(home / "clips")
    (home / "clips").mkdir()
    save_clip(home / "clips" / "c0.mp4", frames=4)
    (home / "out" / "c0" / "p1").mkdir(parents=True)
    (home / "out" / "c0" / "p1" / "run.json").write_text("{}")
    ended = batch(capsys, "--workers", "1", "--json")
    done, failed = sorted((json.loads(line) for line in ended.out.splitlines()[:2]), key=lambda item: item["photo"])
    assert (done["state"], failed["error"]) == (
        "done",
        "c0/p1: holds results of another batch; remove them or use another -o",
    )
    assert (home / "out" / "c0" / "p1" / "run.json").read_text() == "{}"
    ended = batch(capsys, "--set", "strength=2")
    assert ended.code == 2
    assert "manifest.sqlite: begun with strength = 1.0, not 2.0; use the settings it was begun with" in ended.message


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("batch absent photos -o out", "absent: no such file or folder"),
        ("batch clips -o out", "clips: no photos to go with it"),
        ("batch clips photos -o out --preset slow", "--preset slow: unknown"),
        ("batch clips photos -o out --set colour=blue", "--colour 'blue'"),
        ("batch clips photos -o out --recipe absent", "absent: no such recipe"),
        ("batch clips photos -o out --recipe edit.toml", "--recipe edit.toml: is of the command edit"),
        ("batch clips photos -o photos/p0.png", "-o photos/p0.png: is no folder"),
        ("batch clips photos -o memory://out", "-o memory://out: is not on this disk; name a local file"),
        ("batch clips photos -o nowhere://out --manifest m", "-o nowhere://out: cannot be reached"),
        ("batch pairs.csv -o out", "the list's column colour: unknown; use clip_subject, "),
        ("status out", "out/manifest.sqlite: no such manifest"),
        ("status photos/p0.png", "photos/p0.png/manifest.sqlite: no such manifest"),
        ("status out --manifest photos/p0.png", "photos/p0.png: no manifest, or a broken one"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(words, said, home, capsys) -> None:
    (home / "edit.toml").write_text('command = "edit"')
    (home / "pairs.csv").write_text("clip,photo,colour\nclips/c0.mp4,photos/p0.png,blue\n")
    before = contents(home)
    ended = command(capsys, *words.split())
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.message
    assert contents(home) == before


def test_rows_have_settings_and_names_lead_nowhere(home, capsys) -> None:
    strange = home / "photos" / "..\n\x1b[2J<b>é語.png"
    (home / "photos" / "p0.png").rename(strange)
    rows = [
        {"clip": str(home / "clips" / "c0.mp4"), "photo": f"photos/../photos/{strange.name}", "strength": 0.5},
        {"clip": "clips/c0.mp4", "photo": "photos/p1.png", "pair": "1:2"},
    ]
    (home / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ended = command(capsys, "batch", "pairs.jsonl", "-o", "deep/out", *QUICK, "--workers", "1", "--json")
    assert ended.code == 0, ended.err
    found = entries(home / "deep" / "out" / "manifest.sqlite")
    recipes = {
        entry.clip: json.loads((home / "deep" / "out" / entry.folder / "run.json").read_text())["recipe"]
        for entry in found
    }
    assert {(recipe["pair"], recipe["strength"]) for recipe in recipes.values()} == {("0:3", 0.5), ("1:2", 1.0)}
    assert {path.name for path in home.iterdir()} == {"clips", "photos", "pairs.jsonl", "deep"}
    page = (home / "deep" / "out" / "index.html").read_text()
    assert "&lt;b&gt;é語.png" in page
    assert "<b>é" not in page
