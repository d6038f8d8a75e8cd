"""The editor as people use it: headless Chromium, real pointer events, the server as the command starts it.

Skipped, saying why, where there is no Chromium; MTRANSFER_NEEDS_BROWSER=1 makes that a failure.
"""

import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
from command_line import command

from mtransfer.evaluation.metrics import flow_error
from mtransfer.flow.estimator import DisFlow
from mtransfer.flow.io import load_field
from mtransfer.media.photo.photo import read_photo
from mtransfer.subject.mask_file import read_mask

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SAMPLE, CLICK_XY, WIDTH = "wooden_bird.jpg", (430, 250), 768
PHOTO = Path(__file__).parents[2] / "samples" / SAMPLE
DRAG_PX = 40
WAIT_MS = 120_000
FADED_MS = 500  # until Gradio's transitions have ended
LEAST_FPS = 10
MOST_TO_CANCEL_S = 3.0
FIGURES = Path(os.environ.get("MTRANSFER_GUI_FIGURES", os.devnull))


@pytest.fixture(scope="module")  # its event loop ends with it
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        assert os.environ.get("MTRANSFER_NEEDS_BROWSER") != "1", "no Chromium here: apt-get install chromium"
        pytest.skip("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


class Editor:
    """The page, in the photo's pixels."""

    def __init__(self, browser, url: str, width: int = 1280, height: int = 900, context=None) -> None:
        context = context or browser.new_context(viewport={"width": width, "height": height})
        self.page = context.new_page()
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.goto(url)
        self.page.wait_for_function("window.mtransfer && window.mtransfer.editor", timeout=WAIT_MS)
        self.canvas = self.page.locator(".mt-editor canvas")

    def ask(self, script: str):
        return self.page.evaluate(f"(() => {{ const editor = window.mtransfer.editor; return {script}; }})()")

    def until(self, script: str) -> None:
        self.page.wait_for_function(
            f"(() => {{ const editor = window.mtransfer.editor; return {script}; }})()", timeout=WAIT_MS
        )

    def sample(self, name: str = SAMPLE) -> None:
        samples = self.page.locator(".mt-editor [data-is=samples]")
        samples.locator(f"option[value='{name}']").wait_for(state="attached", timeout=WAIT_MS)
        samples.select_option(name)
        self.until("editor.photo")

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


@pytest.fixture
def editor(browser, gui_url) -> Iterator[Editor]:
    one = Editor(browser, gui_url)
    one.sample()
    one.select()
    yield one
    assert one.faults == []
    one.page.context.close()


def note(name: str, value: float) -> None:
    """A figure for whoever asks for them by MTRANSFER_GUI_FIGURES."""
    with FIGURES.open("a", encoding="utf-8") as file:
        file.write(f"{name}: {value:.3f}\n")


def dragging_ms(editor) -> float:
    """The median time from a question to the preview that answers it, while the object is dragged there and back."""
    editor.ask("editor.stats.latencies.length = 0")
    x, y = editor.middle()
    dx = editor.motion()["dx"]
    editor.drag((x + dx, y), (x + DRAG_PX - dx, y), steps=40, pause_ms=20)
    return median(editor.ask("editor.stats.latencies"))


def test_a_drag_is_seen_at_once(editor) -> None:
    before = editor.shot()
    latencies = [dragging_ms(editor)]
    assert editor.motion()["dx"] == pytest.approx(DRAG_PX, abs=1)
    assert not np.array_equal(before, editor.shot())
    # The machine may be busy with something else for a while.
    latencies += [dragging_ms(editor) for _ in range(2)]
    note("preview latency, median ms", min(latencies))
    assert min(latencies) < 1000 / LEAST_FPS


def test_what_has_come_to_rest_is_shown_in_the_photos_own_pixels(editor) -> None:
    x, y = editor.middle()
    editor.drag((x, y), (x + DRAG_PX, y))
    editor.settle()
    assert editor.ask("editor.made.size[0] === Math.min(768, editor.photo.width)")


@pytest.mark.parametrize(
    ("kind", "turned", "field", "expected"),
    [
        ("rotate", "turn", "rotate", -30),
        ("scale", "grow", "scale", 1.25),
        ("sx", "grow", "sx", 1.25),
        ("sy", "grow", "sy", 1.25),
    ],
)
def test_handles_rotate_and_with_alt_scale_and_stretch_about_the_centre(editor, kind, turned, field, expected) -> None:
    (cx, cy), (x, y) = editor.middle(), editor.handle(kind)
    editor.page.keyboard.down("Alt")
    before, angle = editor.shot(), np.radians(30)
    dx, dy = x - cx, y - cy
    turn = (np.cos(angle) * dx - np.sin(angle) * dy, np.sin(angle) * dx + np.cos(angle) * dy)
    by = turn if turned == "turn" else (1.25 * dx, 1.25 * dy)
    editor.drag((x, y), (cx + by[0], cy + by[1]))
    editor.page.keyboard.up("Alt")
    assert editor.motion()[field] == pytest.approx(expected, rel=0.03)
    assert (editor.motion()["dx"], editor.motion()["dy"]) == (0, 0)
    assert not np.array_equal(before, editor.shot())


def test_two_pins_bend_and_undo_takes_every_step_back(editor) -> None:
    left, top, right, bottom = editor.ask("editor.object.mask.box")
    _, y = editor.middle()
    still, moved = (left + 0.25 * (right - left), y), (left + 0.75 * (right - left), y)
    begun = editor.shot()
    editor.tool("pin")
    editor.page.mouse.click(*editor.at(*still))
    editor.drag(moved, (moved[0], moved[1] + 30))
    assert [pin[2:] for pin in editor.motion()["pins"]] == [[0, 0], [pytest.approx(0, abs=1), pytest.approx(30, abs=1)]]
    editor.settle()
    bent = editor.shot()
    for _ in range(2):
        editor.page.get_by_role("button", name="Undo").click()
    assert editor.motion()["pins"] == []
    editor.tool("move")
    editor.until("!editor.asking")
    assert np.array_equal(editor.shot(), begun)
    for _ in range(2):
        editor.canvas.press("Control+y")
    editor.tool("pin")
    editor.until("!editor.asking && editor.object.motion.pins.length === 2")
    editor.ask("(editor.pin = 1, editor.show())")
    editor.settle()
    assert np.array_equal(editor.shot(), bent)
    assert top < bottom


def test_numbers_and_keys_move_it_too(editor) -> None:
    editor.page.locator("[data-field=dx]").fill("25")
    editor.page.locator("[data-field=dx]").press("Enter")
    for key in ("Shift+ArrowDown", "ArrowLeft", "["):
        editor.canvas.press(key)
    assert {name: editor.motion()[name] for name in ("dx", "dy", "rotate")} == {"dx": 24, "dy": 10, "rotate": 1}


def test_a_brush_erases_and_a_box_selects_another_object(editor) -> None:
    left, _, right, bottom = editor.ask("editor.object.mask.box")
    editor.tool("erase")
    editor.page.locator("[data-is=radius]").fill("60")
    mask = editor.ask("editor.object.mask.id")
    editor.drag((left, bottom - 10), (right, bottom - 10))
    editor.until(f"editor.object.mask.id !== '{mask}'")
    assert editor.ask("editor.object.mask.box")[3] < bottom - 20
    editor.page.locator("[data-do=another]").click()
    editor.drag((440, 80), (660, 220))
    editor.until("editor.objects.length === 2")


def test_dabs_in_quick_succession_are_all_in_the_mask(editor) -> None:
    editor.tool("brush")
    editor.page.locator("[data-is=radius]").fill("10")
    places = [(30 + 35 * number, 30) for number in range(20)]
    for place in places:
        editor.page.mouse.move(*editor.at(*place))
        editor.page.mouse.down()
        editor.page.mouse.up()
        editor.page.wait_for_timeout(30)
    editor.until("editor.strokes.length === 0")
    mask = editor.ask("editor.object.mask.id")
    picture = editor.page.evaluate(
        """async (address) => {
            const bitmap = await createImageBitmap(await (await fetch(address)).blob());
            const canvas = new OffscreenCanvas(bitmap.width, bitmap.height), context = canvas.getContext("2d");
            context.drawImage(bitmap, 0, 0);
            const { data, width, height } = context.getImageData(0, 0, bitmap.width, bitmap.height);
            return { width, height, alpha: [...data].filter((_, place) => place % 4 === 3) };
        }""",
        f"/mtransfer/mask/{mask}",
    )
    alpha = np.array(picture["alpha"]).reshape(picture["height"], picture["width"])
    scale = picture["width"] / WIDTH
    assert [alpha[round(y * scale), round(x * scale)] > 0 for x, y in places] == [True] * 20


def test_a_stroke_on_an_object_that_was_moved_lands_where_it_is_drawn(editor) -> None:
    x, y = editor.middle()
    editor.drag((x, y), (x + 100, y))
    box, mask = editor.ask("editor.object.mask.box"), editor.ask("editor.object.mask.id")
    editor.tool("brush")
    editor.drag((box[2] + 100, y), (box[2] + 120, y))
    editor.until(f"editor.object.mask.id !== '{mask}' && editor.strokes.length === 0")
    assert 15 < editor.ask("editor.object.mask.box")[2] - box[2] < 50


def test_shift_adds_what_is_clicked_to_the_mask_and_alt_takes_it_off(editor) -> None:
    bird, mask = editor.ask("editor.object.mask.box"), editor.ask("editor.object.mask.id")
    editor.tool("brush")
    editor.drag((20, 20), (40, 20))
    editor.until(f"editor.object.mask.id !== '{mask}' && editor.strokes.length === 0")
    stroke_right = 40 + 2 * 16
    for key, right in (("Alt", stroke_right), ("Shift", bird[2] + 5)):
        mask = editor.ask("editor.object.mask.id")
        editor.tool("select")
        editor.page.keyboard.down(key)
        editor.page.mouse.click(*editor.at(*CLICK_XY))
        editor.page.keyboard.up(key)
        editor.until(f"editor.object.mask.id !== '{mask}'")
        box = editor.ask("editor.object.mask.box")
        assert box[0] < 20
        assert (right - 40) < box[2] < right
    assert editor.ask("editor.objects.length") == 1
    assert editor.ask("editor.tool") == "select"


def test_a_photo_is_carried_to_the_other_tabs(editor) -> None:
    editor.page.get_by_role("tab", name="Transfer").click()
    editor.page.wait_for_function("window.mtransfer.transfer && window.mtransfer.transfer.facts.photo", timeout=WAIT_MS)
    assert editor.page.evaluate("window.mtransfer.transfer.facts.photo.name") == SAMPLE


def test_leaving_with_unsaved_work_asks(editor) -> None:
    asked: list[str] = []
    editor.page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    x, y = editor.middle()
    editor.drag((x, y), (x + DRAG_PX, y))
    editor.page.reload()
    assert asked == ["beforeunload"]
    editor.page.reload()
    assert asked == ["beforeunload"]


def test_escape_takes_a_drag_back(editor) -> None:
    x, y = editor.middle()
    editor.page.mouse.move(*editor.at(x, y))
    editor.page.mouse.down()
    editor.page.mouse.move(*editor.at(x + 50, y))
    assert editor.motion()["dx"] == pytest.approx(50, abs=1)
    editor.canvas.focus()
    editor.page.keyboard.press("Escape")
    editor.page.mouse.up()
    assert editor.motion()["dx"] == 0


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (800, 1100), (390, 844)])
def test_buttons_and_result_are_in_sight(browser, gui_url, width, height) -> None:
    editor = Editor(browser, gui_url, width, height)
    editor.sample()
    editor.select()
    x, y = editor.middle()
    editor.drag((x, y), (x + DRAG_PX, y))

    def in_sight(selector: str) -> bool:
        box = editor.page.locator(selector).bounding_box()
        right, bottom = box["x"] + box["width"], box["y"] + box["height"]
        return box["x"] >= 0 and box["y"] >= 0 and right <= width and bottom <= height

    assert all(map(in_sight, ("#mt-edit-go", "#mt-edit-cancel")))
    editor.generate()
    editor.told("done")
    assert all(map(in_sight, ("#mt-edit-go", ".mt-editor .mt-made", ".mt-editor .mt-result a >> nth=0")))
    editor.page.get_by_role("button", name="Show the photo").click()
    assert in_sight(".mt-editor .mt-was")
    assert not editor.page.locator(".mt-editor .mt-made").is_visible()
    editor.page.get_by_role("button", name="Back to editing").click()
    assert not editor.page.locator(".mt-editor .mt-result").is_visible()
    assert editor.faults == []
    editor.page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_headings_and_names_are_as_axe_asks(browser, gui_url, scheme) -> None:
    from axe_playwright_python.sync_playwright import Axe

    def faults() -> list[str]:
        editor.page.wait_for_timeout(FADED_MS)
        found = [each for each in Axe().run(editor.page).response["violations"] if each["impact"] != "minor"]
        return [f"{each['id']}: {node['target']} {node['failureSummary']}" for each in found for node in each["nodes"]]

    editor = Editor(browser, f"{gui_url}?__theme={scheme}")
    assert faults() == []
    for tab in ("Transfer", "Animate", "Gallery", "Edit"):
        editor.page.get_by_role("tab", name=tab).click()
        assert faults() == [], tab
    editor.sample()
    editor.select()
    x, y = editor.middle()
    editor.drag((x, y), (x + DRAG_PX, y))
    assert faults() == []
    editor.generate("draft")
    editor.told("done")
    assert faults() == []
    editor.page.get_by_role("tab", name="Gallery").click()
    editor.page.locator(".mt-run-card").first.wait_for(timeout=WAIT_MS)
    assert faults() == []
    editor.page.context.close()


def test_each_page_cancels_its_own_job(browser, gui_url) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    pages = []
    for _ in range(2):
        editor = Editor(browser, gui_url, context=context)
        editor.sample()
        editor.select()
        x, y = editor.middle()
        editor.drag((x, y), (x + DRAG_PX, y))
        pages.append(editor)
    first, second = pages
    first.generate()
    first.page.locator("#mt-edit-told [data-state=running]").wait_for(timeout=WAIT_MS)
    second.generate()
    second.page.locator("#mt-edit-told [data-state=running]").wait_for(timeout=WAIT_MS)
    second.page.locator("#mt-edit-cancel").click()
    second.told("cancelled")
    first.told("done")
    context.close()


def test_cancel_stops_within_a_step(editor) -> None:
    x, y = editor.middle()
    editor.drag((x, y), (x + DRAG_PX, y))
    editor.generate("best")
    editor.page.locator("#mt-edit-told .mt-sofar").wait_for(timeout=WAIT_MS)
    done = "Number(document.querySelector('#mt-edit-told [data-done]').dataset.done)"
    before = editor.page.evaluate(done)
    started_s = time.monotonic()
    editor.page.locator("#mt-edit-cancel").click()
    editor.told("cancelled")
    took_s = time.monotonic() - started_s
    note("cancel latency, s", took_s)
    assert before > 0
    assert took_s < MOST_TO_CANCEL_S


@pytest.mark.parametrize("width", [1280, 800])
def test_nothing_sticks_out_of_the_page(browser, gui_url, width) -> None:
    editor = Editor(browser, gui_url, width)
    for tab in ("Edit", "Transfer", "Animate", "Gallery"):
        editor.page.get_by_role("tab", name=tab).click()
        assert editor.page.evaluate("document.documentElement.scrollWidth") <= width
    editor.page.context.close()


def test_a_bad_file_is_told_in_the_page(browser, gui_url, tmp_path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("no picture")
    editor = Editor(browser, gui_url)
    editor.page.locator(".mt-editor [data-is=file]").set_input_files(path)
    error = editor.page.locator(".mt-editor [data-is=error]")
    error.filter(has_text="notes.jpg is no picture").wait_for(timeout=WAIT_MS)
    editor.page.context.close()


@pytest.mark.slow
def test_from_a_click_to_an_image_that_the_command_line_repeats(editor, tmp_path, capsys) -> None:
    x, y = editor.middle()
    editor.drag((x, y), (x + DRAG_PX, y))
    editor.generate()
    editor.told("done")
    with editor.page.expect_download() as folder:
        editor.page.get_by_role("link", name="recipe folder").click()
    with editor.page.expect_download() as picture:
        editor.page.get_by_role("link", name="Download result").click()
    folder.value.save_as(tmp_path / "recipe.zip")
    picture.value.save_as(tmp_path / "edited.png")
    with zipfile.ZipFile(tmp_path / "recipe.zip") as archive:
        archive.extractall(tmp_path)
    inputs = tmp_path / "recipe"
    assert {path.name for path in inputs.iterdir()} == {"recipe.toml", SAMPLE, "mask.png", "flow.npz"}
    own, edited = read_photo(PHOTO).image[None], read_photo(tmp_path / "edited.png").image[None]
    target = load_field(inputs / "flow.npz").flow
    mask = read_mask(inputs / "mask.png", own[0])[None]
    assert target[0, 0][mask[0, 0] > 0.5].median() == pytest.approx(DRAG_PX, abs=1)
    error = flow_error(DisFlow(), own, edited, target, mask)
    note("flow error over the drag", error["relative"])
    assert error["relative"] < 0.25
    assert command(capsys, "run", inputs, "-o", tmp_path / "again", "--quiet").code == 0
    again = read_photo(tmp_path / "again" / "edited.png").image[None]
    assert torch.equal(again, edited)
    editor.page.get_by_role("tab", name="Gallery").click()
    card = editor.page.locator(".mt-run-card")
    card.wait_for(timeout=WAIT_MS)
    assert "px" in card.inner_text()
    card.get_by_role("button", name="Open in the editor").click()
    editor.until("editor.object && editor.object.motion.dx > 0 && editor.now === 0")


@pytest.mark.slow
def test_an_edit_becomes_a_film(editor) -> None:
    x, y = editor.middle()
    editor.drag((x, y), (x + DRAG_PX, y))
    editor.page.get_by_label("Make a").click()
    editor.page.get_by_role("option", name="film, there and back").click()
    editor.generate("draft")
    editor.told("done")
    film = editor.page.locator(".mt-editor video.mt-made")
    film.wait_for(timeout=WAIT_MS)
    assert film.bounding_box()["y"] >= 0
    link = editor.page.get_by_role("link", name="Download result")
    assert link.get_attribute("download") == f"{Path(SAMPLE).stem}-edit.mp4"
    editor.page.wait_for_function("document.querySelector('video.mt-made').duration > 1.5", timeout=WAIT_MS)
    editor.page.get_by_role("tab", name="Gallery").click()
    editor.page.locator(".mt-run-card").wait_for(timeout=WAIT_MS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command_name", "frames", "result"), [("transfer", "0:12", "img"), ("animate", "0:3", "video")]
)
def test_a_clip_moves_a_photo_in_the_page(browser, gui_url, command_name, frames, result) -> None:
    editor = Editor(browser, gui_url)
    page = editor.page
    page.get_by_role("tab", name=command_name.title()).click()
    motion = page.locator(f"[data-command={command_name}]")
    for kind, name in (("clip", "cup.mp4"), ("photo", SAMPLE)):
        samples = motion.locator(f"[data-is={kind}-samples]")
        samples.locator(f"option[value='{name}']").wait_for(state="attached", timeout=WAIT_MS)
        samples.select_option(name)
        page.wait_for_function(f"window.mtransfer.{command_name}.facts.{kind}", timeout=WAIT_MS)
    motion.locator("[data-option=range]").fill(frames)
    page.get_by_label("Preset").locator("visible=true").click()
    page.get_by_role("option", name="draft").locator("visible=true").click()
    page.locator(f"#mt-{command_name}-go").click()
    told = page.locator(f"#mt-{command_name}-told")
    told.locator("[data-state=done]").wait_for(timeout=WAIT_MS)
    assert told.locator(result).count() >= 1
    if shots := os.environ.get("MTRANSFER_GUI_SHOTS"):
        page.wait_for_timeout(1000)
        page.screenshot(path=f"{shots}/{command_name}.png", full_page=True)
    assert editor.faults == []
    page.context.close()
