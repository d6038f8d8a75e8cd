"""What the documentation says is so: its reference is the generated one, and its examples run."""

import re
from pathlib import Path

import pytest

from mtransfer.jobs.recipe import COMMANDS
from mtransfer.sampling.settings import SamplerSettings, load_preset, pipelines_folder
from mtransfer.ui.cli.main import OWN_OPTIONS
from mtransfer.ui.cli.settings_reference import PRESETS, settings_reference

ROOT = Path(__file__).parents[2]
SETTINGS = ROOT / "docs" / "settings.md"
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
# Algorithm 1 and equations 3 to 5 of arXiv 2401.18085.
SYMBOLS = {
    "recursions": "K",
    "weight": "s",
    "w_flow": "lambda_flow",
    "w_color": "lambda_color",
    "occlusion": "m_occ",
    "clip": "c_g",
    "edit_mask": "m",
}


def test_the_settings_reference_is_the_generated_one() -> None:
    """Mended by `mtransfer recipes settings > docs/settings.md`."""
    assert SETTINGS.read_text(encoding="utf-8") == settings_reference()


def rows() -> dict[str, list[str]]:
    """The cells of each table row by its first, with `|` in a cell as it is meant."""
    table = {}
    for line in settings_reference().splitlines():
        if line.startswith("| `"):
            name, *cells = (cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1])
            table[name.strip("`")] = cells
    return table


@pytest.mark.parametrize(("setting", "symbol"), SYMBOLS.items())
def test_a_setting_is_found_by_the_papers_symbol(setting, symbol) -> None:
    found = [name for name, cells in rows().items() if f"[{symbol}]" in cells[0]]
    assert found == [setting]


def test_every_symbol_of_the_settings_is_in_the_reference() -> None:
    named = {
        name: symbols
        for name, info in SamplerSettings.model_fields.items()
        if (symbols := re.findall(r"\[(\w+)\]", info.description or ""))
    }
    assert {name: [symbol] for name, symbol in SYMBOLS.items()} == named


@pytest.mark.parametrize("setting", SamplerSettings.model_fields)
def test_the_reference_says_what_each_preset_sets(setting) -> None:
    assert set(PRESETS) == {path.stem for path in (pipelines_folder() / "presets").glob("*.toml")}
    values = [load_preset(name)[setting] for name in PRESETS]
    assert rows()[setting][1:] == [str(value).lower() if isinstance(value, bool) else str(value) for value in values]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_names_every_option_of_a_job(command) -> None:
    text = settings_reference()
    section = text[text.index(f"## mtransfer {command}\n") :].split("\n## ")[0]
    for key, info in COMMANDS[command].model_fields.items():
        named = key.upper() if info.json_schema_extra else f"--{key.replace('_', '-')}"
        assert (f"| `{named}` |" in section) == (key != "sampler"), key


def test_the_reference_names_what_every_job_takes() -> None:
    for annotation, _ in OWN_OPTIONS.values():
        for flag in annotation.__metadata__[0].param_decls:
            assert f"`{flag}`" in settings_reference()


def test_the_readme_has_examples() -> None:
    assert BLOCKS


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_readmes_examples_run(block, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})
    assert ("print(" in block) == bool(capsys.readouterr().out)
