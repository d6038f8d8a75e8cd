"""The flow editor in the browser: a Gradio app over the same jobs as the command line."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from mtransfer.ui.gui.access import LOOPBACK, Guard
from mtransfer.ui.gui.api import QUEUE, add_api, job_key, session_of, stop
from mtransfer.ui.gui.forms import FILMS, PICTURE, chosen, edit_job, recipe_job
from mtransfer.ui.gui.jobs import Cancelled, Job, Progress, reason
from mtransfer.ui.gui.routes import CANVAS, add_routes
from mtransfer.ui.gui.sessions import Session, Sessions

PRESETS = ["fast", "draft", "best"]
MOST_WAITING = 32
READABLE = {  # a contrast of at least 4.5
    "block_title_text_color": "primary_700",
    "button_primary_background_fill": "primary_600",
    "button_primary_background_fill_hover": "primary_700",
    "button_primary_background_fill_hover_dark": "primary_700",
    "body_text_color_subdued": "neutral_600",
}
LOAD = "import('/mtransfer/canvas/%s').then((module) => module.start(element));"
STATE = "(_, ...rest) => [JSON.stringify(window.mtransfer.%s.begin()), ...rest]"
CANCELLING = (
    "() => { for (const line of document.querySelectorAll('#mt-%s-told .mt-line')) line.textContent = 'cancelling'; }"
)
BACK = " · <button type='button' class='mt-back' data-do='back'>Back to editing</button>"
COMPARE = " · <button type='button' data-do='compare' aria-pressed='false'>Show the photo</button>"
DONE = "() => window.mtransfer.%s.done()"


def build_app(model: str = "auto", *, hosts: tuple[str, ...] = LOOPBACK, auth: str = "", root: Path) -> Any:
    """The whole page as an ASGI app; `root` is the folder in which the sessions' files lie.

    `hosts` are the names it answers to (none: any), `auth` is `user:password`.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(root)  # what Gradio keeps belongs to sessions, too
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    sessions = Sessions(root)
    inner = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_routes(inner)
    theme = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]).set(
        **{name: f"*{hue}" for name, hue in READABLE.items()}
    )
    css = (CANVAS / "page.css").read_text(encoding="utf-8")
    mounted = gr.mount_gradio_app(
        inner, _page(model), path="/", ssr_mode=False, footer_links=["api"], theme=theme, css=css, show_error=True
    )
    return Guard(mounted, sessions, hosts, auth)


def serve(model: str, host: str, port: int, auth: str) -> None:
    """Serve until interrupted; what was uploaded and made goes with it."""
    import uvicorn

    hosts = LOOPBACK if host in LOOPBACK else ()
    with tempfile.TemporaryDirectory(prefix="mtransfer-gui-") as folder:
        app = build_app(model, hosts=hosts, auth=auth, root=Path(folder))
        uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=2)


def _page(model: str) -> gr.Blocks:
    with gr.Blocks(title="mtransfer", analytics_enabled=False, fill_width=True) as page:
        gr.HTML("<h1>mtransfer: move what is in a photo</h1>", elem_classes="mt-title", padding=False)
        with gr.Tabs():
            with gr.Tab("Edit"):
                _edit_tab(model)
            with gr.Tab("Transfer"):
                _clip_tab(model, "transfer")
            with gr.Tab("Animate"):
                _clip_tab(model, "animate")
            with gr.Tab("Gallery"):
                gr.HTML(html_template="<div class='mt-gallery'></div>", js_on_load=LOAD % "gallery.js")
        add_api(model)
    page.queue(max_size=MOST_WAITING, default_concurrency_limit=4)
    return page


def _edit_tab(model: str) -> None:
    gr.HTML(html_template=(CANVAS / "editor.html").read_text(encoding="utf-8"), js_on_load=LOAD % "editor.js")
    state = gr.Textbox(visible=False)
    with gr.Row(elem_classes="mt-run"):
        film = gr.Dropdown([PICTURE, *FILMS], value=PICTURE, label="Make a", min_width=130, elem_id="mt-edit-film")
        options = _options()
    with gr.Row(elem_classes="mt-go"):
        go, cancel = gr.Button("Generate", variant="primary", elem_id="mt-edit-go"), _cancel("edit")
    told = gr.HTML(elem_id="mt-edit-told")

    def run(state: str, film: str, preset: str, seed: int, prompt: str, request: gr.Request) -> Iterator[str]:
        values = chosen({"preset": preset, "seed": seed, "prompt": prompt}, model)
        yield from _told(request, "edit", lambda session: edit_job(session, _json(state), values, film))

    _on_click(go, cancel, run, [state, film, *options], told, "edit")


def _clip_tab(model: str, command: str) -> None:
    """Transfer and Animate: a clip, a photo, which frames, and how the motion is carried over."""
    page = (CANVAS / "motion.html").read_text(encoding="utf-8").replace("COMMAND", command)
    gr.HTML(html_template=page, js_on_load=LOAD % "motion.js")
    state = gr.Textbox(visible=False)
    with gr.Row(elem_classes="mt-run"):
        options = _options()
    with gr.Row(elem_classes="mt-go"):
        look = gr.Button("See the motion", elem_id=f"mt-{command}-look", visible=command == "transfer")
        go, cancel = gr.Button("Generate", variant="primary", elem_id=f"mt-{command}-go"), _cancel(command)
    told = gr.HTML(elem_id=f"mt-{command}-told")

    def run(state: str, preset: str, seed: int, prompt: str, request: gr.Request) -> Iterator[str]:
        values = chosen({"preset": preset, "seed": seed, "prompt": prompt}, model)
        yield from _told(request, command, lambda session: _clip_job(command, session, _json(state), values))

    def see(state: str, preset: str, seed: int, prompt: str, request: gr.Request) -> Iterator[str]:
        yield from run(state, "draft", seed, prompt, request)

    _on_click(go, cancel, run, [state, *options], told, command)
    _on_click(look, cancel, see, [state, *options], told, command)


def _options() -> list[Any]:
    return [
        gr.Dropdown(PRESETS, value="fast", label="Preset", min_width=110),
        gr.Number(0, label="Seed", precision=0, minimum=0, min_width=90),
        gr.Textbox("", label="Prompt, for models that take text", min_width=220, scale=3),
    ]


def _cancel(tab: str) -> gr.Button:
    return gr.Button("Cancel", elem_id=f"mt-{tab}-cancel")


def _on_click(go: gr.Button, cancel: gr.Button, run: Any, inputs: list[Any], told: gr.HTML, tab: str) -> None:
    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    page = "editor" if tab == "edit" else tab
    started = go.click(run, inputs, told, js=STATE % page, trigger_mode="once", **QUEUE, **hidden)
    started.then(None, js=DONE % page)

    def end(request: gr.Request) -> None:
        stop(request, tab)

    cancel.click(end, None, None, js=CANCELLING % tab, queue=False, **hidden)


def _json(state: str) -> dict[str, Any]:
    import json

    values = json.loads(state)
    return values if isinstance(values, dict) else {}


def _clip_job(command: str, session: Session, state: dict[str, Any], options: dict[str, Any]) -> Job:
    inputs = {kind: session.find(state.get(kind), kind) for kind in ("clip", "photo")}
    own = ["pair"] if command == "transfer" else ["frames", "reference", "loop"]
    names = ["subject", "clip_subject", "strength", "align", "turn", "mirror", "camera", *own]
    given = {name: state[name] for name in names if state.get(name) not in (None, "")}
    return recipe_job(command, session, inputs, {**options, **given})


def _told(request: gr.Request, tab: str, make: Any) -> Iterator[str]:
    """A job's progress as HTML, to its end."""
    session = session_of(request)
    try:
        job = make(session)
        session.begin(job_key(request, tab), job)
        yield shown(Progress())
        for progress in job.follow():
            yield shown(progress)
        yield finished(session.find(job.name, "run").facts)
    except Cancelled:
        yield "<p class='mt-note' data-state='cancelled'>Cancelled.</p>"
    except Exception as error:
        yield f"<p class='mt-error' data-state='failed' role='alert'>{_escaped(reason(session, error))}</p>"


def shown(progress: Progress) -> str:
    """Stage, step, energy and time left, and the picture so far."""
    share = progress.done / max(1, progress.total)
    words = [progress.stage, f"step {progress.done} of {progress.total}"]
    words += [] if progress.energy is None else [f"energy {progress.energy:.2f}"]
    words += [] if progress.left_s is None else [f"{progress.left_s:.0f} s left"]
    picture = f"<img class='mt-sofar' alt='the picture so far' src='{progress.picture}'>" if progress.picture else ""
    line = _escaped(" · ".join(words))
    return (
        f"<div class='mt-progress' data-state='running' data-done='{progress.done}'>"
        f"{picture}<progress max='1' value='{share:.3f}' aria-label='progress'></progress>"
        f"<span class='mt-line'>{line}</span></div>"
    )


def finished(facts: dict[str, Any]) -> str:
    """The result, and where to take it."""
    base = f"/mtransfer/run/{facts['id']}"
    moving = facts["shown"].endswith(".mp4")
    tag = "video controls loop autoplay muted" if moving else "img alt='the result'"
    from mtransfer.evaluation.moved_as_asked import in_words

    metrics = facts["metrics"]
    known = "moved_as_asked" in metrics
    figures = f" · moved as asked: {in_words(metrics['moved_as_asked'], metrics['moved_within_px'])}" if known else ""
    sheet = f"<img class='mt-sheet' alt='what was seen and made' src='{base}/preview.png'>"
    return (
        f"<div class='mt-result' data-state='done' data-run='{facts['id']}'>"
        f"<p>Done in {sum(facts['seconds'].values()):.1f} s{figures} · "
        f"<a href='{base}/{facts['shown']}' download='{_escaped(_name(facts))}'>Download result</a> · "
        f"<a href='{base}/recipe.zip' download>recipe folder</a>{'' if moving else COMPARE}{BACK}</p>"
        f"<img class='mt-was' alt='the photo' src='/mtransfer/photo/{facts['photo']}' hidden>"
        f"<{tag} class='mt-made' src='{base}/{facts['shown']}'>{'</video>' if moving else ''}"
        f"{sheet if 'preview.png' in facts['files'] else ''}</div>"
    )


def _name(facts: dict[str, Any]) -> str:
    """What a result is called where it is saved: the photo, and what was done."""
    shown = Path(facts["shown"])
    return f"{Path(facts['of'].rpartition(' and ')[2]).stem}-{facts['kind']}{shown.suffix}"


def _escaped(text: str) -> str:
    import html

    return html.escape(text)
