"""The page itself in Chromium: what is in sight, contrast and names, words, files, how much is loaded."""

import pytest
from gui_page import DRAG_PX, SAMPLE, WAIT_MS, Editor, note

SIZES = ((1280, 800), (800, 1100), (390, 844))
FADED_MS = 500  # until Gradio's transitions have ended


def test_a_photo_is_carried_to_the_other_tabs(editor) -> None:
    editor.page.get_by_role("tab", name="Transfer").click()
    editor.page.wait_for_function("window.mtransfer.transfer && window.mtransfer.transfer.facts.photo", timeout=WAIT_MS)
    assert editor.page.evaluate("window.mtransfer.transfer.facts.photo.name") == SAMPLE


@pytest.mark.parametrize(("width", "height"), SIZES)
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


def test_the_result_of_the_other_tabs_is_in_sight_too(editor) -> None:
    page, motion = editor.page, "window.mtransfer.transfer"
    page.set_viewport_size({"width": 1280, "height": 800})
    page.get_by_role("tab", name="Transfer").click()
    root = page.locator("[data-command=transfer]")
    root.locator("[data-is=clip-samples]").select_option("cup.mp4")
    page.wait_for_function(f"{motion}.facts.photo && {motion}.shown === 0", timeout=WAIT_MS)
    root.locator("[data-option=range]").fill("0:4")
    page.locator("#mt-transfer-look").click()
    page.locator("#mt-transfer-told [data-state=done]").wait_for(timeout=WAIT_MS)
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for selector in (".mt-made", "a >> nth=0"):
            box = page.locator(f"#mt-transfer-told {selector}").bounding_box()
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= height
        assert page.locator("#mt-transfer-go").bounding_box()["y"] < height
    page.locator("#mt-transfer-told .mt-back").click()
    assert not page.locator("#mt-transfer-told").is_visible()


def test_a_photo_is_dropped_or_pasted_anywhere(editor, tmp_path) -> None:
    give = """async ([kind, where]) => {
        const content = await (await fetch(`/mtransfer/photo/${window.mtransfer.editor.photo.id}`)).blob();
        const transfer = new DataTransfer();
        transfer.items.add(new File([content], `${kind}ed.jpg`, { type: "image/jpeg" }));
        const given = kind === "dropp" ? { dataTransfer: transfer } : { clipboardData: transfer };
        const make = kind === "dropp" ? DragEvent : ClipboardEvent, name = kind === "dropp" ? "drop" : "paste";
        document.querySelector(where).dispatchEvent(new make(name, { bubbles: true, cancelable: true, ...given }));
    }"""
    for kind, where in (("dropp", ".mt-run"), ("past", "h1")):
        editor.page.evaluate(give, [kind, where])
        editor.until(f"editor.photo.name === '{kind}ed.jpg'")


def test_the_page_speaks_of_itself_and_loads_little(browser, gui_url) -> None:
    context, loaded = browser.new_context(viewport={"width": 1280, "height": 800}), []
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.on("Network.loadingFinished", lambda event: loaded.append(event["encodedDataLength"]))
    page.goto(gui_url)
    page.wait_for_function("window.mtransfer && window.mtransfer.editor", timeout=WAIT_MS)
    page.wait_for_timeout(1000)
    note("cold load, kB", sum(loaded) / 1000)
    assert sum(loaded) < 450_000
    for tab in ("Edit", "Transfer", "Animate"):
        page.get_by_role("tab", name=tab).click()
        words = page.locator("main").inner_text()
        for strange in ("--", ".toml", "clip_subject", "sampler", "/mtransfer/"):
            assert strange not in words
    context.close()
