"""`mtransfer flow`: its files, read by readers that are not ours."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import command, contents
from pictures import SIDE_PX, disc, save_clip

from mtransfer.flow.io import load_field
from mtransfer.flow.loading import resolve_flow_model

STEP_PX, FRAMES = 3, 5


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", step_px=STEP_PX, frames=FRAMES)


@pytest.fixture
def fields(clip, tmp_path, capsys) -> dict[str, Path]:
    """The same flow in every format."""
    paths = {suffix: tmp_path / f"moved{suffix}" for suffix in (".npz", ".npy", ".flo", ".png")}
    for path in paths.values():
        ended = command(capsys, "flow", clip, "--pair", "0:2", "-o", path, "--flow-model", "dis")
        assert (ended.code, ended.err) == (0, "")
    assert contents(tmp_path).keys() == {path.name for path in paths.values()}
    return paths


def test_every_format_says_the_same_to_every_reader(fields) -> None:
    with np.load(fields[".npz"], allow_pickle=False) as arrays:
        flow, confidence = arrays["flow"], arrays["confidence"]
    assert flow.shape == (1, 2, SIDE_PX, SIDE_PX)
    assert confidence.shape == (1, 1, SIDE_PX, SIDE_PX)
    inside = disc().numpy() > 0
    assert abs(np.median(flow[0, 0][inside]) - 2 * STEP_PX) < 0.5
    assert abs(np.median(flow[0, 1][inside])) < 0.5
    assert np.array_equal(np.load(fields[".npy"], allow_pickle=False), flow)
    rows = flow[0].transpose(1, 2, 0)
    assert np.array_equal(cv2.readOpticalFlow(str(fields[".flo"])), rows)
    # KITTI: 16 bits, red (u) and green (v) are 64 px + 2^15, blue is validity; OpenCV gives blue, green, red.
    blue, green, red = np.moveaxis(cv2.imread(str(fields[".png"]), cv2.IMREAD_UNCHANGED), -1, 0)
    assert red.dtype == np.uint16
    assert np.array_equal(blue, confidence[0, 0] > 0.5)
    valid = blue > 0
    assert 0.2 < valid.mean() <= 1
    for level, component in ((red, rows[..., 0]), (green, rows[..., 1])):
        decoded = (level.astype(np.float64) - 2**15) / 64
        assert np.abs(decoded - component)[valid].max() <= 1 / 128
        assert not level[~valid].any()


def test_what_is_written_can_be_an_edits_flow(fields) -> None:
    whole = load_field(fields[".npz"], size=(SIDE_PX, SIDE_PX))
    for suffix in (".npy", ".flo"):
        assert np.array_equal(load_field(fields[suffix], size=(SIDE_PX, SIDE_PX)).flow, whole.flow)


def test_the_whole_clip_is_read_unless_said_and_the_pair_is_told(clip, tmp_path, capsys) -> None:
    ended = command(capsys, "flow", clip, "-o", tmp_path / "moved.npz", "--json", "--flow-model", "dis")
    values = json.loads(ended.out)
    assert (ended.code, values["flow"], values["pair"]) == (0, str(tmp_path / "moved.npz"), f"0:{FRAMES - 1}")
    field = load_field(tmp_path / "moved.npz")
    assert values["confident_share"] == pytest.approx(float(field.confidence.mean()), abs=1e-3)
    command(capsys, "flow", clip, "-o", tmp_path / "back.npz", "--pair", "0.35s:0s", "--flow-model", "dis")
    back = load_field(tmp_path / "back.npz")
    there, here = (field.flow[0, 0, 80, 75], back.flow[0, 0, 80, 85])
    assert there > 2 * STEP_PX
    assert here < -2 * STEP_PX


def test_the_flow_net_is_raft_unless_said(clip, tmp_path, capsys) -> None:
    inside = disc().numpy() > 0
    for name, options in {"auto": [], "embedded": ["--flow-model", "embedded"], "dis": ["--flow-model", "dis"]}.items():
        command(capsys, "flow", clip, "--pair", "0:3", "-o", tmp_path / f"{name}.npy", "--device", "cpu", *options)
        assert abs(np.median(np.load(tmp_path / f"{name}.npy")[0, 0][inside]) - 3 * STEP_PX) < 2
    raft, dis = (np.load(tmp_path / f"{name}.npy") for name in ("auto", "dis"))
    assert not np.array_equal(raft, dis)
    if resolve_flow_model("auto") == "embedded":
        assert np.array_equal(raft, np.load(tmp_path / "embedded.npy"))


def test_a_file_that_is_there_stays_unless_overwritten(clip, tmp_path, capsys) -> None:
    path = tmp_path / "moved.flo"
    path.write_bytes(b"mine")
    ended = command(capsys, "flow", clip, "-o", path, "--flow-model", "dis")
    assert (ended.code, path.read_bytes()) == (2, b"mine")
    assert ended.message == f"error: -o {path}: is already there; add --overwrite or choose another name"
    assert command(capsys, "flow", clip, "-o", path, "--flow-model", "dis", "--overwrite").code == 0
    assert cv2.readOpticalFlow(str(path)).shape == (SIDE_PX, SIDE_PX, 2)


def test_the_suffix_may_be_in_capitals(clip, tmp_path, capsys) -> None:
    assert command(capsys, "flow", clip, "-o", tmp_path / "moved.NPY", "--flow-model", "dis").code == 0
    assert np.load(tmp_path / "moved.NPY").shape == (1, 2, SIDE_PX, SIDE_PX)
