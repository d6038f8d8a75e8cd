"""The commands that judge: evaluate what is there, compare methods on one edit. Nothing heavy is imported before."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtransfer.errors import InputError
from mtransfer.subject.prompt import joined_options
from mtransfer.ui.cli import console

if TYPE_CHECKING:
    from mtransfer.jobs.comparison.compare import Asked, Comparison
    from mtransfer.log import Report

Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress")]
Device = Annotated[str, typer.Option(help="auto | cpu | cuda | mps")]
SHORT = ("moved_as_asked", "flow_raft_px", "flow_dis_px", "kept_ssim", "residue", "background_psnr_db")


def register(app: typer.Typer) -> None:
    """Add the commands `evaluate` and `compare` to an app."""
    app.command("evaluate")(evaluate)
    app.command("compare")(compare)


def evaluate(
    results: Annotated[list[Path], typer.Argument(help="folders of results, or folders of such folders")],
    photo: Annotated[Path | None, typer.Option(help="the photo they were made from [default: their recipe's]")] = None,
    device: Device = "auto",
    csv_: Annotated[bool, typer.Option("--csv", help="print comma-separated values")] = False,
    json_: Json = False,
) -> None:
    """Measure results: was the motion kept, the subject, the rest of the photo?"""
    console.run(lambda: _evaluate(results, photo, device, as_csv=csv_, as_json=json_))


def compare(
    inputs: Annotated[list[Path], typer.Argument(help="PHOTO with --flow or --set, or CLIP PHOTO")],
    output: Annotated[Path, typer.Option("-o", "--output", help="folder for the results")],
    flow: Annotated[Path | None, typer.Option(help="flow file: .npz .npy .flo .png .pth")] = None,
    methods: Annotated[str, typer.Option(help="some of them, a,b [default: all that can run here in minutes]")] = "",
    pair: Annotated[str, typer.Option(help="clip positions A:B [default: found]")] = "",
    subject: Annotated[list[str] | None, typer.Option(help="what of the photo moves, as for mtransfer edit")] = None,
    clip_subject: Annotated[list[str] | None, typer.Option(help="what of the clip moves")] = None,
    prompt: Annotated[str, typer.Option(help="what the photo shows, for methods that take text")] = "",
    instruction: Annotated[str, typer.Option(help="what to do, in words [default: from the motion]")] = "",
    model: Annotated[str, typer.Option(help="embedded | auto | a folder or hub id")] = "auto",
    instruct_model: Annotated[str, typer.Option(help="InstructPix2Pix: a folder or hub id")] = "",
    inpaint_model: Annotated[str, typer.Option(help="Stable Diffusion inpainting: a folder or hub id")] = "",
    seed: Annotated[int, typer.Option(help="seed of every method's noise")] = 0,
    device: Device = "auto",
    set_: Annotated[list[str] | None, typer.Option("--set", help="of the motion, a.b=c: translate=40,0")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace results already there")] = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """The same edit by every method that can run here: a sheet, a table, and a page to look at."""

    def job() -> None:
        moving, moved = (joined_options(each or ["auto"]) for each in (clip_subject, subject))
        given = {"subject": moved, "prompt": prompt, "model": model, "seed": seed, "device": device}
        of_clip = {"pair": pair, "clip_subject": moving}
        models = {"instruct": instruct_model, "inpaint": inpaint_model}
        asked = _asked(inputs, flow, given, of_clip, set_ or [], methods, instruction, models)
        with console.progress(quiet=quiet or json_) as report:
            found = compare_to_folder(asked, output, overwrite=overwrite, report=report)
        _show(found, output, as_json=json_)

    console.run(job)


def _evaluate(results: list[Path], photo: Path | None, device: str, *, as_csv: bool, as_json: bool) -> None:
    from mtransfer.devices import choose_device
    from mtransfer.evaluation.figures import measure
    from mtransfer.jobs.results import find_results, read_result

    if as_csv and as_json:
        raise InputError("--csv and --json: give one of them")
    place = choose_device(device)
    folders = find_results(results)
    rows = {str(folder): measure(*read_result(folder, photo), place) for folder in folders}
    if as_json:
        console.show(rows, as_json=True)
    else:
        print(_csv("result", rows) if as_csv else table("result", rows, SHORT), end="")


def _asked(
    inputs: list[Path],
    flow: Path | None,
    given: dict[str, Any],
    of_clip: dict[str, Any],
    overrides: list[str],
    methods: str,
    instruction: str,
    models: dict[str, str],
) -> "Asked":
    from mtransfer.evaluation.diffusers_methods import MODELS
    from mtransfer.evaluation.methods import known_methods
    from mtransfer.jobs.comparison.compare import Asked
    from mtransfer.jobs.recipe import EditRecipe, TransferRecipe

    chosen = known_methods(methods)
    named = MODELS | {name: path for name, path in models.items() if path}
    if len(inputs) == 2 and flow is None:
        values = given | of_clip | {"clip": inputs[0], "photo": inputs[1]}
        recipe = TransferRecipe.build(values, overrides)
        if recipe.camera == "photo":
            raise InputError("--set camera=photo: moves the whole photo, which no method here can be compared on")
        return Asked(recipe, chosen, instruction, named)
    if len(inputs) != 1:
        raise InputError(
            f"{len(inputs)} files{' and --flow' if flow else ''}: give PHOTO with --flow FILE, or CLIP PHOTO"
        )
    if flow is None and not overrides:
        raise InputError("no motion: give --flow FILE, one as --set translate=40,0, or CLIP PHOTO")
    if given_for_clip := [key for key, value in of_clip.items() if value not in ("", "auto")]:
        raise InputError(f"--{given_for_clip[0].replace('_', '-')}: is of a clip, and none is given")
    return Asked(EditRecipe.build(given | {"photo": inputs[0], "flow": flow}, overrides), chosen, instruction, named)


def compare_to_folder(asked: "Asked", out: Path, *, overwrite: bool, report: "Report") -> "Comparison":
    """Compare, and write report.html, sheet.png, compare.json, compare.csv, flow.npz and every method's picture."""
    from mtransfer.files import staged
    from mtransfer.flow.visualize import with_flow
    from mtransfer.jobs.comparison.compare import compare as run_all
    from mtransfer.jobs.comparison.report import page
    from mtransfer.jobs.run_job import versions
    from mtransfer.media.contact_sheet import sheet
    from mtransfer.media.photo.photo import save_png
    from mtransfer.strict_json import save_json

    with staged(out, overwrite=overwrite) as stage:
        found = run_all(asked, stage / "flow.npz", report)
        photo = found.edit.photo[0]
        panels = [("photo", photo), ("the motion asked for", with_flow(photo, found.edit.flow[0]))]
        for made in found.made:
            save_png(made.image[0], stage / f"{made.name}.png")
            panels.append((f"{made.name}, {made.figures['flow_raft_px']:.1f} px off by RAFT", made.image[0]))
        save_png(sheet(panels), stage / "sheet.png")
        rows = figures_by_method(found)
        (stage / "compare.csv").write_text(_csv("method", rows), encoding="utf-8")
        save_json(_record(found) | {"versions": versions()}, stage / "compare.json")
        (stage / "report.html").write_text(page(found, versions()), encoding="utf-8")
    return found


def figures_by_method(found: "Comparison") -> dict[str, dict[str, float | None]]:
    """Every method's figures, and its seconds."""
    return {made.name: made.figures | {"seconds": round(made.seconds, 2)} for made in found.made}


def _record(found: "Comparison") -> dict[str, Any]:
    recipe = found.recipe.model_dump(mode="json", exclude={"sampler", "preset"}, exclude_none=True)
    settings = {made.name: made.settings for made in found.made}
    return {
        "recipe": recipe,
        "methods": figures_by_method(found),
        "settings": settings,
        "not_run": found.skipped,
    }


def _show(found: "Comparison", out: Path, *, as_json: bool) -> None:
    files = {"report": str(out / "report.html"), "sheet": str(out / "sheet.png")}
    rows = figures_by_method(found)
    if as_json:
        console.show(files | {"methods": rows, "not_run": found.skipped}, as_json=True)
        return
    print(table("method", rows, (*SHORT, "seconds")), end="")
    for name, why in found.skipped.items():
        print(console.one_line(f"not run: {name}: {why}"))
    console.show(files, as_json=False)


def table(head: str, rows: dict[str, dict[str, float | None]], figures: tuple[str, ...]) -> str:
    """Aligned columns for people: a row each, figures to two places."""
    cells = [[head, *figures]]
    cells += [[console.one_line(name), *(_cell(row.get(figure)) for figure in figures)] for name, row in rows.items()]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in cells
    ]
    return "\n".join(lines) + "\n"


def _cell(value: float | None) -> str:
    return "" if value is None else "same" if value == float("inf") else f"{value:.2f}"


def _csv(head: str, rows: dict[str, dict[str, float | None]]) -> str:
    """All figures; one that is missing or infinite is empty."""
    text = io.StringIO()
    columns = list(next(iter(rows.values())))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([head, *columns])
    for name, row in rows.items():
        values = (row.get(column) for column in columns)
        writer.writerow([name, *("" if value in (None, float("inf")) else f"{value:.6g}" for value in values)])
    return text.getvalue()
