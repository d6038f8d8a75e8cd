"""The commands that list, show and copy recipes, and the reference of all settings."""

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from mtransfer.errors import InputError
from mtransfer.sampling.settings import pipelines_folder
from mtransfer.ui.cli import console

app = typer.Typer(no_args_is_help=True, help="List, show and copy presets and recipes.")
Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]
Name = Annotated[str, typer.Argument(help="as in `mtransfer recipes list`")]


@app.command("list")
def list_(json_: Json = False) -> None:
    """Every preset and recipe, with its first comment."""
    console.run(lambda: console.show({name: _comment(path) for name, path in _known().items()}, as_json=json_))


@app.command()
def show(name: Name) -> None:
    """Print a preset or recipe."""
    console.run(lambda: print(_text(name), end=""))


@app.command()
def copy(
    name: Name,
    destination: Annotated[Path, typer.Argument(help="a .toml file to write")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a file already there")] = False,
) -> None:
    """Copy a recipe, to be changed and run; a preset becomes a recipe's [sampler] table."""
    console.run(lambda: _copy(name, destination, overwrite))


@app.command()
def settings() -> None:
    """Print the reference of all settings as Markdown."""
    from mtransfer.ui.cli.settings_reference import settings_reference

    console.run(lambda: print(settings_reference(), end=""))


def _known() -> dict[str, Path]:
    folder = pipelines_folder()
    jobs = {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return jobs | {f"presets/{path.stem}": path for path in sorted((folder / "presets").glob("*.toml"))}


def _text(name: str) -> str:
    known = _known()
    path = known.get(name) or known.get(f"presets/{name}")
    if path is None:
        raise InputError(f"{name}: no such recipe; use one of {', '.join(known)}")
    return path.read_text(encoding="utf-8")


def _comment(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def _copy(name: str, destination: Path, overwrite: bool) -> None:
    text = _text(name)
    if destination.suffix != ".toml":
        raise InputError(f"{destination}: name a .toml file")
    if destination.exists() and not overwrite:
        raise InputError(f"{destination}: is already there; add --overwrite or choose another name")
    if "command" not in tomllib.loads(text):
        text = f'command = "transfer"  # or "edit"\n\n{text}'
    try:
        part = destination.with_name(f".{destination.name}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(destination)
    except OSError as error:
        raise InputError(f"{destination}: cannot be written ({error.strerror}); choose another place") from error
    print(destination)
