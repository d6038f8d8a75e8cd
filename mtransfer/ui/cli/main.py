"""The command line: arguments become a Recipe, the Recipe a job, its output files and a few lines."""

import atexit
import contextlib
import gc
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import typer

from mtransfer.files import require_file, require_free
from mtransfer.jobs.recipe import COMMANDS, EditRecipe, Recipe
from mtransfer.subject.prompt import SUBJECT_FIELDS, joined_options
from mtransfer.ui.cli import batch, compare, console, flow, gui, models, recipes

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

INPUTS = (  # of another machine
    *("photo", "clip", "flow", "noise", "strength_mask", "subject", "clip_subject", "model", "device"),
)
OWN_OPTIONS: dict[str, tuple[Any, Any]] = {
    "output": (Annotated[Path, typer.Option("-o", "--output", help="folder for the results")], inspect.Parameter.empty),
    "set_": (Annotated[list[str] | None, typer.Option("--set", help="any setting, a.b=c")], None),
    "overwrite": (Annotated[bool, typer.Option("--overwrite", help="replace results already there")], False),
    "no_metadata": (Annotated[bool, typer.Option("--no-metadata", help="say nothing of how it was made")], False),
    "json_": (Annotated[bool, typer.Option("--json", help="print one JSON object")], False),
    "quiet": (Annotated[bool, typer.Option("--quiet", help="no progress")], False),
}


@dataclass(frozen=True)
class OwnOptions:
    """What a command was given beside its recipe."""

    output: Path
    set_: list[str] | None
    overwrite: bool
    no_metadata: bool
    json_: bool
    quiet: bool

    @classmethod
    def taken_from(cls, values: dict[str, Any]) -> Self:
        """Out of all that was given."""
        return cls(**{key: values.pop(key) for key in OWN_OPTIONS})

    @property
    def silent(self) -> bool:
        """Whether no progress is shown."""
        return self.quiet or self.json_


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


def _command(recipe_class: type[Recipe], name: str, run: Callable[[Any, OwnOptions], None]) -> None:
    """Register a command whose options are the recipe's fields."""

    def command(**values: Any) -> None:
        own = OwnOptions.taken_from(values)
        given = {key: _as_one(key, value) for key, value in values.items() if value is not None}
        console.run(lambda: run(recipe_class.build(given, own.set_ or []), own))

    command.__doc__ = run.__doc__ if run is not do else recipe_class.__doc__
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
            parameters.append(_parameter(key, Annotated[_type(key, info), _option(key, info)], None))
    return parameters + [_parameter(key, *declared) for key, declared in OWN_OPTIONS.items()]


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _option(key: str, info: Any) -> Any:
    default = f" [default: {info.default}]" if info.default not in (None, "", ()) else ""
    return typer.Option(f"--{key.replace('_', '-')}", help=f"{info.description}{default}", show_default=False)


def _type(key: str, info: Any) -> Any:
    """What Typer parses: numbers and paths as themselves, choices as text that the Recipe checks."""
    if info.annotation == tuple[str, ...] or key in SUBJECT_FIELDS:
        return list[str] | None
    plain = {float: float, int: int, bool: bool, bool | None: bool, Path | None: Path}.get(info.annotation, str)
    return plain | None


def _as_one(key: str, value: Any) -> Any:
    """What was given for a field; subjects that were named one by one are one text."""
    return joined_options(value) if key in SUBJECT_FIELDS else value


def do(recipe: Recipe, own: OwnOptions, wanted_mask: str | None = None) -> None:
    """Run a recipe's job with a command's own options. What is plainly wrong is said before anything is imported."""
    for kind, one in (("clip", "video file"), ("photo", "picture")):
        if (path := getattr(recipe, kind, None)) is not None:
            require_file(path, kind, one)
    require_free(own.output, own.overwrite)
    with _much_that_stays():
        from mtransfer.jobs.run_job import run_to_folder

    with console.progress(quiet=own.silent) as report:
        lines = run_to_folder(
            recipe,
            own.output,
            overwrite=own.overwrite,
            metadata=not own.no_metadata,
            report=report,
            wanted_mask=wanted_mask,
        )
    if recipe.model == "auto" and recipe.sampler.steps and not own.silent:
        from mtransfer.devices import choose_device
        from mtransfer.sampling.model_folder import auto_in_words

        console.say(f"model: {auto_in_words(choose_device(recipe.device))}")
    console.show(lines, as_json=own.json_)


@contextlib.contextmanager
def _much_that_stays() -> Iterator[None]:
    """No garbage is looked for meanwhile: importing torch and diffusers is a sixth quicker."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _ablate(recipe: EditRecipe, own: OwnOptions) -> None:
    """Make the same edit with each part of the method left out in turn: one labelled sheet and a table."""
    from mtransfer.jobs.comparison.ablate import ablate_to_folder

    with console.progress(quiet=own.silent) as report:
        lines = ablate_to_folder(
            recipe, own.output, overwrite=own.overwrite, metadata=not own.no_metadata, report=report
        )
    console.show(lines, as_json=own.json_)


def _run_stored(**values: Any) -> None:
    """Do again what a recipe, or a result that carries one, says."""
    own = OwnOptions.taken_from(values)
    target = values.pop("recipe")
    given = {key: str(_as_one(key, value)) for key, value in values.items() if value is not None}
    console.run(lambda: do(*_stored(target, given, own)))


def _stored(target: str, given: dict[str, Any], own: OwnOptions) -> tuple[Recipe, OwnOptions, str | None]:
    from mtransfer.jobs.recipe_file import find_inputs, read_stored, wanted_mask
    from mtransfer.jobs.run_job import warn_of_other_versions

    stored = read_stored(target)
    recipe = COMMANDS[stored.command].build({}, own.set_ or [], find_inputs(stored, given))
    warn_of_other_versions(stored.versions)
    return recipe, own, wanted_mask(stored, recipe)


def _register() -> None:
    for name, recipe_class in COMMANDS.items():
        _command(recipe_class, name, do)
    _command(EditRecipe, "ablate", _ablate)
    argument = typer.Argument(help="recipe.toml, a folder that holds one, a PNG or MP4 made by mtransfer, or a name")
    inputs = {
        key: Annotated[
            list[str] | None if key in SUBJECT_FIELDS else str | None,
            typer.Option(help=f"the recipe's {key.replace('_', ' ')}, as it is here"),
        ]
        for key in INPUTS
    }
    parameters = [_parameter("recipe", Annotated[str, argument], inspect.Parameter.empty)]
    parameters += [_parameter(key, annotation, None) for key, annotation in inputs.items()]
    parameters += [_parameter(key, *declared) for key, declared in OWN_OPTIONS.items()]
    _run_stored.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app.command("run")(_run_stored)
    app.add_typer(recipes.app, name="recipes")
    app.command("flow")(flow.flow)
    batch.register(app)
    compare.register(app)
    models.register(app)
    gui.register(app)


_register()


def main() -> None:
    """The console script.

    It ends as soon as it is done: to take apart all that torch and diffusers have imported takes over a second.
    """
    try:
        app()
    except SystemExit as end:
        if isinstance(end.code, int):
            atexit._run_exitfuncs()
            with contextlib.suppress(OSError):  # that nobody reads on is dealt with by the usual end
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(end.code)
        raise
