import json
from pathlib import Path

import pytest
from command_line import command, contents
from PIL import Image

from mtransfer.jobs.comparison.ablate import ABLATIONS, variants
from mtransfer.sampling.settings import SamplerSettings

KITE = Path(__file__).parents[3] / "samples" / "kite.jpg"


def test_of_the_paper_every_part_can_be_left_out() -> None:
    found = variants(SamplerSettings.from_preset("paper"))
    assert list(found) == [
        *("as the preset", "no guidance", "no flow term", "no colour term", "no occlusion mask", "no edit mask"),
        *("no recursion", "no clipping", "oracle flow", "gradient at x0"),
    ]
    assert (found["no recursion"].recursions, found["no clipping"].clip) == (1, 0)
    assert not found["gradient at x0"].through_denoiser


def test_of_fast_what_it_lacks_is_not_left_out_again() -> None:
    found = variants(SamplerSettings.from_preset("fast"))
    assert {"no recursion", "no clipping", "gradient at x0"}.isdisjoint(found)
    assert found["no warm start"].start == "noise"
    assert found["gradient through the net"].through_denoiser
    assert len({each.model_dump_json() for each in found.values()}) == len(found)


@pytest.mark.slow
def test_the_command_makes_a_sheet_and_a_table(tmp_path, capsys) -> None:
    words = ["ablate", KITE, "--translate", "30,0", "--subject", "230,160", "--set", "sampler.steps=8", "--json"]
    ended = command(capsys, *words, "-o", tmp_path / "out")
    assert ended.code == 0
    assert ended.message.startswith("warning: --preset fast: the embedded model betters a warp")  # without a warm start
    table = json.loads(ended.out)
    assert table["no guidance"]["guided_evaluations"] == 0 < table["as the preset"]["guided_evaluations"]
    assert sorted(contents(tmp_path / "out")) == ["ablation.json", "ablation.png"]
    with Image.open(tmp_path / "out" / "ablation.png") as sheet:
        assert sheet.width > 1000
    assert json.loads((tmp_path / "out" / "ablation.json").read_text())["recipe"]["photo"] == str(KITE)


@pytest.mark.slow
def test_without_metadata_the_table_stands_alone(tmp_path, capsys) -> None:
    words = ["ablate", KITE, "--translate", "30,0", "--subject", "230,160", "--set", "sampler.steps=2", "--no-metadata"]
    assert command(capsys, *words, "--quiet", "-o", tmp_path / "out").code == 0
    assert list(json.loads((tmp_path / "out" / "ablation.json").read_text())) == ["table"]


def test_bad_input_leaves_nothing(tmp_path, capsys) -> None:
    ended = command(capsys, "ablate", KITE, "-o", tmp_path / "out", "--quiet")
    assert ended.code == 2
    assert "give --flow FILE" in ended.message
    assert contents(tmp_path) == {}


def test_every_ablation_changes_a_setting_that_there_is() -> None:
    names = {name for changes in ABLATIONS.values() for name in changes}
    assert names <= SamplerSettings.model_fields.keys()
