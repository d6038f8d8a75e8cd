"""One job from recipe to result files."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mtransfer import __version__
from mtransfer.evaluation.moved_as_asked import in_words
from mtransfer.files import require_free, staged
from mtransfer.flow.io import save_field
from mtransfer.jobs.animation.animate import paint_frames, read_scene
from mtransfer.jobs.animation.animation_files import kept_frames, write_animation
from mtransfer.jobs.animation.scene import Scene
from mtransfer.jobs.context import Watch
from mtransfer.jobs.generate import generate
from mtransfer.jobs.metrics import AnimationMetrics, Metrics
from mtransfer.jobs.recipe import AnimateEditRecipe, AnimateRecipe, EditRecipe, GenerateRecipe, Recipe, TransferRecipe
from mtransfer.jobs.recipe_file import write_stored
from mtransfer.jobs.render import TransferOutput, finish
from mtransfer.jobs.transfer import prepare_either
from mtransfer.log import Report, warn
from mtransfer.media.contact_sheet import sheet
from mtransfer.media.photo.photo import save_png
from mtransfer.media.photo.png import write_png
from mtransfer.strict_json import save_json
from mtransfer.subject.subject import mask_hash


def run_to_folder(
    recipe: Recipe,
    out: Path,
    *,
    overwrite: bool,
    metadata: bool,
    report: Report,
    watch: Watch | None = None,
    wanted_mask: str | None = None,
) -> dict[str, Any]:
    """Do the job and write its results into `out`, all or nothing; returns what to print. `watch` as in `transfer`.

    A subject whose mask does not hash to `wanted_mask` gets a line that says so.
    """
    if isinstance(recipe, (AnimateRecipe, AnimateEditRecipe)):
        require_free(out, overwrite)
        scene = read_scene(recipe, report=report, watch=watch)
        return _animate(scene, out, overwrite, metadata, wanted_mask)
    with staged(out, overwrite=overwrite) as stage:
        if isinstance(recipe, GenerateRecipe):
            return _write_generated(recipe, stage, out, metadata, report)
        assert isinstance(recipe, (TransferRecipe, EditRecipe))
        output = finish([prepare_either(recipe, report=report, watch=watch)])[0]
        _warn_of_another_subject(wanted_mask, mask_hash(output.subject.mask))
        write_moved(output, stage, metadata=metadata)
    return _summary(output, out)


def _animate(scene: Scene, out: Path, overwrite: bool, metadata: bool, wanted_mask: str | None) -> dict[str, Any]:
    """As every job, but frames already painted are kept when it is interrupted, for the same command to go on with."""
    found = mask_hash(scene.mask[0])
    _warn_of_another_subject(wanted_mask, found)
    stored = write_stored(scene.recipe, versions(), found)
    text = stored if metadata else ""
    with kept_frames(out, f"{stored}\n{metadata}") as folder:
        flow, metrics = paint_frames(scene, folder, text)
        with staged(out, overwrite=overwrite) as stage:
            with scene.run.stage("files"):
                names = write_animation(scene, flow, folder, stage, text)
            figures = {"seconds": scene.run.timings, "metrics": metrics}
            save_json(_record(scene.recipe, metadata) | figures, stage / "run.json")
    files = {name.replace(".", "_"): str(out / name) for name in names}
    return files | {"seed": scene.recipe.seed, "seconds": round(sum(scene.run.timings.values()), 1), **_brief(metrics)}


def _brief(metrics: AnimationMetrics) -> dict[str, Any]:
    return {
        "frames_made": metrics["frames"],
        **({"clip_reader": metrics["clip_reader"]} if "clip_reader" in metrics else {}),
        "flicker_255": round(metrics["flicker_255"], 2),
        **_moved(metrics),
    }


def _moved(metrics: Metrics) -> dict[str, Any]:
    return {"moved_as_asked": in_words(metrics["moved_as_asked"], metrics["moved_within_px"])}


def write_moved(output: TransferOutput, stage: Path, *, metadata: bool) -> None:
    """Write the files of a moved photo into a folder that is there."""
    text = write_stored(output.recipe, versions(), mask_hash(output.subject.mask)) if metadata else ""
    write_png(output.pixels, stage / "edited.png", output.photo.icc_profile, text)
    save_png(sheet(output.panels), stage / "preview.png", recipe=text)
    save_field(output.flow, stage / "flow.npz")
    figures = {"seconds": output.timings, "metrics": output.metrics}
    save_json(_record(output.recipe, metadata) | figures, stage / "run.json")


def _write_generated(recipe: GenerateRecipe, stage: Path, out: Path, metadata: bool, report: Report) -> dict[str, Any]:
    image, noise, made = generate(recipe, report)
    save_png(image, stage / "generated.png", recipe=write_stored(made, versions()) if metadata else "")
    save_file({"noise": noise.contiguous()}, stage / "noise.safetensors")
    save_json(_record(made, metadata), stage / "run.json")
    names = {"generated": str(out / "generated.png"), "noise": str(out / "noise.safetensors")}
    return names | {"seed": made.seed}


def versions() -> dict[str, str]:
    """What made a result, as far as it can change its bytes."""
    return {
        "mtransfer": __version__,
        "torch": torch.__version__,
        **{name: version(name) for name in ("torchvision", "diffusers")},  # told without importing them
        "python": platform.python_version(),
    }


def warn_of_other_versions(made_with: dict[str, str]) -> None:
    """Say which libraries differ from those a result was made with."""
    here = versions()
    others = [
        f"{name} {made_with[name]} (here {here[name]})"
        for name in here
        if _release(made_with.get(name, here[name])) != _release(here[name])
    ]
    if others:
        warn(f"made with {', '.join(others)}: the same bytes are not certain")


def _release(version: str) -> str:
    """Without the name of a build, such as +cu130."""
    return version.partition("+")[0]


def _warn_of_another_subject(wanted: str | None, found: str) -> None:
    if wanted not in (None, found):
        warn("--subject: not the mask that the result was made with is found; see preview.png, or name it anew")


def _record(recipe: Recipe, metadata: bool) -> dict[str, Any]:
    if not metadata:
        return {"versions": versions()}
    return {"recipe": recipe.model_dump(mode="json"), "seed": recipe.seed, "versions": versions()}


def _summary(output: TransferOutput, out: Path) -> dict[str, Any]:
    return {
        "edited": str(out / "edited.png"),
        "preview": str(out / "preview.png"),
        "seed": output.recipe.seed,
        "seconds": round(sum(output.timings.values()), 1),
        "guided_evaluations": output.metrics["guided_evaluations"],
        **({"clip_reader": output.metrics["clip_reader"]} if "clip_reader" in output.metrics else {}),
        **_moved(output.metrics),
    }
