"""The summary page of a batch."""

import re
from html.parser import HTMLParser

import pytest

from mtransfer.batch.index_page import COLUMNS, page, write_page
from mtransfer.batch.manifest import Entry
from mtransfer.batch.storage import open_out

ENTRIES = [
    Entry(
        1,
        "a.mp4",
        "p.jpg",
        "a/p",
        "done",
        1,
        None,
        1.5,
        {"moved_as_asked": 0.92},
        ["edited.png", "thumbnail.jpg"],
    ),
    Entry(2, "a.mp4", "<i>ü</i>\n.jpg", "a/_i_ü", "failed", 3, "clip & photo <b>", None, {}, []),
    Entry(3, "b.mp4", "p.jpg", "b/p", "done", 1, None, 10.0, {}, ["animation.mp4", "contact.png", "thumbnail.jpg"]),
    Entry(4, "c.mp4", "p.jpg", "c/p", "pending", 0, None, None, {}, []),
]


class Reader(HTMLParser):
    """The cells of every row as text, with what they are sorted by, and every address on the page."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.sorts: list[list[str | None]] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attributes) -> None:
        found = dict(attributes)
        self.addresses += [found[key] for key in ("src", "href") if key in found]
        if tag == "tr":
            self.rows.append([])
            self.sorts.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.sorts[-1].append(found.get("data-sort"))

    def handle_data(self, data) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture
def read() -> Reader:
    reader = Reader()
    reader.feed(page(ENTRIES, "today").replace("</tbody>", "<!--").replace("</html>", "--></html>"))
    return reader


def test_every_item_is_a_row_of_text(read) -> None:
    head, *rows = ([cell.strip() for cell in row] for row in read.rows)
    assert tuple(head) == COLUMNS
    assert rows == [
        ["", "a.mp4", "p.jpg", "done", "1.5", "92", "1", ""],
        ["", "a.mp4", "<i>ü</i>\n.jpg", "failed", "", "", "3", "clip & photo <b>"],
        ["", "b.mp4", "p.jpg", "done", "10.0", "", "1", ""],
        ["", "c.mp4", "p.jpg", "pending", "", "", "0", ""],
    ]
    assert [row[4] for row in read.sorts[1:]] == ["1.5", "", "10.0", ""]  # numbers, not their text


def test_it_needs_nothing_but_the_results(read) -> None:
    assert read.addresses == ["a/p/edited.png", "a/p/thumbnail.jpg", "b/p/animation.mp4", "b/p/thumbnail.jpg"]
    text = page(ENTRIES, "today")
    assert not re.search(r"https?:|//[a-z]", text)
    assert "default-src 'none'" in text
    assert "4 items: 2 done, 1 failed, 1 pending. today" in text


def test_it_is_written_whole(tmp_path) -> None:
    write_page(open_out(str(tmp_path)), ENTRIES)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    assert (tmp_path / "index.html").read_text(encoding="utf-8").endswith("</html>\n")
