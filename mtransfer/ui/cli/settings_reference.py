"""The settings reference, generated from the recipes."""

from typing import Any

from mtransfer.jobs.recipe import COMMANDS, Recipe
from mtransfer.sampling.settings import SamplerSettings, load_preset

PRESETS = ("paper", "best", "fast", "draft", "sdedit", "repaint")
HEAD = """# Settings

Every value of a job, as an option, in a recipe, or by name in Python; and every setting of the sampler, as
`--set sampler.NAME=VALUE`, in a recipe's `[sampler]` table, or in Python. Written by `mtransfer recipes settings`;
symbols in brackets are the paper's (Motion Guidance, arXiv 2401.18085).

Every job also takes `-o`/`--output` (the folder for its results), `--set`, `--overwrite`, `--no-metadata`, `--json` and
`--quiet`; `mtransfer run` takes these, and where its recipe's inputs are now.
"""


def settings_reference() -> str:
    """Markdown: a table for each command's options, and the sampler's settings with the value each preset gives."""
    parts = [HEAD, *(_command(name, kind) for name, kind in COMMANDS.items()), _sampler()]
    return "\n".join(parts)


def _command(name: str, kind: type[Recipe]) -> str:
    rows = [
        f"| `{_flag(key, info)}` | {_cell(info.description)} | {_default(info)} |"
        for key, info in kind.model_fields.items()
        if key != "sampler"
    ]
    return "\n".join([f"## mtransfer {name}", "", "| option | meaning | default |", "| --- | --- | --- |", *rows, ""])


def _sampler() -> str:
    tables = [load_preset(name) for name in PRESETS]
    rows = [
        f"| `{key}` | {_cell(info.description)} | " + " | ".join(_value(table[key]) for table in tables) + " |"
        for key, info in SamplerSettings.model_fields.items()
    ]
    head = f"| setting | meaning | {' | '.join(PRESETS)} |", "| --- " * (2 + len(PRESETS)) + "|"
    return "\n".join(["## sampler", "", *head, *rows, ""])


def _flag(key: str, info: Any) -> str:
    return key.upper() if info.json_schema_extra else f"--{key.replace('_', '-')}"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def _default(info: Any) -> str:
    if info.is_required():
        return "needed"
    return "" if info.default in ("", None, ()) else f"`{info.default}`"


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
