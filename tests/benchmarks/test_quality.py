"""The quality benchmark on a small case: what it reads, what it writes, and that its statistics are right."""

import json

import numpy as np
import pytest
import torch

from benchmarks import quality
from benchmarks.cases import completed, read_problems
from benchmarks.statistics import differences, interval, values_of
from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField, affine_flow
from mtransfer.flow.io import save_field
from mtransfer.media.photo.photo import save_png

SIZE = (192, 256)


@pytest.fixture
def case(tmp_path):
    """A folder with one case: a bright square that moves 40 px to the right."""
    ground = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.2
    mask = torch.zeros(1, *SIZE)
    mask[:, 60:130, 40:110] = 1
    moved = mask.roll(40, dims=-1)
    flow = torch.tensor([40.0, 0.0]).view(1, 2, 1, 1) * mask
    folder = tmp_path / "cases" / "square"
    folder.mkdir(parents=True)
    save_png(ground * (1 - mask) + 0.9 * mask, folder / "src.png")
    save_png(ground * (1 - moved) + 0.9 * moved, folder / "true.png")
    save_png(ground, folder / "other.png")
    save_field(FlowField.from_flow(flow), folder / "flow.npz")
    return folder


def test_a_folder_of_cases_gives_table_plot_sheet_and_json(case, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert quality.main([str(case.parent), "-o", str(out), "--methods", "warp,draft"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        *("paper.png", "quality.json", "quality.md", "quality.png", "sheet.png")
    ]
    rows = json.loads((out / "quality.json").read_text())["square"]
    assert set(rows) == {"warp", "draft", "other"}
    assert rows["warp"]["residue"] > 0.9 > 0.2 > rows["draft"]["residue"]
    assert rows["draft"]["vacated_psnr_db"] > rows["warp"]["vacated_psnr_db"] + 5
    assert rows["other"]["subject_psnr_db"] < rows["draft"]["subject_psnr_db"]
    assert rows["draft"]["clip"] is None
    text = capsys.readouterr().out
    assert "| draft |" in text
    assert "nan" not in text


@pytest.mark.parametrize("missing", ["src.png", "flow.npz"])
def test_a_folder_that_is_no_case_is_named(case, missing) -> None:
    (case / missing).unlink()
    with pytest.raises(InputError, match=r"square: no case|: no case; a case is a folder"):
        read_problems([case])


def test_a_wrong_folder_or_method_ends_in_one_line(case, tmp_path, capsys) -> None:
    assert quality.main([str(tmp_path / "absent"), "-o", str(tmp_path / "o")]) == 2
    assert quality.main([str(case), "--methods", "magic", "-o", str(tmp_path / "o")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") for line in lines] == [True, True]
    assert not (tmp_path / "o").exists()


def test_the_interval_holds_the_mean_and_narrows() -> None:
    rng = np.random.default_rng(3)
    few, many = (list(rng.normal(5, 1, count)) for count in (10, 400))
    for values in (few, many):
        mean, low, high = interval(values)
        assert low < mean < high
        assert mean == pytest.approx(np.mean(values))
    assert np.diff(interval(many)[1:]) < 0.5 * np.diff(interval(few)[1:])
    assert all(np.isnan(interval([])))


def test_differences_are_taken_case_by_case() -> None:
    rows = {"a": {"x": {"f": 1.0}, "y": {"f": 3.0}}, "b": {"x": {"f": None}, "y": {"f": 1.0}}, "c": {"x": {"f": 2.0}}}
    assert values_of(rows, "x", "f") == [1.0, 2.0]
    assert differences(rows, "x", "y", "f") == [-2.0]


def test_flow_that_is_not_trusted_is_carried_on_for_every_method() -> None:
    flow, confidence = affine_flow((64, 64), (32, 32), rotate_deg=10).flow, torch.ones(1, 1, 64, 64)
    torn = flow.clone()
    torn[..., 20:30, 20:30], confidence[..., 20:30, 20:30] = 0, 0
    torch.testing.assert_close(completed(torn, confidence, torch.ones(1, 1, 64, 64)), flow, atol=0.2, rtol=0)


@pytest.mark.slow
def test_the_tables_of_a_page_are_written_anew_and_the_rest_stays(case, tmp_path, capsys) -> None:
    page = tmp_path / "results.md"
    page.write_text("# Results\n\n## What to read\n\nBy hand.\n\n## MotionBench, old\n\n### Old\n\n## Speed\n\nFast.\n")
    words = ["-o", str(tmp_path / "out"), "--methods", "warp", "--results", str(page)]
    for _ in range(2):  # done again it stays the same
        assert quality.main([str(case), *words, "--automatic", str(case.parent)]) == 0
        heads = [line for line in page.read_text().splitlines() if line.startswith("#")]
        assert heads == [
            *("# Results", "## What to read", "## MotionBench, reported half: 1 edits", "### All 1 cases"),
            *("## Speed", "## The automatic set: 1 edits", "### All 1 cases"),
        ]
        assert "\nBy hand.\n\n## MotionBench" in page.read_text()
        assert "\n\n## Speed\n\nFast.\n\n## The automatic" in page.read_text()
        assert page.read_text().count("| warp |") == 8
