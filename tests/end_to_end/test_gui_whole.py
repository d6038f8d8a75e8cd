"""From a click to a result in Chromium, and what the command line makes of it."""

import os
import zipfile
from pathlib import Path

import pytest
import torch
from command_line import command
from gui_page import DRAG_PX, PHOTO, SAMPLE, WAIT_MS, Editor, note

from mtransfer.evaluation.metrics import flow_error
from mtransfer.flow.estimator import DisFlow
from mtransfer.flow.io import load_field
from mtransfer.media.photo.photo import read_photo
from mtransfer.subject.mask_file import read_mask


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
