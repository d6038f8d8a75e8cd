"""What of the machine is ours: a container's quota counts, and what the user has set stays."""

import os
from pathlib import Path

import pytest

from mtransfer import processors
from mtransfer.processors import free_processors, settle_threads


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Eight processors, and control groups as files say."""
    monkeypatch.setattr(processors, "_bound_to", lambda: 8)
    monkeypatch.setattr(processors, "CGROUP", tmp_path)
    monkeypatch.setattr(processors, "MEMBERSHIP", tmp_path / "membership")
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)

    def write(group: str, limit: str) -> None:
        folder = tmp_path / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(limit + "\n")
        (tmp_path / "membership").write_text(f"0::/{group}\n")

    return write


@pytest.mark.parametrize(
    ("limit", "free"), [("max 100000", 8), ("300000 100000", 3), ("50000 100000", 1), ("1600000 100000", 8), ("", 8)]
)
def test_a_quota_bounds_the_processors(machine, limit: str, free: int) -> None:
    machine("", limit)
    assert free_processors() == free


def test_the_tightest_of_nested_groups_counts(machine) -> None:
    machine("outer", "200000 100000")
    machine("outer/inner", "max 100000")
    assert free_processors() == 2


def test_without_control_groups_all_are_free(machine, monkeypatch) -> None:
    monkeypatch.setattr(processors, "MEMBERSHIP", Path("/nowhere"))
    assert free_processors() == 8


def test_threads_wait_asleep_and_fit_the_quota(machine) -> None:
    machine("", "200000 100000")
    settle_threads()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["OMP_NUM_THREADS"]) == ("PASSIVE", "2")


def test_without_a_quota_the_threads_stay_as_they_are(machine) -> None:
    machine("", "max 100000")
    settle_threads()
    assert "OMP_NUM_THREADS" not in os.environ


def test_what_the_user_has_set_stays(machine, monkeypatch) -> None:
    machine("", "200000 100000")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    settle_threads()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["OMP_NUM_THREADS"]) == ("ACTIVE", "5")
