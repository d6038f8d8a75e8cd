"""The flow editor in the browser: a Gradio app over the same jobs as the command line."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from mtransfer.ui.gui.access import LOOPBACK, Guard, Message, Receive, Send
from mtransfer.ui.gui.api import add_api
from mtransfer.ui.gui.forms import FILMS, PICTURE
from mtransfer.ui.gui.routes import CANVAS, add_routes
from mtransfer.ui.gui.sessions import Sessions
from mtransfer.ui.gui.working import resume, set_model

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
GO = "(...given) => { window.mtransfer.%s.generate(%s, given); }"
PRESET = "(preset) => { const tab = window.mtransfer.%s; tab.preset = preset; tab.say(); }"
CANCEL = "() => { window.mtransfer.%s.cancel(); }"
TEXTS = ("/", "/config", "/theme.css", "/mtransfer/canvas/")


def build_app(model: str = "auto", *, hosts: tuple[str, ...] = LOOPBACK, auth: str = "", root: Path) -> Any:
    """The whole page as an ASGI app; `root` is the folder in which the sessions' files lie.

    `hosts` are the names it answers to (none: any), `auth` is `user:password`.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(root)  # what Gradio keeps belongs to sessions, too
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    sessions = Sessions(root)
    inner = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_routes(inner)
    set_model(inner, model)
    theme = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]).set(
        **{name: f"*{hue}" for name, hue in READABLE.items()}
    )
    css = (CANVAS / "page.css").read_text(encoding="utf-8")
    mounted = gr.mount_gradio_app(
        inner, _page(model), path="/", ssr_mode=False, footer_links=["api"], theme=theme, css=css, show_error=True
    )
    resume(sessions, model)
    return Guard(_Compressed(mounted), sessions, hosts, auth)


class _Compressed:
    """ASGI middleware: what the page is made of is sent compressed, pictures and answers to a drag as they are."""

    def __init__(self, app: Any) -> None:
        self._plain, self._compressing = app, GZipMiddleware(app)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass on."""
        is_text = scope["type"] == "http" and (scope["path"] in TEXTS or scope["path"].startswith(TEXTS[-1]))
        await (self._compressing if is_text else self._plain)(scope, receive, send)


def serve(model: str, host: str, port: int, auth: str, data: Path | None = None) -> None:
    """Serve until interrupted; what was uploaded and made is kept in the folder `data`, or goes with it."""
    import uvicorn

    hosts = LOOPBACK if host in LOOPBACK else ()
    with contextlib.ExitStack() as ending:
        if data is None:
            data = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="mtransfer-gui-")))
        app = build_app(model, hosts=hosts, auth=auth, root=data)
        uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=2)


def _page(model: str) -> gr.Blocks:
    with gr.Blocks(title="mtransfer", analytics_enabled=False, fill_width=True) as page:
        gr.HTML("<h1>mtransfer: move what is in a photo</h1>", elem_classes="mt-title", padding=False)
        with gr.Tabs():
            with gr.Tab("Edit"):
                _edit_tab()
            with gr.Tab("Transfer"):
                _clip_tab("transfer")
            with gr.Tab("Animate"):
                _clip_tab("animate")
            with gr.Tab("Gallery"):
                gr.HTML(html_template="<div class='mt-gallery'></div>", js_on_load=LOAD % "gallery.js")
        add_api(model)
    page.queue(max_size=MOST_WAITING, default_concurrency_limit=4)
    return page


def _edit_tab() -> None:
    gr.HTML(html_template=(CANVAS / "editor.html").read_text(encoding="utf-8"), js_on_load=LOAD % "editor.js")
    with gr.Row(elem_classes="mt-run"):
        film = gr.Dropdown([PICTURE, *FILMS], value=PICTURE, label="Make a", min_width=130, elem_id="mt-edit-film")
        options = _options()
    _buttons("edit", [*options, film])


def _clip_tab(command: str) -> None:
    """Transfer and Animate: a clip, a photo, which frames, and how the motion is carried over."""
    marking = (CANVAS / "marking.html").read_text(encoding="utf-8").strip()
    page = (CANVAS / "motion.html").read_text(encoding="utf-8").replace("COMMAND", command).replace("MARKING", marking)
    gr.HTML(html_template=page, js_on_load=LOAD % "motion.js")
    with gr.Row(elem_classes="mt-run"):
        options = _options()
    options[0].change(None, options[0], None, js=PRESET % command)
    _buttons(command, options)


def _options() -> list[Any]:
    return [
        gr.Dropdown(PRESETS, value="fast", label="Preset", min_width=110),
        gr.Number(0, label="Seed", precision=0, minimum=0, min_width=90),
        gr.Textbox("", label="Prompt, for models that take text", min_width=220, scale=3),
    ]


def _buttons(tab: str, options: list[Any]) -> None:
    """Generate and Cancel, always in sight; a tab's script does what they say (`generate` and `cancel` in tab.js)."""
    page = "editor" if tab == "edit" else tab
    with gr.Row(elem_classes="mt-go"):
        look = gr.Button("See the motion", elem_id=f"mt-{tab}-look", visible=tab == "transfer")
        go = gr.Button("Generate", variant="primary", elem_id=f"mt-{tab}-go")
        cancel = gr.Button("Cancel", elem_id=f"mt-{tab}-cancel")
    go.click(None, options, None, js=GO % (page, "null"))
    look.click(None, options, None, js=GO % (page, "'draft'"))
    cancel.click(None, None, None, js=CANCEL % page)
