"""The commands about the tool itself: models, doctor and cache. Nothing heavy is imported before a command runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtransfer.errors import InputError, MTransferError
from mtransfer.ui.cli import console

if TYPE_CHECKING:
    from mtransfer.catalog import Held
    from mtransfer.download import Plan
    from mtransfer.ui.cli.doctor import Finding

Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress")]
Name = Annotated[str, typer.Argument(help="a name of `models list`, or a hub id owner/name")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]

models_app = typer.Typer(no_args_is_help=True, help="Models that can be fetched, and where they are.")
cache_app = typer.Typer(no_args_is_help=True, help="Flows, subjects and inversions kept on disk.")


def register(app: typer.Typer) -> None:
    """Add the commands `models`, `cache` and `doctor` to an app."""
    app.add_typer(models_app, name="models")
    app.add_typer(cache_app, name="cache")
    app.command("doctor")(doctor)


@models_app.command("list")
def list_models(json_: Json = False) -> None:
    """Known models: on this disk or not, and their size (about, when not). Asks nobody."""

    def job() -> None:
        from mtransfer.catalog import listing

        rows = [_row(held) for held in listing()]
        if json_:
            console.show({"models": rows}, as_json=True)
            return
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            print(_line(row, width))

    console.run(job)


@models_app.command("download")
def download(name: Name, yes: Yes = False, json_: Json = False, quiet: Quiet = False) -> None:
    """Fetch a model after showing its size; what is already here is not fetched again."""

    def job() -> None:
        from mtransfer.catalog import path_on_disk

        _show_path(name, path_on_disk(name) or _download(name, yes=yes, quiet=quiet or json_), json_)

    console.run(job)


@models_app.command("path")
def model_path(name: Name, json_: Json = False) -> None:
    """Print where a model is on this disk."""

    def job() -> None:
        from mtransfer.catalog import existing_path

        _show_path(name, existing_path(name), json_)

    console.run(job)


def doctor(json_: Json = False) -> None:
    """Versions, devices, weights, caches, what would be used, and what is broken with the way to fix it."""

    def job() -> None:
        from mtransfer.ui.cli.doctor import examine

        findings = examine()
        if json_:
            console.show({"findings": [vars(finding) for finding in findings]}, as_json=True)
        else:
            _print_findings(findings)
        if broken := [finding.name for finding in findings if finding.state == "broken"]:
            raise MTransferError(f"broken: {', '.join(broken)}")

    console.run(job)


@cache_app.command("info")
def cache_info(json_: Json = False) -> None:
    """How many flows, subjects, shots and inversions are kept, their size, and the bound."""

    def job() -> None:
        from mtransfer import cache
        from mtransfer.catalog import in_words

        held = cache.info()
        if json_:
            kinds = {kind: {"files": files, "bytes": size} for kind, (files, size) in held.by_kind.items()}
            figures = {"files": held.files, "bytes": held.size_bytes, "limit_bytes": held.limit_bytes}
            console.show({"folder": held.folder, **figures, "by_kind": kinds}, as_json=True)
            return
        console.show({"folder": held.folder, "limit": in_words(held.limit_bytes)}, as_json=False)
        rows = {**held.by_kind, "all": (held.files, held.size_bytes)}
        console.show({kind: f"{files} files, {in_words(size)}" for kind, (files, size) in rows.items()}, as_json=False)

    console.run(job)


@cache_app.command("clear")
def cache_clear(json_: Json = False) -> None:
    """Remove every flow, subject, picture and inversion kept; they are made again when needed."""

    def job() -> None:
        from mtransfer import cache
        from mtransfer.catalog import in_words

        files, size = cache.clear()
        shown = {"files": files, "bytes": size} if json_ else {"removed": f"{files} files, {in_words(size)}"}
        console.show(shown, as_json=json_)

    console.run(job)


def _download(name: str, *, yes: bool, quiet: bool) -> Path:
    from mtransfer.download import carry_out, plan_for

    plan = plan_for(name)
    if not yes and not sys.stdin.isatty():
        raise InputError(f"{_in_words(plan)}; add --yes to fetch it")
    if not quiet or not yes:
        print(_in_words(plan), file=sys.stderr)
    if not yes and not _agreed():
        raise MTransferError("nothing was fetched")
    # The hub's libraries show bars of their own.
    with console.progress(quiet=quiet or plan.entry.on_hub) as report:
        return carry_out(plan, None if quiet else report)


def _in_words(plan: "Plan") -> str:
    from mtransfer.catalog import in_words

    files = f"{len(plan.files)} file{'s' if len(plan.files) > 1 else ''}"
    source = f"{plan.entry.source} (licence {plan.entry.licence})"
    return f"{plan.entry.name}: {in_words(plan.size_bytes)}, {files} of {source} into {plan.folder}"


def _agreed() -> bool:
    print("fetch? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _show_path(name: str, path: Path, json_: bool) -> None:
    """The path alone, for use inside another command."""
    if json_:
        console.show({"name": name, "path": path}, as_json=True)
    else:
        print(path)


def _row(held: "Held") -> dict[str, Any]:
    entry = held.entry
    where = {"on_disk": held.path is not None, "path": held.path, "bytes": held.size_bytes}
    return {
        "name": entry.name,
        "source": entry.source,
        "role": entry.role,
        "licence": entry.licence,
        **where,
        **_facts(held),
    }


def _facts(held: "Held") -> dict[str, Any]:
    """Of a diffusion model on disk its family, precision, and the bytes of its weights at half precision."""
    from mtransfer.sampling.adapters.layouts import facts

    found = facts(held.path) if held.path and held.entry.role == "model" else None
    return {} if found is None else vars(found)


def _line(row: dict[str, Any], width: int) -> str:
    from mtransfer.catalog import in_words

    size = f"{'' if row['on_disk'] else 'about '}{in_words(row['bytes'])}"
    state = "on disk" if row["on_disk"] else "-"
    role = row["role"]
    if "family" in row:
        role = f"{row['family']} ({row['precision']}), {in_words(row['memory_bytes'])} of memory at half precision"
    return f"{row['name']:<{width}}  {state:<7}  {size:<12}  {role}, {row['path'] or row['source']}"


def _print_findings(findings: list["Finding"]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        fix = f" -> {finding.fix}" if finding.fix else ""
        print(f"{finding.state:<7}  {finding.name:<{width}}  {finding.text}{fix}")
