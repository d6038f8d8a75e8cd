import json

import pytest
import torch

from benchmarks import speed


@pytest.mark.slow
def test_every_figure_is_there_and_makes_sense(tmp_path, capsys) -> None:
    assert speed.main(["--quick", "--side", "128", "--device", "cpu", "--json", str(tmp_path / "speed.json")]) == 0
    found = json.loads((tmp_path / "speed.json").read_text())
    assert all(value > 0 for value in [*found["parts_s"].values(), *found["evaluation_s"].values()])
    assert found["images"]["paper"]["guided_evaluations"] == 4000
    assert found["images"]["fast"]["guided_evaluations"] <= 4000 / 150
    assert 0.1 < found["peak_memory_gb"] < 16
    assert "| fast |" in capsys.readouterr().out


def test_half_precision_guides_as_float32_does() -> None:
    benches = [
        speed.build("embedded", 128, torch.device("cpu"), dtype, repeats=1) for dtype in (torch.bfloat16, torch.float32)
    ]
    ratios = speed.against_float32(*benches)
    assert ratios["cosine of guidance, half precision"] > 0.95
    assert ratios["evaluation, half precision to float32"] > 0
