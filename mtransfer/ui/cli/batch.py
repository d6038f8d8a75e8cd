"""The commands for folders: batch and status. Nothing heavy is imported before a command runs."""

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mtransfer.errors import InputError, MTransferError
from mtransfer.processors import free_processors
from mtransfer.ui.cli import console

if TYPE_CHECKING:
    from mtransfer.batch.local_workers import Workers
    from mtransfer.batch.manifest import Entry
    from mtransfer.batch.plan import Batch, Tally
    from mtransfer.batch.scheduler import MakeWorkers

GB = 10**9
GPU_BATCH = 4
WORKER_GB = 3.0  # of memory, for one worker with the embedded model on photos of some megapixels
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Manifest_ = Annotated[
    Path | None, typer.Option("--manifest", help="the batch's record, a local file [default: OUT/manifest.sqlite]")
]


def register(app: typer.Typer) -> None:
    """Add the commands `batch` and `status` to an app."""
    app.command("batch")(batch)
    app.command("status")(status)


def batch(
    clips: Annotated[str, typer.Argument(help="folder, glob, file or list (.csv .jsonl) of clips, or list of pairs")],
    photos: Annotated[str | None, typer.Argument(help="the same of photos; left out for a list of pairs")] = None,
    *,
    output: Annotated[str, typer.Option("-o", "--output", help="folder for the results, or a URL of fsspec")],
    match: Annotated[Literal["all", "zip", "name"], typer.Option(help="which clip goes with which photo")] = "all",
    animate: Annotated[bool, typer.Option("--animate", help="make animations, not pictures")] = False,
    recipe: Annotated[str | None, typer.Option(help="the job, as for mtransfer run, its inputs apart")] = None,
    preset: Annotated[str | None, typer.Option(help="sampler settings, as for mtransfer transfer")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="any setting, a.b=c")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="processes [default: by cores, memory and GPU]")] = None,
    cluster: Annotated[str | None, typer.Option(help="work on Ray: local | auto | ADDRESS")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="items a worker samples in one pass [default: 1, on a GPU 4]")
    ] = None,
    manifest: Manifest_ = None,
    timeout: Annotated[float, typer.Option(min=1, help="seconds without progress after which an item fails")] = 300,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="do failed items again")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be done")] = False,
    json_: Annotated[bool, typer.Option("--json", help="print a JSON object a line")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False,
) -> None:
    """Every clip onto every photo, in many processes or machines; run again, it goes on where it was stopped."""

    def job() -> None:
        given = {} if preset is None else {"preset": preset}
        asked, record = _asked(clips, photos, output, match, recipe, given, set_ or [], manifest, animate)
        if dry_run:
            _show_plan(asked, record, retry_failed=retry_failed, as_json=json_)
            return
        make_workers = _workers_of(asked, workers, cluster, timeout)
        size = batch_size or (1 if is_cpu(asked.values["device"]) else GPU_BATCH)
        _run(asked, record, make_workers, size, retry_failed=retry_failed, as_json=json_, quiet=quiet)

    console.run(job)


def status(
    output: Annotated[str, typer.Argument(help="the folder of a batch's results")],
    manifest: Manifest_ = None,
    json_: Json = False,
) -> None:
    """How far a batch is, and what failed."""

    def job() -> None:
        from mtransfer.batch.lock import is_held
        from mtransfer.batch.manifest import Manifest
        from mtransfer.batch.scheduler import LOCK

        path = _record_path(output, manifest)
        with contextlib.closing(Manifest(path, read_only=True)) as record:
            entries = record.entries()
        _show_status(entries, at_work=is_held(path.absolute().parent / LOCK), as_json=json_)

    console.run(job)


def _asked(
    clips: str,
    photos: str | None,
    output: str,
    match: Literal["all", "zip", "name"],
    recipe: str | None,
    given: dict[str, Any],
    overrides: list[str],
    manifest: Path | None,
    animate: bool,
) -> tuple["Batch", Path]:
    """The batch, and its manifest's path."""
    from mtransfer.batch.items import find_items
    from mtransfer.batch.plan import ask
    from mtransfer.batch.storage import open_out

    record, out = _record_path(output, manifest), open_out(output)
    if out.local is not None and out.local.exists() and not (out.local.is_dir() and os.access(out.local, os.W_OK)):
        raise InputError(f"-o {output}: is no folder that can be written; choose another")
    items = find_items(clips, photos, match, skipped=out.local)
    return ask(items, out, recipe, given, overrides, animate=animate), record


def _record_path(output: str, manifest: Path | None) -> Path:
    from mtransfer.batch.scheduler import MANIFEST
    from mtransfer.batch.storage import open_out

    if manifest is not None:
        return manifest
    if (folder := open_out(output).local) is None:
        raise InputError(f"-o {output}: is not on this disk; name a local file for the batch's record with --manifest")
    return folder / MANIFEST


def _workers_of(asked: "Batch", workers: int | None, cluster: str | None, timeout: float) -> "MakeWorkers":
    if cluster is not None:
        from mtransfer.batch.ray_workers import ray_workers

        return ray_workers(cluster, workers, timeout, asked.values["device"])

    def make(inherited: list[int]) -> contextlib.AbstractContextManager["Workers"]:
        from mtransfer.batch.local_workers import LocalWorkers

        count = workers or default_workers(asked.values["device"])
        return contextlib.closing(LocalWorkers(count, threads_each(count), timeout, inherited))

    return make


def threads_each(workers: int) -> int:
    """Threads of one worker, so that all of them fill the cores and none waits; OMP_NUM_THREADS bounds it."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    fair = max(1, free_processors() // workers)
    return min(fair, int(asked)) if asked.isdecimal() and int(asked) else fair


def default_workers(device: str) -> int:
    """One on a GPU, which it fills; else one a core, as far as memory goes."""
    if not is_cpu(device):
        return 1
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GB
    return max(1, min(free_processors(), int(memory_gb / WORKER_GB)))


def is_cpu(device: str) -> bool:
    """Whether a recipe's device comes to be the processor."""
    from mtransfer.devices import choose_device

    return choose_device(device).type == "cpu"


def _run(
    asked: "Batch",
    record: Path,
    make_workers: "MakeWorkers",
    batch_size: int,
    *,
    retry_failed: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    from mtransfer.batch.scheduler import run_batch

    stdout, said = sys.stdout, set[str]()

    def hear(entry: "Entry", tally: "Tally", warnings: list[str]) -> None:
        for warning in (text for text in warnings if text not in said):
            console.say(warning)
        said.update(warnings)
        show(entry, tally)
        if as_json:
            print(console.strict_json(_item(entry) | _progress(tally)), file=stdout, flush=True)
        elif entry.error:
            console.warn(f"{entry.clip} with {entry.photo}: {entry.error}")

    # With --json, stdout is for our lines alone, whatever a library prints.
    with contextlib.redirect_stdout(sys.stderr), _bar(quiet=quiet or as_json) as show:
        try:
            tally = run_batch(asked, record, make_workers, hear, retry_failed=retry_failed, batch_size=batch_size)
        except KeyboardInterrupt:
            console.say("interrupted; what is done stays done, and the same command goes on")
            raise SystemExit(130) from None
    _end(tally, asked, as_json=as_json)


def _end(tally: "Tally", asked: "Batch", *, as_json: bool) -> None:
    page = f"{asked.out.root}/index.html"
    console.show({"done": tally.done, "failed": tally.failed, "total": tally.total, "page": page}, as_json=as_json)
    if tally.failed:
        raise MTransferError(f"{tally.failed} of {tally.total} items failed; `mtransfer status` says why")


def _item(entry: "Entry") -> dict[str, Any]:
    keys = ("clip", "photo", "folder", "state", "attempts", "error", "seconds", "metrics", "outputs")
    return {key: getattr(entry, key) for key in keys}


def _progress(tally: "Tally") -> dict[str, Any]:
    figures = {"done": tally.done, "failed": tally.failed, "total": tally.total}
    return {"progress": figures | {"rate_per_s": tally.rate_per_s, "left_s": tally.left_s}}


@contextlib.contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[["Entry", "Tally"], None]]:
    """A bar on stderr: how many of how many, a minute, time left, failures."""
    if quiet or not sys.stderr.isatty():
        yield lambda entry, tally: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("items"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None, text="")

        def show(entry: "Entry", tally: "Tally") -> None:
            failed = f" · {tally.failed} failed" if tally.failed else ""
            text = f"{60 * tally.rate_per_s:.1f} a minute · {_clock(tally.left_s)} left{failed}"
            bars.update(task, completed=tally.done + tally.failed, total=tally.total, text=text)

        yield show


def _clock(seconds: float | None) -> str:
    return "?" if seconds is None else str(timedelta(seconds=round(seconds)))


def _show_plan(asked: "Batch", record: Path, *, retry_failed: bool, as_json: bool) -> None:
    """Every item, where it would go, and whether it would be done; nothing is written."""
    from mtransfer.batch.manifest import Manifest
    from mtransfer.batch.plan import plan

    with contextlib.ExitStack() as held:
        manifest = held.enter_context(contextlib.closing(Manifest(record, read_only=True))) if record.exists() else None
        folders = plan(asked, manifest)
        states = {(entry.clip, entry.photo): entry.state for entry in manifest.entries()} if manifest else {}
    kept = ("done",) if retry_failed else ("done", "failed")
    for item in asked.items:
        state = states.get(item.key, "pending")
        action = "skip" if state in kept else "do"
        line = {"clip": item.clip.name, "photo": item.photo.name, "folder": folders[item.key], "state": state}
        if as_json:
            print(console.strict_json(line | {"action": action}))
        else:
            print(
                console.one_line(f"{action:<4}  {state:<7}  {item.clip.name}  {item.photo.name}  {folders[item.key]}")
            )


def _show_status(entries: list["Entry"], *, at_work: bool, as_json: bool) -> None:
    counts = Counter(entry.state for entry in entries)
    figures = {"total": len(entries)} | {state: counts[state] for state in ("done", "failed", "running", "pending")}
    if as_json:
        console.show({**figures, "at_work": at_work, "items": [_item(entry) for entry in entries]}, as_json=True)
        return
    console.show(figures, as_json=False)
    for entry in entries:
        if entry.error:
            print(console.one_line(f"failed: {entry.clip} with {entry.photo}: {entry.error}"))
    if not at_work and counts["pending"] + counts["running"]:
        print("nobody is at work on it; the same mtransfer batch command goes on")
