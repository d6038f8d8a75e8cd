import json

import pytest

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
