"""The report of a comparison: whole, offline, and marking what is best."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from pictures import disc, disc_photo

from mtransfer.evaluation.figures import FIGURES, Edit
from mtransfer.jobs.comparison.compare import Asked, Comparison, Made
from mtransfer.jobs.comparison.report import ABOUT, best_of, page, verdict
from mtransfer.jobs.recipe import EditRecipe

FIRST = {
    "moved_as_asked": 0.9,
    "flow_raft_px": 4.2,
    "flow_dis_px": 3.0,
    "kept_ssim": 0.9,
    "sharpness": 1.3,
    "residue": 0.5,
    "clip": None,
}
SECOND = {
    "moved_as_asked": 0.8,
    "flow_raft_px": 2.1,
    "flow_dis_px": 3.01,
    "kept_ssim": 0.8,
    "sharpness": 0.9,
    "residue": 0.0,
    "clip": None,
}
ALIKE = {"background_psnr_db": float("inf"), "flow_dis_median_px": 1.0, "flow_loss_raft_px": 1.0, "kept_psnr_db": 20.0}


@pytest.fixture
def found() -> Comparison:
    photo, mask = disc_photo()[None], disc()[None, None]
    flow = torch.tensor([12.0, 0.0]).view(1, 2, 1, 1) * mask
    recipe = EditRecipe.build({"photo": Path("<b>a&b.png"), "flow": Path("f.npz"), "prompt": "<i>"}, [])
    made = [
        Made("fast", photo, 3.25, FIRST | ALIKE, {"preset": "fast", "steps": 80}),
        Made("draft", 1 - photo, 0.5, SECOND | ALIKE, {}),
    ]
    return Comparison(Asked(recipe), recipe, Edit(photo, flow, mask), made, {"instruct": "x<y is not here"}, [])


class Reader(HTMLParser):
    """The cells of every row, with the class of each, and every address on the page."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.kinds: list[list[str | None]] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attributes) -> None:
        found = dict(attributes)
        self.tags.append(tag)
        self.addresses += [found[key] for key in ("src", "href") if key in found]
        if tag == "tr":
            self.rows.append([])
            self.kinds.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.kinds[-1].append(found.get("class"))

    def handle_data(self, data) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture
def read(found) -> Reader:
    reader = Reader()
    reader.feed(page(found, {"mtransfer": "1.2"}))
    return reader


def test_everything_shown_is_in_the_page(read) -> None:
    assert read.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in read.addresses)
    assert not {"link", "iframe", "object"} & set(read.tags)


def test_names_are_text(found, read) -> None:
    text = page(found, {})
    assert "&lt;b&gt;a&amp;b.png: 2 methods compared" in text
    assert not re.search(r"<b>a|<i>\W*</dd>", text)
    assert "instruct: x&lt;y is not here" in text
    assert "fast: preset=fast steps=80" in text


def test_the_best_of_each_figure_is_marked_and_what_nothing_measures_is_left_out(read) -> None:
    head, fast, draft = read.rows
    assert head == [
        *("method", "moved as asked", "motion error, RAFT, px", "motion error, DIS, px", "subject kept, SSIM"),
        *("subject's detail, 1 = photo's", "left in its old place", "background kept, dB", "seconds"),
    ]
    assert fast[1:] == ["0.90", "4.2", "3.0", "0.90", "1.30", "0.50", "same", "3.2"]
    assert fast[0] == f"fast{ABOUT['fast']}"
    marked = [
        [cell for cell, kind in zip(*row, strict=True) if kind == "best"]
        for row in zip(read.rows, read.kinds, strict=True)
    ]
    assert marked == [[], ["0.90", "3.0", "0.90", "same"], ["2.1", "3.0", "0.90", "0.00", "same"]]
    assert draft[5] == "0.90"


def test_the_verdict_names_the_best(found) -> None:
    assert verdict(found.made) == (
        "Nearest to the motion asked for: draft (2.1 px); keeps the subject best: fast (0.90); "
        "least left in the old place: draft (0.00)."
    )
    assert best_of(found.made, "clip") is None
    assert {best_of(found.made, name) for name in FIGURES if name != "clip"} == {"fast", "draft"}
