"""A batch on a cluster of two nodes of this machine, one of which is lost in the middle."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from folders import MTRANSFER, QUICK, check_whole, entries, make_folders

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

LIMIT_S = 900  # on a busy machine
SAME = ("edited.png", "preview.png", "flow.npz", "thumbnail.jpg")  # run.json says how long it took


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_lost_nodes_items_are_done_elsewhere_and_all_are_the_same_to_the_byte(tmp_path) -> None:
    make_folders(tmp_path, 3, 2)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        lost = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        driver = _batch(tmp_path, "out", "--cluster", cluster.address)
        assert driver.stdout is not None
        lines = [driver.stdout.readline()]
        cluster.remove_node(lost, allow_graceful=False)
        rest, said = driver.communicate(timeout=LIMIT_S)
    finally:
        cluster.shutdown()
    assert driver.returncode == 0, said
    *items, end = (json.loads(line) for line in [*lines, *rest.splitlines()])  # nothing but our lines
    assert [item["state"] for item in items] == ["done"] * 6
    assert (end["done"], end["failed"]) == (6, 0)
    check_whole(tmp_path / "out", 6)
    alone = _batch(tmp_path, "alone", "--workers", "1")
    alone.communicate(timeout=LIMIT_S)
    assert alone.returncode == 0
    for entry in entries(tmp_path / "out" / "manifest.sqlite"):
        for name in SAME:
            made = [(tmp_path / out / entry.folder / name).read_bytes() for out in ("out", "alone")]
            assert made[0] == made[1], f"{entry.folder}/{name}"
    gc.collect()  # what Ray's cluster leaves open is let go here, where it is no error


def _batch(home: Path, out: str, *words: str) -> subprocess.Popen[str]:
    own = {"OMP_NUM_THREADS": "1", "MTRANSFER_CACHE": str(home / f"cache of {out}")}
    whole = [*MTRANSFER, "batch", "clips", "photos", "-o", out, *QUICK, "--json", *words]
    return subprocess.Popen(
        whole, cwd=home, env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_cluster_that_is_not_there_is_one_line(tmp_path) -> None:
    make_folders(tmp_path, 1, 1)
    whole = [sys.executable, "-c", "from mtransfer.ui.cli.main import main; main()"]
    whole += ["batch", "clips", "photos", "-o", "out", *QUICK, "--cluster", "auto", "--json"]
    # A process of its own, which knows of no cluster that another test had.
    environment = {**os.environ, "RAY_ADDRESS": "", "RAY_TMPDIR": str(tmp_path)}
    ended = subprocess.run(whole, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: --cluster auto: no cluster answers (")
    assert len(ended.stderr.splitlines()) == 1


def test_without_ray_there_is_one_line(tmp_path) -> None:
    make_folders(tmp_path, 1, 1)
    script = "import sys; sys.modules['ray'] = None; from mtransfer.ui.cli.main import main; main()"
    whole = [sys.executable, "-c", script, "batch", "clips", "photos", "-o", "out", *QUICK, "--cluster", "local"]
    ended = subprocess.run(whole, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr == "error: --cluster: Ray is not installed; pip install 'mtransfer[cluster]'\n"
