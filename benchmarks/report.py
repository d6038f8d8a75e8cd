"""A quality run on paper: tables in Markdown, a scatter plot, a contact sheet."""

import math
import re
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from benchmarks.cases import Problem
from benchmarks.statistics import Rows, interval, values_of
from mtransfer.media.contact_sheet import sheet
from mtransfer.media.photo.photo import save_png

TABLES = {
    "Flow: end-point error in pixels, lower is better (loss: the paper's Flow Loss)": (
        *("flow_dis_px", "flow_dis_median_px", "flow_raft_px", "flow_raft_median_px", "flow_dis_edit_px"),
        *("flow_loss_dis_px", "flow_loss_raft_px"),
    ),
    "Likeness to the true picture: PSNR in dB, SSIM, higher is better": (
        *("subject_psnr_db", "vacated_psnr_db", "seam_psnr_db", "background_psnr_db"),
        *("subject_ssim", "vacated_ssim", "seam_ssim"),
    ),
    "Texture against the truth (1 is the same), residue of the subject in its old place (0 is none)": (
        *("subject_sharpness", "subject_roughness", "vacated_sharpness", "vacated_roughness", "seam_jump", "residue"),
    ),
    "Appearance kept along the motion, perceptual likeness (empty: weights not on this disk), cost": (
        *("kept_psnr_db", "kept_ssim", "background_mean_abs", "clip", "lpips", "seconds", "evaluations"),
    ),
}


def markdown(rows: Rows, methods: list[str]) -> str:
    """Tables of methods by figures, each the mean over the cases with its 95 % interval."""
    return "\n".join(_table(title, figures, rows, methods) for title, figures in TABLES.items())


def _table(title: str, figures: tuple[str, ...], rows: Rows, methods: list[str]) -> str:
    lines = [f"**{title}**", "", f"| method | {' | '.join(figures)} |", "| --- " * (1 + len(figures)) + "|"]
    for method in methods:
        cells = [_cell(interval(values_of(rows, method, figure))) for figure in figures]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _cell(found: tuple[float, float, float]) -> str:
    mean, low, high = found
    if math.isnan(mean):
        return ""
    digits = 3 if abs(mean) < 1 else 2 if abs(mean) < 10 else 1
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def plot(rows: Rows, methods: list[str], path: Path) -> None:
    """Flow error (DIS, in the subject) against likeness to the truth around it, a point a method, with intervals."""
    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    for method in methods:
        x, y = (interval(values_of(rows, method, name)) for name in ("flow_dis_px", "vacated_psnr_db"))
        if math.isnan(x[0]) or math.isnan(y[0]):
            continue
        errors = [[[v[0] - v[1]], [v[2] - v[0]]] for v in (x, y)]
        axes.errorbar(x[0], y[0], xerr=errors[0], yerr=errors[1], fmt="o", capsize=3, label=method)
    axes.set_xlabel("flow error inside the subject, DIS, px (lower is better)")
    axes.set_ylabel("PSNR in the vacated region, dB (higher is better)")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def put_section(page: Path, head: str, text: str) -> None:
    """Write `text`, its headings a level lower, as the section of a Markdown page whose title begins with `head`.

    It takes the place of one that is there, its title too; else it comes at the end. The rest of the page stays.
    """
    section = re.sub(r"^#", "##", text, flags=re.MULTILINE).replace("##", "#", 1).strip() + "\n"
    parts = re.split(r"^(?=## )", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    places = [number for number, part in enumerate(parts) if part.startswith(f"## {head}")]
    if places:
        parts[places[0]] = section + "\n" * (places[0] + 1 < len(parts))
    else:
        parts = [*parts[:-1], parts[-1].rstrip() + "\n\n", section]
    page.write_text("".join(parts), encoding="utf-8")


def plot_paper(sets: dict[str, Rows], methods: list[str], path: Path) -> None:
    """The paper's two figures: Flow Loss by RAFT against likeness to the photo, a point a method, a panel a set.

    The likeness is CLIP's where its weights are on this disk, else SSIM of the subject along the motion; it says so.
    """
    some = next(iter(next(iter(sets.values())).values()))
    with_clip = any(row.get("clip") is not None for row in some.values())
    name, words = ("clip", "CLIP similarity") if with_clip else ("kept_ssim", "SSIM of the subject (CLIP is not here)")
    figure, axes = plt.subplots(1, len(sets), figsize=(6 * len(sets), 4.6), layout="constrained", squeeze=False)
    for panel, (title, rows) in zip(axes[0], sets.items(), strict=True):
        for method in methods:
            x, y = (interval(values_of(rows, method, each)) for each in ("flow_loss_raft_px", name))
            errors = [[[max(0.0, v[0] - v[1])], [max(0.0, v[2] - v[0])]] for v in (x, y)]
            panel.errorbar(x[0], y[0], xerr=errors[0], yerr=errors[1], fmt="o", capsize=3, alpha=0.8, label=method)
        panel.set(title=f"{title} set, {len(rows)} edits", ylabel=f"{words}, higher is better")
        panel.set_xlabel("Flow Loss, px, lower is better")
    axes[0][0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def save_sheet(problems: list[Problem], results: dict[str, dict[str, Tensor]], methods: list[str], path: Path) -> None:
    """A row a case: photo, truth, every method."""
    panels = []
    for problem in problems:
        truth = problem.photo if problem.after is None else problem.after
        row = [(problem.name, problem.photo), ("photo" if problem.after is None else "truth", truth)]
        row += [(name, results[problem.name].get(name, torch.ones_like(truth))) for name in methods]
        panels += [(text, image[0].cpu()) for text, image in row]
    save_png(sheet(panels, columns=2 + len(methods)), path)
