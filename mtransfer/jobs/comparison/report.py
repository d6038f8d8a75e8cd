"""A comparison as one HTML file that opens offline: before and after, the flow, every method's figures and settings."""

import base64
import html
import math
from typing import Any

import cv2
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from mtransfer.evaluation.figures import FIGURES
from mtransfer.flow.visualize import with_flow
from mtransfer.jobs.comparison.compare import Comparison, Made
from mtransfer.media.quantize import to_uint8

PICTURE_SIDE_PX, JPEG_QUALITY = 900, 88
ABOUT = {
    "warp": "the subject moved, its old place left as it was",
    "warp_telea": "the same, its old place inpainted (Telea)",
    "draft": "the same, its old place filled from around it",
    "fast": "this program's default: guided from the draft on",
    "fast_unguided": "the same without guidance",
    "best": "fast with more steps",
    "paper": "Motion Guidance as published",
    "paper_50": "the same in 50 steps",
    "sdedit_photo": "SDEdit from the photo: noised and painted anew",
    "sdedit_warp": "SDEdit from the draft",
    "repaint": "RePaint: all around the moved subject painted anew",
    "drag": "points dragged by the model's features (DragDiffusion)",
    "inpaint": "Stable Diffusion's inpainting around the warp",
    "instruct": "InstructPix2Pix, told in words",
}
SHOWN = {  # of FIGURES, with its head and digits
    "moved_as_asked": ("moved as asked", 2),
    "flow_raft_px": ("motion error, RAFT, px", 1),
    "flow_dis_px": ("motion error, DIS, px", 1),
    "kept_ssim": ("subject kept, SSIM", 2),
    "sharpness": ("subject's detail, 1 = photo's", 2),
    "residue": ("left in its old place", 2),
    "background_psnr_db": ("background kept, dB", 1),
    "clip": ("likeness, CLIP", 3),
}
STYLE = """
* { box-sizing: border-box } body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; padding: 1.2rem 1.6rem;
 max-width: 1280px; color: #1c1c1c; background: #fff }
h1 { font-size: 1.35rem; margin: 0 } h2 { font-size: 1.05rem; margin: 1.4rem 0 .5rem } p { margin: .2rem 0 .8rem }
.dim { color: #5f5f5f } .top { display: grid; grid-template-columns: minmax(0, 1.75fr) minmax(0, 1fr); gap: 1.4rem }
.slider { position: relative; line-height: 0; background: #eee; border-radius: 6px; overflow: hidden }
.slider img { width: 100%; display: block } .slider .after { position: absolute; inset: 0; clip-path: inset(0 0 0 50%) }
.slider .bar { position: absolute; top: 0; bottom: 0; left: 50%; width: 3px; background: #fff }
.slider span { position: absolute; top: 8px; padding: .35rem .6rem; background: #000a; color: #fff; border-radius: 4px;
 line-height: 1.1; font-size: .85rem } .slider .l { left: 8px } .slider .r { right: 8px }
.slider input { position: absolute; inset: 0; width: 100%; height: 100%; opacity: 0; cursor: ew-resize; margin: 0 }
.side img { width: 100%; border-radius: 6px } dl { display: grid; grid-template-columns: auto 1fr; gap: .15rem .8rem;
 margin: .6rem 0 } dt { color: #5f5f5f } dd { margin: 0; overflow-wrap: anywhere }
.all { display: grid; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); gap: .7rem }
.all button { font: inherit; text-align: left; padding: 0; border: 2px solid #ddd; border-radius: 6px; background: none;
 cursor: pointer; overflow: hidden; color: inherit } .all img { width: 100%; display: block }
.all b, .all i { display: block; padding: .2rem .5rem 0; font-style: normal } .all i { padding: 0 .5rem .3rem;
 font-size: .8rem; color: #5f5f5f } .all button[aria-pressed=true] { border-color: #0a62c4 }
table { border-collapse: collapse; width: 100% } th, td { padding: .32rem .6rem; border-bottom: 1px solid #ddd;
 text-align: right; font-variant-numeric: tabular-nums; vertical-align: bottom } th { font-size: .82rem }
th:first-child, td:first-child { text-align: left; width: 30% } td.best { background: #d8f0dc; font-weight: 600 }
td small { color: #5f5f5f; display: block } tr.chosen td:first-child { box-shadow: inset 4px 0 #0a62c4 }
pre { white-space: pre-wrap; font-size: .8rem } details { margin-top: 1rem }
@media (max-width: 800px) { .top { grid-template-columns: 1fr } }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #161616 }
 .dim, dt, td small, .all i { color: #aaa } td.best { background: #1d4a28 } th, td, .all button { border-color: #444 } }
"""
SCRIPT = """
const [after, bar, label] = [".after", ".bar", ".r"].map(name => document.querySelector(name));
document.querySelector(".slider input").addEventListener("input", event => {
  after.style.clipPath = `inset(0 0 0 ${event.target.value}%)`; bar.style.left = event.target.value + "%";
});
const buttons = [...document.querySelectorAll(".all button")];
function choose(button) {
  buttons.forEach(other => other.setAttribute("aria-pressed", other === button));
  document.querySelectorAll("tr[data-name]").forEach(row =>
    row.classList.toggle("chosen", row.dataset.name === button.dataset.name));
  after.src = button.querySelector("img").src; label.textContent = button.dataset.name;
}
buttons.forEach(button => button.addEventListener("click", () => choose(button)));
choose(buttons.find(button => button.dataset.name === "fast") ?? buttons[0]);
"""


def page(found: Comparison, versions: dict[str, str]) -> str:
    """The whole report. Names are text, never markup; nothing is loaded from anywhere."""
    title = f"{found.recipe.photo.name}: {len(found.made)} methods compared"
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    parts = [
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>',
        '<meta name="viewport" content="width=device-width">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        f"<style>{STYLE}</style></head><body>\n<h1>{html.escape(title)}</h1>",
        f'<p class="dim">{html.escape(verdict(found.made))}</p>',
        _top(found),
        _gallery(found.made),
        _table(found.made),
        _left_out(found),
        _settings(found, versions),
        f"<script>{SCRIPT}</script></body></html>\n",
    ]
    return "\n".join(parts)


def verdict(made: list[Made]) -> str:
    """Which method is nearest to the motion and which keeps the subject best, of those that leave no copy behind."""
    lead = {name: best_of(made, name) for name in ("flow_raft_px", "kept_ssim", "residue")}
    said = [
        f"{words}: {lead[name]} ({_shown(next(m for m in made if m.name == lead[name]), name)})"
        for name, words in (
            ("flow_raft_px", "nearest to the motion asked for"),
            ("kept_ssim", "keeps the subject best"),
            ("residue", "least left in the old place"),
        )
        if lead[name]
    ]
    return "; ".join(said).capitalize() + "." if said else ""


def best_of(made: list[Made], figure: str) -> str | None:
    """The method with the best value of a figure: lowest, highest or, of a ratio, nearest to 1; the first of equals."""
    sign = FIGURES[figure][1]
    values = {each.name: value for each in made if (value := each.figures.get(figure)) is not None}
    if not values:
        return None
    return min(values, key=lambda name: -sign * values[name] if sign else abs(math.log(max(values[name], 1e-6))))


def _top(found: Comparison) -> str:
    photo, motion = found.edit.photo[0], with_flow(found.edit.photo[0], found.edit.flow[0])
    facts = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd>" for name, value in facts_of(found)
    )
    return (
        f'<div class="top"><div class="slider"><img src="{_picture(photo)}" alt="before">'
        '<img class="after" alt="after"><div class="bar"></div><span class="l">photo</span><span class="r"></span>'
        '<input type="range" min="0" max="100" value="50" step="0.5" aria-label="before and after"></div>'
        f'<div class="side"><img src="{_picture(motion)}" alt="the motion asked for"><dl>{facts}</dl></div></div>'
    )


def facts_of(found: Comparison) -> list[tuple[str, Any]]:
    """What was asked, in words."""
    inside = found.edit.mask[0, 0] > 0.5
    moved = found.edit.flow[0][:, inside]
    recipe = found.recipe
    source = getattr(recipe, "clip", None) or getattr(recipe, "flow", None)
    facts: list[tuple[str, Any]] = [
        ("motion", f"{source.name} {getattr(recipe, 'pair', '')}".strip() if source else "as asked"),
        ("mean", f"{moved.norm(dim=0).mean():.1f} px ({moved[0].mean():+.0f}, {moved[1].mean():+.0f})"),
        ("photo", f"{found.edit.photo.shape[-1]} x {found.edit.photo.shape[-2]} px"),
        ("model", recipe.model),
        ("seed", recipe.seed),
    ]
    return facts + ([("prompt", recipe.prompt)] if recipe.prompt else [])


def _gallery(made: list[Made]) -> str:
    cards = [
        f'<button type="button" data-name="{each.name}" aria-pressed="false"><img src="{_picture(each.image[0])}" '
        f'alt="{each.name}"><b>{each.name}</b><i>{_shown(each, "flow_raft_px")} · {each.seconds:.1f} s</i></button>'
        for each in made
    ]
    return f'<h2>Every method (click one to see it above)</h2><div class="all">{"".join(cards)}</div>'


def _table(made: list[Made]) -> str:
    shown = [name for name in SHOWN if any(each.figures.get(name) is not None for each in made)]
    best = {name: _best_shown(made, name) for name in shown}
    heads = "".join(f'<th title="{html.escape(FIGURES[name][0])}">{SHOWN[name][0]}</th>' for name in shown)
    rows = "".join(_row(each, best) for each in made)
    head = f"<tr><th>method</th>{heads}<th>seconds</th></tr>"
    return f"<h2>Figures (the best of each marked)</h2><table>{head}{rows}</table>"


def _best_shown(made: list[Made], figure: str) -> str:
    """A figure's best value as it is shown: two that look the same are equally good."""
    first = best_of(made, figure)
    return next(_cell(each, figure) for each in made if each.name == first)


def _row(made: Made, best: dict[str, str]) -> str:
    cells = [f"<td>{made.name}<small>{html.escape(ABOUT.get(made.name, ''))}</small></td>"]
    for name, first in best.items():
        kind = ' class="best"' if _cell(made, name) == first else ""
        cells.append(f"<td{kind}>{_cell(made, name)}</td>")
    return f'<tr data-name="{made.name}">{"".join(cells)}<td>{made.seconds:.1f}</td></tr>'


def _left_out(found: Comparison) -> str:
    if not found.skipped:
        return ""
    said = "; ".join(f"{name}: {why}" for name, why in found.skipped.items())
    return f'<p class="dim">Not run: {html.escape(said)}.</p>'


def _settings(found: Comparison, versions: dict[str, str]) -> str:
    lines = [
        f"{each.name}: {' '.join(f'{key}={value}' for key, value in each.settings.items())}" for each in found.made
    ]
    made_by = " ".join(f"{name} {version}" for name, version in versions.items())
    text = html.escape("\n".join([*(line for line in lines if not line.endswith(": ")), "", made_by]))
    return f"<details><summary>Settings and versions</summary><pre>{text}</pre></details>"


def _shown(made: Made, figure: str) -> str:
    return _cell(made, figure) + {"flow_raft_px": " px"}.get(figure, "")


def _cell(made: Made, figure: str) -> str:
    value = made.figures.get(figure)
    if value is None:
        return "-"
    return "same" if math.isinf(value) else f"{value:.{SHOWN[figure][1]}f}"


def _picture(image: Tensor) -> str:
    """A JPEG of float32[3,H,W] in [0,1] as a data address, no larger than a screen shows."""
    scale = min(1.0, PICTURE_SIDE_PX / max(image.shape[-2:]))
    size = [max(1, round(side * scale)) for side in image.shape[-2:]]
    small = F.interpolate(image[None], size, mode="area")[0] if scale < 1 else image
    content = cv2.imencode(
        ".jpg", np.ascontiguousarray(to_uint8(small)[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )[1]
    return "data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode()
