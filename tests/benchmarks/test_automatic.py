"""The automatic set: pairs of frames with the flow of what moves, as the quality benchmark reads them."""

import json

import pytest
import torch
from pictures import disc, save_clip, save_picture

from benchmarks import automatic, quality
from benchmarks.cases import read_problems
from mtransfer.errors import InputError
from mtransfer.flow.estimator import DisFlow


@pytest.mark.slow
def test_a_clip_becomes_cases_that_can_be_measured(tmp_path, capsys) -> None:
    folder, out = tmp_path / "videos", tmp_path / "set"
    folder.mkdir()
    save_clip(folder / "disc.mp4", step_px=2, frames=9)
    assert automatic.main([str(folder), "-o", str(out), "--each", "1"]) == 0
    (name,) = [path.name for path in out.iterdir() if path.is_dir()]
    assert name == "disc_0_6"
    assert json.loads((out / name / "case.json").read_text())["motion_px"] == pytest.approx(12, abs=2)
    (problem,) = read_problems([out])
    inside = problem.mask[0, 0] > 0.5
    scale = problem.photo.shape[-1] / 160
    assert float(problem.flow[0, 0][inside].median()) == pytest.approx(12 * scale, abs=1.5 * scale)
    wanted = torch.nn.functional.interpolate(disc()[None, None], inside.shape)[0, 0] > 0.5
    assert float((inside & wanted).sum() / (inside | wanted).sum()) > 0.8
    assert float((problem.after - problem.photo).abs().max()) > 0.1

    capsys.readouterr()
    both = tmp_path / "both"
    assert quality.main([str(out), "--automatic", str(out), "--methods", "warp,draft", "-o", str(both)]) == 0
    files = {path.name for path in both.iterdir()}
    assert {"automatic.json", "automatic.md", "automatic.png", "automatic_sheet.png", "paper.png"} <= files
    rows = json.loads((both / "automatic.json").read_text())[name]
    assert rows["draft"]["flow_raft_px"] < 0.5 * 12 * scale


@pytest.mark.parametrize(
    ("shift", "camera", "said"),
    [(0, 0, "nothing moves against the camera"), (2, 0, "the subject moves by"), (14, 6, "the camera moves by 6")],
)
def test_a_pair_that_would_mislead_is_left_out(shift, camera, said) -> None:
    fine = torch.rand(3, 160, 160, generator=torch.Generator().manual_seed(5))
    ground = torch.nn.functional.avg_pool2d(fine, 5, 1, 2)
    thing = torch.nn.functional.avg_pool2d(fine.flip(1), 3, 1, 1) * torch.tensor([1.0, 0.4, 0.2]).view(3, 1, 1)
    first = torch.where(disc() > 0, thing, ground)
    second = torch.where(disc(shift) > 0, thing.roll(shift, dims=-1), ground.roll(camera, dims=-1))
    with pytest.raises(InputError, match=said):
        automatic.judged("pair", torch.stack([first, second]), DisFlow())


def test_a_folder_without_videos_is_said(tmp_path, capsys) -> None:
    save_picture(tmp_path / "a.png", disc().expand(3, -1, -1))
    assert automatic.main([str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: no videos; name a folder that holds some " + (
        "(.mp4 .mov .avi .mkv .webm .m4v)\n"
    )
    assert not (tmp_path / "out").exists()
