"""The command line: arguments become a Recipe, the Recipe a job, its output files and a few lines."""

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from mtransfer import console
from mtransfer.recipe import EditRecipe, Recipe, TransferRecipe

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

OWN_OPTIONS: dict[str, tuple[Any, Any]] = {
    "output": (Annotated[Path, typer.Option("-o", "--output", help="folder for the results")], inspect.Parameter.empty),
    "set_": (Annotated[list[str] | None, typer.Option("--set", help="any setting, a.b=c")], None),
    "overwrite": (Annotated[bool, typer.Option("--overwrite", help="replace results already there")], False),
    "json_": (Annotated[bool, typer.Option("--json", help="print one JSON object")], False),
    "quiet": (Annotated[bool, typer.Option("--quiet", help="no progress")], False),
}


def _version(wanted: bool | None) -> None:
    if wanted:
        from mtransfer import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool | None, typer.Option(callback=_version, is_eager=True, help="print it")] = None,
) -> None:
    """Move the subject of a photo the way the subject of a clip moves."""


def _command(recipe_class: type[Recipe], name: str) -> None:
    """Register a command whose options are the recipe's fields."""

    def command(**values: Any) -> None:
        own = {key: values.pop(key) for key in OWN_OPTIONS}
        given = {key: value for key, value in values.items() if value is not None}
        console.run(lambda: _run(recipe_class, name, given, own))

    command.__doc__ = recipe_class.__doc__
    command.__signature__ = inspect.Signature(_parameters(recipe_class))  # type: ignore[attr-defined]
    app.command(name)(command)


def _parameters(recipe_class: type[Recipe]) -> list[inspect.Parameter]:
    """Arguments first; every option's default is None, which says that it was not given."""
    fields = {key: info for key, info in recipe_class.model_fields.items() if key != "sampler"}
    arguments = [key for key, info in fields.items() if info.json_schema_extra]
    parameters = [
        _parameter(key, Annotated[Path, typer.Argument(help=fields[key].description)], inspect.Parameter.empty)
        for key in sorted(arguments)  # clip before photo
    ]
    for key, info in fields.items():
        if key not in arguments:
            parameters.append(_parameter(key, Annotated[_type(info), _option(key, info)], None))
    return parameters + [_parameter(key, *declared) for key, declared in OWN_OPTIONS.items()]


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _option(key: str, info: Any) -> Any:
    default = f" [default: {info.default}]" if info.default not in (None, "", ()) else ""
    return typer.Option(f"--{key.replace('_', '-')}", help=f"{info.description}{default}", show_default=False)


def _type(info: Any) -> Any:
    """What Typer parses: numbers and paths as themselves, choices as text that the Recipe checks."""
    if info.annotation == tuple[str, ...]:
        return list[str] | None
    plain = {float: float, int: int, Path | None: Path}.get(info.annotation, str)
    return plain | None


def _run(recipe_class: type[Recipe], name: str, given: dict[str, Any], own: dict[str, Any]) -> None:
    recipe = recipe_class.build(given, own["set_"] or [])
    from mtransfer.job import run_to_folder

    with console.progress(quiet=own["quiet"] or own["json_"]) as report:
        lines = run_to_folder(recipe, own["output"], overwrite=own["overwrite"], report=report)
    console.show(lines, as_json=own["json_"])


def _register() -> None:
    commands: dict[str, type[Recipe]] = {"transfer": TransferRecipe, "edit": EditRecipe}
    for name, recipe_class in commands.items():
        _command(recipe_class, name)


_register()


def main() -> None:
    """The console script."""
    app()
