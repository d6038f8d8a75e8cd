"""The editor as people use it: a page of headless Chromium, in the photo's pixels, with real pointer events."""

import os
import shutil
from pathlib import Path

import numpy as np

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SAMPLE, CLICK_XY, WIDTH = "wooden_bird.jpg", (430, 250), 768
PHOTO = Path(__file__).parents[2] / "samples" / SAMPLE
DRAG_PX = 40
WAIT_MS = 120_000
FIGURES = Path(os.environ.get("MTRANSFER_GUI_FIGURES", os.devnull))


class Editor:
    """The page, in the photo's pixels."""

    def __init__(self, browser, url: str, width: int = 1280, height: int = 900, context=None) -> None:
        context = context or browser.new_context(viewport={"width": width, "height": height})
        self.page = context.new_page()
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self._require_here(url, request.url))
        self.page.goto(url)
        self.page.wait_for_function("window.mtransfer && window.mtransfer.editor", timeout=WAIT_MS)
        self.canvas = self.page.locator(".mt-editor canvas")

    def _require_here(self, url: str, asked: str) -> None:
        """No request leaves the machine."""
        if not asked.startswith((url.split("?")[0].rstrip("/"), "data:", "blob:")):
            self.faults.append(asked)

    def ask(self, script: str):
        return self.page.evaluate(f"(() => {{ const editor = window.mtransfer.editor; return {script}; }})()")

    def until(self, script: str) -> None:
        held = f"(() => {{ const {{ editor }} = window.mtransfer || {{}}; return editor && ({script}); }})()"
        self.page.wait_for_function(held, timeout=WAIT_MS)

    def sample(self, name: str = SAMPLE) -> None:
        samples = self.page.locator(".mt-editor [data-is=samples]")
        samples.locator(f"option[value='{name}']").wait_for(state="attached", timeout=WAIT_MS)
        before = self.ask("editor.photo && editor.photo.id")
        samples.select_option(name)
        self.until(f"editor.photo && editor.photo.id !== '{before}' && editor.now === 0 && !editor.objects.length")

    def renew(self) -> None:
        """The page as it was at first, with a bird that is selected."""
        self.page.get_by_role("tab", name="Edit").click()
        self.sample()
        self.ask("(editor.stats.shown = 0, editor.tell(''), document.activeElement.blur(), editor.use('select'))")
        self.select()

    def at(self, x: float, y: float) -> tuple[float, float]:
        return tuple(self.ask(f"editor.view.screen([{x}, {y}])"))

    def select(self) -> None:
        """The bird by a click, and the tool that moves it."""
        self.page.mouse.click(*self.at(*CLICK_XY))
        self.until("editor.objects.length === 1 && editor.stats.shown > 0 && !editor.asking")
        assert self.ask("editor.tool") == "select"
        self.tool("move")

    def drag(self, start, end, steps: int = 20, pause_ms: int = 0) -> None:
        self.page.mouse.move(*self.at(*start))
        self.page.mouse.down()
        for step in range(1, steps + 1):
            share = step / steps
            self.page.mouse.move(*self.at(*(a + share * (b - a) for a, b in zip(start, end, strict=True))))
            self.page.wait_for_timeout(pause_ms)
        self.page.mouse.up()
        self.until("!editor.asking && !editor.gesture")

    def settle(self) -> None:
        """Wait for the preview in finer pixels, which follows once nothing changes."""
        self.until("editor.made && editor.made.size[0] > 256")

    def tool(self, name: str) -> None:
        self.page.locator(f"[data-tool={name}]").click()

    def motion(self) -> dict:
        return self.ask("editor.object.motion")

    def handle(self, kind: str) -> tuple[float, float]:
        return tuple(self.ask(f"editor.handles().find((each) => each.kind === '{kind}').at"))

    def middle(self) -> tuple[float, float]:
        x, y = self.ask("editor.object.mask.centre")
        return x, y

    def shot(self) -> np.ndarray:
        return np.frombuffer(self.canvas.screenshot(), np.uint8)

    def generate(self, preset: str = "fast") -> None:
        if preset != "fast":
            self.page.get_by_label("Preset").first.click()
            self.page.get_by_role("option", name=preset).click()
        self.page.locator("#mt-edit-go").click()

    def told(self, state: str) -> object:
        found = self.page.locator(f"#mt-edit-told [data-state={state}]")
        found.wait_for(timeout=WAIT_MS)
        return found

    def job(self) -> dict:
        """The job that was asked for last, as the server tells it."""
        return self.page.evaluate("fetch('/mtransfer/jobs').then((answer) => answer.json())")[-1]


def note(name: str, value: float) -> None:
    """A figure for whoever asks for them by MTRANSFER_GUI_FIGURES."""
    with FIGURES.open("a", encoding="utf-8") as file:
        file.write(f"{name}: {value:.3f}\n")
