"""Chromium, and the editor in it with a bird that is selected.

Skipped, saying why, where there is no Chromium; MTRANSFER_NEEDS_BROWSER=1 makes that a failure.
"""

import os
from collections.abc import Iterator

import pytest
from gui_page import CHROMIUM, Editor


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


@pytest.fixture(scope="module")
def shared_editor(browser, gui_url) -> Iterator[Editor]:
    """One page for all tests of a module that leave it as it can be renewed."""
    one = Editor(browser, gui_url)
    one.sample()
    yield one
    one.page.context.close()


@pytest.fixture
def editor(browser, gui_url) -> Iterator[Editor]:
    one = Editor(browser, gui_url)
    one.sample()
    one.select()
    yield one
    assert one.faults == []
    one.page.context.close()
