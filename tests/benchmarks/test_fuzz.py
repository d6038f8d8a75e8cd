"""Broken files of every kind: see benchmarks/fuzz.py."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fuzz import CASES, damaged

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_thirty_broken_files_end_well(tmp_path) -> None:
    words = [sys.executable, "-m", "benchmarks.fuzz", "--runs", "30", "--seed", "7", "--json", tmp_path / "runs.json"]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    runs = json.loads((tmp_path / "runs.json").read_text())["runs"]
    assert len(runs) == 30
    assert {run["kind"] for run in runs} == {case.kind for case in CASES}
    assert any(run["code"] for run in runs)


def test_damage_is_damage_and_the_seeds() -> None:
    whole = bytes(range(256)) * 8
    made = [damaged(whole, random.Random(seed)) for seed in range(40)]
    assert made == [damaged(whole, random.Random(seed)) for seed in range(40)]
    assert all(content != whole for content, _ in made)
    assert {"cut", "bits"} <= {word for _, said in made for word in said.split()}
