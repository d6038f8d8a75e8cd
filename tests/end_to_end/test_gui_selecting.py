"""Saying in Chromium what moves: clicks, boxes, brushes and masks, on a photo and on a clip, by mouse and by touch."""

from collections.abc import Iterator

import numpy as np
import pytest
from gui_page import CLICK_XY, SAMPLE, WAIT_MS, WIDTH, Editor
from PIL import Image


@pytest.fixture
def editor(shared_editor) -> Iterator[Editor]:
    shared_editor.renew()
    yield shared_editor
    assert shared_editor.faults == []


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


def test_selecting_goes_on_until_another_tool_is_taken_by_touch_too(browser, gui_url) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    editor = Editor(browser, gui_url, context=context)
    editor.sample()
    masks = []
    for how, (x, y) in (("new", CLICK_XY), ("remove", CLICK_XY), ("add", CLICK_XY)):
        before = editor.ask("editor.object && editor.object.mask.id")
        editor.page.locator(f".mt-editor .mt-how [value={how}]").tap()
        if how == "remove":  # something must be left
            editor.tool("brush")
            editor.page.touchscreen.tap(*editor.at(30, 30))
            editor.until(f"editor.object.mask.id !== '{before}' && !editor.strokes.length")
            before = editor.ask("editor.object.mask.id")
            editor.tool("select")
        editor.page.touchscreen.tap(*editor.at(x, y))
        editor.until(f"editor.object && editor.object.mask.id !== '{before}'")
        masks.append(editor.ask("editor.object.mask.box"))
    bird, dab, both = masks
    assert editor.ask("editor.tool") == "select"
    assert dab[2] < bird[0] + 40 < both[2]
    assert both[0] < bird[0]
    assert editor.ask("editor.objects.length") == 1
    assert editor.faults == []
    context.close()


def test_a_mask_is_given_as_a_picture(editor, tmp_path) -> None:
    mask = np.zeros((432, WIDTH), np.uint8)
    mask[100:200, 300:500] = 255
    size = editor.ask("[editor.photo.width, editor.photo.height]")
    Image.fromarray(mask).resize(size).save(tmp_path / "mine.png")
    Image.fromarray(mask[:50]).save(tmp_path / "small.png")
    give = editor.page.locator(".mt-editor [data-is=mask]")
    give.set_input_files(tmp_path / "mine.png")
    editor.until("Math.abs(editor.object.mask.box[0] - 300) < 2 && Math.abs(editor.object.mask.box[2] - 500) < 2")
    give.set_input_files(tmp_path / "small.png")
    error = editor.page.locator(".mt-editor [data-is=error]")
    error.filter(has_text="make them the same size").wait_for(timeout=WAIT_MS)


def _at(page, tab: str, kind: str, x: float, y: float) -> tuple[float, float]:
    return tuple(page.evaluate(f"window.mtransfer.{tab}.marker.{kind}.view.screen([{x}, {y}])"))


def test_photo_and_clip_are_marked_by_the_same_finder_in_the_other_tabs(editor) -> None:
    page, motion = editor.page, "window.mtransfer.transfer"
    page.get_by_role("tab", name="Transfer").click()
    root = page.locator("[data-command=transfer]")
    root.locator("[data-is=clip-samples]").select_option("cup.mp4")
    page.wait_for_function(f"{motion}.facts.photo && {motion}.shown === 0", timeout=WAIT_MS)
    assert page.evaluate(f"{motion}.facts.photo.name") == SAMPLE
    width, height = page.evaluate(f"{motion}.marker.clip.size")
    page.mouse.click(*_at(page, "transfer", "photo", *CLICK_XY))
    page.wait_for_function(f"{motion}.marker.photo.mark", timeout=WAIT_MS)
    page.mouse.move(*_at(page, "transfer", "clip", 0.4 * width, 0.1 * height))
    page.mouse.down()
    page.mouse.move(*_at(page, "transfer", "clip", 0.75 * width, 0.95 * height), steps=4)
    page.mouse.up()
    page.wait_for_function(f"{motion}.marker.clip.mark", timeout=WAIT_MS)
    before = page.evaluate(f"{motion}.marker.photo.mark.mask.box")
    root.locator("section[data-is=photo] [value=brush]").click()
    page.mouse.click(*_at(page, "transfer", "photo", 20, 20))
    page.wait_for_function(f"{motion}.marker.photo.mark.mask.box[0] < {before[0]} - 5", timeout=WAIT_MS)
    root.locator("[data-is=scrub]").fill("8")
    page.wait_for_function(f"{motion}.shown === 8", timeout=WAIT_MS)
    assert page.evaluate(f"{motion}.marker.clip.mark") is None
    state = page.evaluate(f"{motion}.state()")
    assert page.evaluate(f"{motion}.clipMark.mark.mask.id") == state["clip_mark"]
    root.get_by_role("button", name="the mark is on frame 0").click()
    page.wait_for_function(f"{motion}.shown === 0 && {motion}.marker.clip.mark", timeout=WAIT_MS)
    page.get_by_role("tab", name="Animate").click()
    other = "window.mtransfer.animate"
    page.wait_for_function(f"{other} && {other}.facts.photo && {other}.facts.clip", timeout=WAIT_MS)
    root = page.locator("[data-command=animate]")
    assert "all 56 of the shot" in root.locator("[data-is=pace]").inner_text()
    page.wait_for_function(f"{other}.marker.photo.view.dense", timeout=WAIT_MS)
    page.keyboard.press("Shift+Tab")
    root.locator("section[data-is=photo] canvas").press("Enter")  # the crosshair stands in the middle
    page.wait_for_function(f"{other}.marker.photo.mark", timeout=WAIT_MS)


def test_a_stroke_on_its_way_at_undo_is_what_is_undone(editor) -> None:
    bird = editor.ask("editor.object.mask.id")
    editor.tool("brush")
    editor.page.mouse.click(*editor.at(30, 30))
    editor.page.keyboard.press("Control+z")
    editor.until("editor.history.past.length === 3 && editor.now === 1")
    assert editor.ask("editor.object.mask.id") == bird
    editor.page.keyboard.press("Control+y")
    editor.until("editor.now === 2 && editor.object.mask.box[0] < 30")


def test_undoing_the_selection_selects_again(editor) -> None:
    editor.page.locator("[data-field=dx]").focus()
    editor.page.keyboard.press("Control+z")  # from anywhere
    editor.until("editor.objects.length === 0")
    assert editor.ask("editor.tool") == "select"


def test_an_object_is_chosen_and_moved_without_a_mouse(browser, gui_url) -> None:
    editor = Editor(browser, gui_url)
    editor.sample()
    editor.canvas.focus()
    for key in ("ArrowRight",) * 3 + ("ArrowUp",):
        editor.page.keyboard.press(key)
    assert editor.ask("editor.cross")[0] > WIDTH / 2
    editor.page.keyboard.press("Enter")
    editor.until("editor.objects.length === 1")
    editor.page.locator("[data-tool=select]").focus()
    for _ in range(3):
        editor.page.keyboard.press("ArrowRight")
    assert editor.ask("editor.tool") == "move"
    assert editor.page.evaluate("document.activeElement.dataset.tool") == "move"
    editor.canvas.focus()
    editor.page.keyboard.press("Shift+ArrowLeft")
    assert editor.motion()["dx"] == -10
    assert editor.faults == []
    editor.page.context.close()
