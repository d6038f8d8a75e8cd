"""What a batch survives: killed workers and drivers, a decoder that hangs, a full disk."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command_line import command
from folders import QUICK, check_whole, entries, make_folders, run_here, start

from benchmarks.kills import kill_again_and_again, make_inputs
from mtransfer.batch.items import find_items
from mtransfer.batch.lock import is_held, sole_driver
from mtransfer.batch.storage import STAGE, open_out, stage
from mtransfer.errors import MTransferError

QUICKLY_S = 120  # on a busy machine


@pytest.mark.slow
def test_five_kills_lose_and_double_nothing(tmp_path) -> None:
    make_inputs(tmp_path, clips=4, photos=3)
    run = kill_again_and_again(tmp_path, "draft", kills=5, seed=1)
    assert run.driver_kills + run.worker_kills == 5
    assert (run.items, run.faults) == (12, [])
    check_whole(tmp_path / "out", 12)


@pytest.mark.slow
def test_a_clip_that_would_be_waited_for_for_ever_fails_alone(tmp_path, monkeypatch, capsys) -> None:
    make_folders(tmp_path, 1, 1)
    os.mkfifo(tmp_path / "clips" / "b.mp4")
    monkeypatch.chdir(tmp_path)
    words = ("batch", "clips", "photos", "-o", "out", *QUICK, "--workers", "1", "--timeout", "5", "--json")
    ended = command(capsys, *words)
    assert ended.code == 1
    states = {entry.clip: (entry.state, entry.error) for entry in entries(tmp_path / "out" / "manifest.sqlite")}
    assert states["c0.mp4"] == ("done", None)
    assert states["b.mp4"][0] == "failed"
    assert "b.mp4 is no file" in str(states["b.mp4"][1])
    assert not list((tmp_path / "out" / STAGE).glob("*"))


@pytest.mark.slow
def test_a_worker_that_makes_no_progress_is_ended_and_its_item_fails(tmp_path, monkeypatch, capsys) -> None:
    make_folders(tmp_path, 1, 1)
    os.mkfifo(tmp_path / "photos" / "stuck.png")  # whoever opens it waits for ever
    monkeypatch.chdir(tmp_path)
    words = ("batch", "clips", "photos", "-o", "out", *QUICK, "--workers", "1", "--timeout", "5", "--json")
    ended = command(capsys, *words)
    assert ended.code == 1
    states = {entry.photo: (entry.state, entry.error) for entry in entries(tmp_path / "out" / "manifest.sqlite")}
    assert states["stuck.png"][0] == "failed"
    assert str(states["stuck.png"][1]).startswith("no progress for 5 s at the stage ")


@pytest.mark.slow
def test_a_full_disk_stops_the_batch_and_loses_nothing(tmp_path, monkeypatch) -> None:
    make_folders(tmp_path, 1, 2)
    monkeypatch.chdir(tmp_path)
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        items = find_items("clips", "photos", "all")
        (small / "ballast").write_bytes(bytes(2**22 - 200 * 1024))
        with pytest.raises(MTransferError, match=r"the disk is full; free some space, nothing was written; then run"):
            run_here(items, "small/out")
        assert not list((small / "out").glob("*/*/*.png"))
        assert not (small / "out" / STAGE).exists()
        (small / "ballast").unlink()
        run_here(items, "small/out")
        check_whole(small / "out", 2)
    finally:
        subprocess.run(["umount", small], check=True)


def test_workers_end_with_their_driver(tmp_path) -> None:
    make_folders(tmp_path, 2, 2)
    driver = start(tmp_path, *QUICK, "--workers", "2")
    workers = _wait_for_workers(driver.pid)
    driver.kill()
    driver.communicate()
    _until(lambda: not any(map(_lives, workers)))
    _until(lambda: not is_held(tmp_path / "out" / ".lock"))


def test_an_interrupt_ends_in_one_line_and_130(tmp_path) -> None:
    make_folders(tmp_path, 2, 2)
    driver = start(tmp_path, *QUICK, "--workers", "1")
    workers = _wait_for_workers(driver.pid)
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate(timeout=QUICKLY_S)
    assert (driver.returncode, said) == (130, "interrupted; what is done stays done, and the same command goes on\n")
    _until(lambda: not any(map(_lives, workers)))  # one that has only begun notices by itself


def _wait_for_workers(driver: int) -> list[int]:
    found: list[int] = []

    def there() -> bool:
        done = subprocess.run(["pgrep", "-P", str(driver)], capture_output=True, text=True)
        found[:] = [int(word) for word in done.stdout.split()]
        return bool(found)

    _until(there)
    return found


def _lives(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def _until(true: object) -> None:
    until = time.monotonic() + QUICKLY_S
    while not true():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_lock_waits_for_workers_of_a_driver_that_has_ended(tmp_path) -> None:
    path = tmp_path / ".lock"
    with sole_driver(path) as lock:
        held = subprocess.Popen(["sleep", "2"], pass_fds=[lock])
        path.write_text("999999999")  # of no process: as if the driver had been killed
    assert is_held(path)
    with sole_driver(path):
        assert held.poll() is not None
    held.wait()
    assert not is_held(path)


def test_a_stage_is_gone_after_an_error(tmp_path) -> None:
    with pytest.raises(OSError), stage(open_out(str(tmp_path))) as folder:  # noqa: PT011, PT012 - any will do
        (folder / "part").write_text("x")
        (folder / "part").mkdir()
    assert not list((tmp_path / STAGE).iterdir())
