"""Items of a batch that go through the sampler together: as each alone, whatever becomes of the others."""

import json
from pathlib import Path

import pytest
import torch
from folders import HereWorkers, check_whole, entries, make_folders, run_here

from mtransfer.batch.items import find_items
from mtransfer.batch.local_workers import Event
from mtransfer.batch.scheduler import MANIFEST
from mtransfer.errors import MTransferError
from mtransfer.jobs import render
from mtransfer.jobs.render import Prepared, finish
from mtransfer.jobs.transfer import prepare_transfer

# The slope of the flow term changes sign where flow meets its target: there the last bits, which depend on how many are
# in a pass, decide which way a few pixels are pushed.
WITHIN, ON_AVERAGE = 0.5 / 255, 1e-6
FEW = {"steps": 16, "weight": 0.15, "crop": False}


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    make_folders(tmp_path, 1, 3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def jobs(home: Path, **changes: object) -> list[Prepared]:
    photos = [home / "photos" / f"p{index}.png" for index in range(2)]
    words = {
        "clip": home / "clips" / "c0.mp4",
        "pair": "0:3",
        "preset": "fast",
        "sampler": {"crop": False, "weight": 0.15, **changes},
    }
    return [prepare_transfer(photo=photo, seed=seed, **words) for seed, photo in enumerate(photos)]


@pytest.mark.slow
def test_jobs_sampled_in_one_pass_are_as_each_alone(home) -> None:
    passes: list[int] = []
    alone = [finish([job])[0] for job in jobs(home)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "sample_parts", counting(passes))
        both = finish(jobs(home))
    assert passes == [2]
    for one, other in zip(alone, both, strict=True):
        assert one.metrics["guided_evaluations"] == other.metrics["guided_evaluations"] > 0
        difference = (one.frames - other.frames).abs()
        assert difference.max() < WITHIN
        assert difference.mean() < ON_AVERAGE
    assert (both[0].frames - both[1].frames).abs().max() > 0.1  # nor are they each other's


def counting(passes: list[int], most: int = 100):
    """The real sampling, on a device that holds so many parts."""
    sample_parts = render.sample_parts

    def sample(run, tools, parts, *others):
        passes.append(len(parts))
        if len(parts) > most:
            raise torch.OutOfMemoryError("the device's memory is full")
        return sample_parts(run, tools, parts, *others)

    return sample


@pytest.mark.slow
def test_a_pass_that_is_too_large_is_made_one_by_one(home, monkeypatch) -> None:
    passes: list[int] = []
    monkeypatch.setattr(render, "sample_parts", counting(passes, most=1))
    assert len(finish(jobs(home, **FEW))) == 2
    assert passes == [2, 1, 1]
    monkeypatch.setattr(render, "sample_parts", counting(passes, most=0))
    with pytest.raises(MTransferError, match=r"the memory of cpu is full; use --low-memory, --model embedded or"):
        finish(jobs(home, **FEW))


@pytest.mark.slow
def test_a_broken_photo_fails_alone_in_its_pass(home) -> None:
    (home / "photos" / "p1.png").write_bytes(b"no picture")
    workers = HereWorkers()
    tally = run_here(
        find_items("clips", "photos", "all"), "out", workers=workers, batch_size=3, preset="fast", sampler=FEW
    )
    assert [len(task.items) for task in workers.tasks] == [3]
    assert (tally.done, tally.failed) == (2, 1)
    states = {entry.photo: entry.state for entry in entries(home / "out" / MANIFEST)}
    assert states == {"p0.png": "done", "p1.png": "failed", "p2.png": "done"}
    sizes = [json.loads((home / "out/c0" / name / "run.json").read_text())["metrics"] for name in ("p0", "p2")]
    assert all(metrics["guided_evaluations"] for metrics in sizes)


class LosingWorkers(HereWorkers):
    """One whose worker is killed in its first pass."""

    def wait(self, longest_s: float) -> list[Event]:
        if len(self.tasks) == 1 and self._task is not None:
            task, self._task = self._task, None
            return [Event("lost", task, reason="its worker was lost (SIGKILL)")]
        return super().wait(longest_s)


@pytest.mark.slow
def test_items_of_a_lost_pass_are_made_one_by_one(home) -> None:
    workers = LosingWorkers()
    run_here(find_items("clips", "photos", "all"), "out", workers=workers, batch_size=2)
    assert [len(task.items) for task in workers.tasks] == [2, 1, 1, 1]
    check_whole(home / "out", 3)
    assert sorted(entry.attempts for entry in entries(home / "out" / MANIFEST)) == [1, 2, 2]
