"""Broken files of every kind, given to the commands that read them: no traceback, no hang, no half result.

python -m benchmarks.fuzz [--runs 200] [--seed 0] [--json FILE]

A run flips bits in a whole file, or cuts it short, as its seed says, and gives it to a command in a process apart: a
forked child of one that has imported everything. A run is well when the command ends by itself within the limit, with
exit code 0, or with 1 or 2 and one line, and leaves whole results or none.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from mtransfer.batch.manifest import Manifest
from mtransfer.flow.loading import EMBEDDED_FLOW
from mtransfer.jobs.recipe import EditRecipe, TransferRecipe
from mtransfer.jobs.run_job import run_to_folder
from mtransfer.media.video_writer import write_video
from mtransfer.strict_json import strict_json

LIMIT_S = 60.0
SIDE_PX, FRAMES = 128, 5
MOST_FLIPS = 64
OUT = "out"


@dataclass(frozen=True)
class Case:
    """A kind of file, one whole file of it, and the command that reads it: `{file}` is the broken one."""

    kind: str
    file: str
    words: str


CASES = (
    Case("clip", "clip.mp4", "transfer {file} photo.png --preset draft --pair 0:4 -o out"),
    Case("clip", "clip.avi", "flow {file} --pair 0:4 -o out/flow.npz"),
    Case("photo", "photo.png", "edit {file} --translate 12,0 --preset draft -o out"),
    Case("photo", "photo.jpg", "edit {file} --translate 12,0 --preset draft -o out"),
    Case("photo", "photo.webp", "edit {file} --translate 12,0 --preset draft -o out"),
    Case("photo", "photo.tiff", "edit {file} --translate 12,0 --preset draft -o out"),
    Case("recipe", "recipe.toml", "run {file} --photo photo.png -o out"),
    Case("recipe", "result.png", "run {file} --photo photo.png -o out"),
    Case("flow", "flow.npz", "edit photo.png --flow {file} --preset draft -o out"),
    Case("flow", "flow.npy", "edit photo.png --flow {file} --preset draft -o out"),
    Case("flow", "flow.flo", "edit photo.png --flow {file} --preset draft -o out"),
    Case("flow", "flow.png", "edit photo.png --flow {file} --preset draft -o out"),
    Case("flow", "flow.pth", "edit photo.png --flow {file} --preset draft -o out"),
    Case("weights", "embedded.safetensors", "transfer clip.mp4 photo.png --preset draft --pair 0:4 -o out"),
    Case("manifest", "manifest.sqlite", "status . --manifest {file}"),
    Case("manifest", "manifest.sqlite", "batch clip.mp4 photo.png --preset draft --manifest {file} -o out --dry-run"),
    Case("list", "list.csv", "batch {file} -o out --dry-run"),
    Case("list", "list.jsonl", "batch {file} -o out --dry-run"),
)


@dataclass(frozen=True)
class Run:
    """One broken file: what was done to it, how the command ended, and what is wrong with that (empty: nothing)."""

    kind: str
    file: str
    damage: str
    code: int
    seconds: float
    said: str
    fault: str


def make_files(home: Path) -> None:
    """One whole file of every kind."""
    y, x = torch.meshgrid(torch.arange(SIDE_PX), torch.arange(SIDE_PX), indexing="ij")
    disc = ((x - 52) ** 2 + (y - 64) ** 2 < 24**2).float()
    rough = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))[None]
    ground = 0.4 * torch.nn.functional.interpolate(rough, (SIDE_PX, SIDE_PX), mode="bicubic").clamp(0, 1)[0]
    bright = torch.cat([0.9 * torch.ones_like(ground[:1]), 0.6 * torch.rand(2, SIDE_PX, SIDE_PX)])
    frames = [
        torch.where(torch.roll(disc, 3 * step, -1) > 0, torch.roll(bright, 3 * step, -1), ground)
        for step in range(FRAMES)
    ]
    write_video(torch.stack(frames), home / "clip.mp4", 12)
    _write_avi(frames, home / "clip.avi")
    photo = Image.fromarray((255 * frames[0].permute(1, 2, 0)).byte().numpy())
    for name in ("photo.png", "photo.jpg", "photo.webp", "photo.tiff"):
        photo.save(home / name)
    _make_flows(home)
    _make_results(home)
    shutil.copy(EMBEDDED_FLOW, home / "embedded.safetensors")


def _write_avi(frames: list[torch.Tensor], path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=12)
        stream.width = stream.height = SIDE_PX
        for frame in frames:
            pixels = (255 * frame.permute(1, 2, 0)).byte().contiguous().numpy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def _make_flows(home: Path) -> None:
    from mtransfer.flow.field import FlowField
    from mtransfer.flow.io import save_field

    flow = torch.zeros(1, 2, SIDE_PX, SIDE_PX)
    flow[:, 0, 40:88, 28:76] = 12
    for name in ("flow.npz", "flow.npy", "flow.flo", "flow.png"):
        save_field(FlowField.from_flow(flow), home / name)
    torch.save(flow, home / "flow.pth")


def _make_results(home: Path) -> None:
    """A result that carries its recipe, that recipe, a manifest, and lists."""
    from mtransfer.jobs.recipe_file import read_stored

    values = {"photo": home / "photo.png", "translate": "12,0", "preset": "draft"}
    run_to_folder(
        EditRecipe.build(values, []), home / "made", overwrite=False, metadata=True, report=lambda *heard: None
    )
    shutil.copy(home / "made" / "edited.png", home / "result.png")
    shutil.rmtree(home / "made")
    stored = read_stored(str(home / "result.png"))
    text = "\n".join(
        f"{key} = {json.dumps(value)}" for key, value in stored.values.items() if key in ("photo", "translate")
    )
    (home / "recipe.toml").write_text(f'command = "edit"\npreset = "draft"\n{text}\n')
    settings = TransferRecipe.build({"clip": "clip", "photo": "photo", "preset": "draft"}, []).model_dump(mode="json")
    del settings["clip"], settings["photo"]
    manifest = Manifest(home / "manifest.sqlite")
    folders = {("clip.mp4", "photo.png"): "clip/photo"} | {(f"c{n}.mp4", "p.png"): f"c{n}/p" for n in range(40)}
    manifest.begin({"command": "transfer", **settings}, folders)
    for entry in manifest.entries()[1:20]:
        manifest.start(entry.id)
        manifest.finish(entry.id, 1.0, {"moved_as_asked": 0.5}, ["edited.png"])
    manifest.close()
    rows = [("clip.mp4", "photo.png"), ("clip.mp4", "photo.jpg"), ("clip.avi", "photo.png")]
    (home / "list.csv").write_text("clip,photo\n" + "".join(f"{clip},{photo}\n" for clip, photo in rows))
    lines = [json.dumps({"clip": clip, "photo": photo}) for clip, photo in rows]
    (home / "list.jsonl").write_text("\n".join(lines))


def damaged(whole: bytes, chance: random.Random) -> tuple[bytes, str]:
    """The file cut short, or with bits flipped, and which."""
    if chance.random() < 1 / 3:
        kept = chance.randrange(len(whole))
        return whole[:kept], f"cut to {kept} of {len(whole)} bytes"
    content, flips = bytearray(whole), chance.randint(1, MOST_FLIPS)
    # Heads are where formats say what follows: every other damage is done there.
    reach = len(whole) if chance.random() < 0.5 else min(len(whole), 512)
    for _ in range(flips):
        content[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    return bytes(content), f"{flips} bits of the first {reach} bytes"


def one_run(home: Path, case: Case, seed: int | None) -> Run:
    """Damage a copy of a case's file in a folder of its own, unless there is no seed, and let the command read it."""
    with TemporaryDirectory(dir=home) as folder:
        here = Path(folder)
        for path in home.iterdir():
            if path.is_file():
                os.symlink(path, here / path.name)
        whole = (home / case.file).read_bytes()
        content, damage = (whole, "none") if seed is None else damaged(whole, random.Random(seed))
        broken = here / f"broken_{case.file}"
        broken.write_bytes(content)
        started = time.monotonic()
        code = _apart(lambda: _command(here, case, broken), LIMIT_S)
        seconds = time.monotonic() - started
        said = (here / "stderr").read_text(errors="replace") if (here / "stderr").exists() else ""
        fault = _fault(code, said, here / OUT)
        return Run(case.kind, case.file, damage, code, round(seconds, 2), said.strip()[:300], fault)


def _apart(job: Callable[[], int], limit_s: float) -> int:
    """The exit code of `job` in a forked child; -9 when it had to be killed at the limit."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = job()
        finally:
            os._exit(code)
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def _command(here: Path, case: Case, broken: Path) -> int:
    """The command, with stdout and stderr in files."""
    from mtransfer.flow import loading
    from mtransfer.ui.cli import main

    os.chdir(here)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
    if case.kind == "weights":
        loading.EMBEDDED_FLOW = broken
        loading.load_flow_model.cache_clear()
        loading._weights_hash.cache_clear()
    words = [word.format(file=broken.name) for word in case.words.split()]
    (here / OUT).mkdir() if words[0] == "flow" else None
    try:
        main.app(words)
    except SystemExit as end:
        code = int(end.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _fault(code: int, said: str, out: Path) -> str:
    """What is wrong, or nothing."""
    if code == -signal.SIGKILL:
        return f"hung for {LIMIT_S:g} s"
    if code not in (0, 1, 2):
        return f"ended with {code}"
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    if "Traceback" in said or (code and len(errors) != 1):
        return "not one line"
    if code and "MTRANSFER_DEBUG" in errors[0]:
        return "an unforeseen error"
    left = sorted(path.name for path in out.rglob("*") if path.is_file()) if out.exists() else []
    return f"left {left}" if code and left else _unreadable(out)


def _unreadable(out: Path) -> str:
    for path in out.rglob("*") if out.exists() else ():
        if path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                if not np.isfinite(arrays["flow"]).all():
                    return f"{path.name} is not finite"
    return ""


def fuzz(runs: int, seed: int, home: Path) -> list[Run]:
    """So many runs, the cases by turns."""
    make_files(home)
    torch.set_num_threads(1)  # a forked child has no other threads of its parent's
    for case in CASES:
        if (run := one_run(home, case, None)).code:
            raise RuntimeError(f"the whole {case.file} is refused, so that its runs would mean nothing: {run.said}")
    return [one_run(home, CASES[index % len(CASES)], seed * 100_000 + index) for index in range(runs)]


def table(runs: list[Run]) -> str:
    """Markdown: what became of the runs, by kind of file."""
    rows = ["| file | runs | done all the same | refused in one line | longest, s | faults |", "| --- " * 6 + "|"]
    for kind in dict.fromkeys(run.kind for run in runs):
        of_kind = [run for run in runs if run.kind == kind]
        codes = Counter("done" if run.code == 0 else "refused" for run in of_kind if not run.fault)
        faults = sum(bool(run.fault) for run in of_kind)
        longest = max(run.seconds for run in of_kind)
        rows.append(f"| {kind} | {len(of_kind)} | {codes['done']} | {codes['refused']} | {longest:.1f} | {faults} |")
    return "\n".join(rows)


def main() -> None:
    """Print the table, and every run that is not well; exit code 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with TemporaryDirectory() as home:
        os.environ["MTRANSFER_CACHE_GB"] = "0"  # every run reads its file anew
        runs = fuzz(given.runs, given.seed, Path(home))
    print(table(runs))
    for run in runs:
        if run.fault:
            print(f"{run.file}, {run.damage}: {run.fault}; {run.said}")
    if given.json:
        given.json.write_text(strict_json({"runs": [vars(run) for run in runs]}, indent=2) + "\n", encoding="utf-8")
    sys.exit(any(run.fault for run in runs))


if __name__ == "__main__":
    main()
