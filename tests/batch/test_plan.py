"""Batches on this machine, from folders to results."""

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from command_line import command, contents
from folders import QUICK, RESULTS, HereWorkers, check_whole, entries, make_folders, run_here
from pictures import save_clip

from mtransfer import cache
from mtransfer.batch.items import find_items
from mtransfer.batch.lock import sole_driver
from mtransfer.batch.scheduler import MANIFEST
from mtransfer.batch.storage import STAGE, open_out
from mtransfer.errors import InputError


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


@pytest.mark.slow
def test_a_corrupt_clip_fails_alone_and_is_done_when_mended(home, capsys) -> None:
    ended = batch(capsys, "--workers", "2", "--json")
    assert ended.code == 1
    assert ended.message == "error: 2 of 6 items failed; `mtransfer status` says why"
    *items, end = (json.loads(line) for line in ended.out.splitlines())
    assert (end["done"], end["failed"], end["total"]) == (4, 2, 6)
    assert {item["clip"]: item["state"] for item in items} == {"c0.mp4": "done", "c1.mp4": "failed", "c2.mp4": "done"}
    assert items[-1]["progress"]["left_s"] == 0
    assert {name for item in items if item["state"] == "done" for name in item["outputs"]} == RESULTS
    assert {item["error"].rpartition(":")[0] for item in items if item["state"] == "failed"} == {
        f"clip {home}/clips/c1.mp4 is cut short"
    }
    _check_status(capsys)
    before = contents(home / "out" / "c0")
    save_clip(home / "clips" / "c1.mp4", frames=4)
    assert batch(capsys, "--quiet").code == 1  # a failed item waits until it is asked for
    ended = batch(capsys, "--workers", "1", "--quiet", "--retry-failed")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[:3] == ["done: 6", "failed: 0", "total: 6"]
    assert contents(home / "out" / "c0") == before
    assert [entry.attempts for entry in entries(home / "out" / MANIFEST)] == [1, 1, 2, 2, 1, 1]
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


def test_results_of_others_are_left_alone(home) -> None:
    (home / "out" / "c0" / "p1").mkdir(parents=True)
    (home / "out" / "c0" / "p1" / "run.json").write_text("{}")
    tally = run_here(find_items("clips/c0.mp4", "photos", "all"), "out")
    assert (tally.done, tally.failed) == (1, 1)
    done, failed = entries(home / "out" / MANIFEST)
    assert (done.state, failed.error) == (
        "done",
        "c0/p1: holds results of another batch; remove them or use another -o",
    )
    assert (home / "out" / "c0" / "p1" / "run.json").read_text() == "{}"


def test_other_files_in_an_items_place_fail_that_item_alone(home) -> None:
    (home / "out" / "c0" / "p1").mkdir(parents=True)
    (home / "out" / "c0" / "p1" / "notes.txt").write_text("mine")
    tally = run_here(find_items("clips/c0.mp4", "photos", "all"), "out")
    assert (tally.done, tally.failed) == (1, 1)
    _, failed = entries(home / "out" / MANIFEST)
    assert failed.error == f"{home}/out/c0/p1: holds other files; remove them or use another -o"
    assert contents(home / "out" / "c0" / "p1") == {"notes.txt": b"mine"}


def test_a_batch_goes_on_only_with_the_settings_it_was_begun_with(home) -> None:
    items = find_items("clips/c0.mp4", "photos/p0.png", "all")
    run_here(items, "out")
    workers = HereWorkers()
    assert run_here(items, "out", workers=workers).done == 1
    with pytest.raises(InputError, match=r"begun with strength = 1\.0, not 2\.0; use the settings it was begun with"):
        run_here(items, "out", workers=workers, strength=2)
    assert workers.tasks == []


def test_a_killed_drivers_item_is_done_once(home) -> None:
    """Killed after an item was in its place and before that was recorded; another item was under way."""
    items = find_items("clips/c0.mp4", "photos", "all")
    run_here(items, "out")
    before = contents(home / "out" / "c0")
    connection = sqlite3.connect(home / "out" / MANIFEST)
    connection.execute("UPDATE item SET state = 'running', seconds = NULL, metrics = '{}', outputs = '[]'")
    connection.commit()
    connection.close()
    shutil.rmtree(home / "out" / "c0" / "p1")
    (home / "out" / STAGE / "item-x" / "result").mkdir(parents=True)
    (home / "out" / STAGE / "item-x" / "result" / "edited.png").write_text("half")
    workers = HereWorkers()
    run_here(items, "out", workers=workers)
    assert [item.place for task in workers.tasks for item in task.items] == ["c0/p1"]
    check_whole(home / "out", 2)
    after = contents(home / "out" / "c0")
    assert {name: after[name] for name in before if name.startswith("p0/")} == {
        name: content for name, content in before.items() if name.startswith("p0/")
    }
    assert after["p1/edited.png"] == before["p1/edited.png"]


def test_a_record_that_is_no_longer_whole_fails_its_item(home) -> None:
    items = find_items("clips/c0.mp4", "photos", "all")
    run_here(items, "out")
    connection = sqlite3.connect(home / "out" / MANIFEST)
    connection.execute("UPDATE item SET state = 'running'")
    connection.commit()
    connection.close()
    (home / "out" / "c0" / "p1" / "run.json").write_text('{"seconds": ')
    tally = run_here(items, "out")
    assert (tally.done, tally.failed) == (1, 1)
    assert "run.json: not a whole record" in str(entries(home / "out" / MANIFEST)[1].error)


def test_animations_come_out_whole(home) -> None:
    items = find_items("clips/c[02].mp4", "photos/p0.png", "all")
    tally = run_here(items, "out", animate=True, batch_size=2)
    assert (tally.done, tally.failed) == (2, 0)
    for entry in entries(home / "out" / MANIFEST):
        made = {path.name for path in (home / "out" / entry.folder).iterdir()}
        assert made == set(entry.outputs)
        assert made >= {"animation.mp4", "animation.gif", "contact.png", "run.json", "thumbnail.jpg"}
        assert len(list((home / "out" / entry.folder).rglob("0*.png"))) == 4


@pytest.mark.slow
def test_results_reach_another_file_system(home) -> None:
    with pytest.raises(InputError):
        run_here(find_items("clips/absent.mp4", "photos", "all"), "memory://bucket/out")
    run_here(find_items("clips/c0.mp4", "photos", "all"), "memory://bucket/out")
    out = open_out("memory://bucket/out")
    assert {name.rpartition("/")[2] for name in out.fs.ls(out.path("c0/p0"), detail=False)} == RESULTS
    run_here(find_items("clips/c0.mp4", "photos", "all"), f"file://{home}/out")
    for name in ("edited.png", "preview.png", "flow.npz", "thumbnail.jpg"):
        assert out.fs.cat_file(out.path(f"c0/p1/{name}")) == (home / "out" / "c0" / "p1" / name).read_bytes()
    assert b"c0.mp4" in out.fs.cat_file(out.path("index.html"))


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


def test_rows_have_settings_and_names_lead_nowhere(home) -> None:
    strange = home / "photos" / "..\n\x1b[2J<b>é語.png"
    (home / "photos" / "p0.png").rename(strange)
    rows = [
        {"clip": str(home / "clips" / "c0.mp4"), "photo": f"photos/../photos/{strange.name}", "strength": 0.5},
        {"clip": "clips/c0.mp4", "photo": "photos/p1.png", "pair": "1:2"},
    ]
    (home / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run_here(find_items("pairs.jsonl", None, "all"), "deep/out")
    out = home / "deep" / "out"
    check_whole(out, 2)
    recipes = [json.loads((out / entry.folder / "run.json").read_text())["recipe"] for entry in entries(out / MANIFEST)]
    assert {(recipe["pair"], recipe["strength"]) for recipe in recipes} == {("0:3", 0.5), ("1:2", 1.0)}
    assert {path.name for path in home.iterdir()} == {"clips", "photos", "pairs.jsonl", "deep"}
    page = (out / "index.html").read_text()
    assert "&lt;b&gt;é語.png" in page
    assert "<b>é" not in page


@pytest.mark.slow
def test_a_clip_is_read_once_and_a_photo_cut_out_once(home, monkeypatch) -> None:
    monkeypatch.setenv("MTRANSFER_CACHE", str(home / "cache"))
    run_here(find_items("clips/c0.mp4", "photos/p0.png", "all"), "first", pair="")
    one = cache.info().by_kind
    run_here(find_items("clips/c0.mp4", "photos", "all"), "out", pair="")
    both = cache.info().by_kind
    assert (one.pop("subject")[0], both.pop("subject")[0]) == (1, 2)
    assert one == both != {}  # of the clip nothing is read anew


def test_a_name_that_is_no_text_is_done_too(home) -> None:
    os.rename(home / "photos" / "p0.png", os.fsencode(home / "photos") + b"/\xff.png")
    run_here(find_items("clips/c0.mp4", "photos", "all"), "out")
    assert [entry.photo for entry in entries(home / "out" / MANIFEST)] == ["\\xff.png", "p1.png"]
    check_whole(home / "out", 2)
