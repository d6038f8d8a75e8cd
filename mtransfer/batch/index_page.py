"""The summary page of a batch: one HTML file beside the results that needs nothing but them."""

import html
import time
from collections import Counter
from urllib.parse import quote

from mtransfer.batch.manifest import Entry
from mtransfer.batch.storage import Out, write_text
from mtransfer.batch.worker_process import THUMBNAIL

PAGE = "index.html"
OPENED = ("edited.png", "animation.mp4", "animation.gif", "contact.png")  # by a click, the first that is there
COLUMNS = ("result", "clip", "photo", "state", "seconds", "moved as asked, %", "attempts", "error")
NUMBERS = COLUMNS[4:7]
STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff }
h1 { font-size: 1.4rem; margin: 0 0 .2rem } p { margin: 0 0 1rem; color: #555 }
table { border-collapse: collapse } td, th { padding: .35rem .8rem; text-align: left; border-bottom: 1px solid #ddd }
td.number { text-align: right; font-variant-numeric: tabular-nums }
th.number { text-align: right }
td.text { overflow-wrap: anywhere; min-width: 8rem; max-width: 22rem } th { white-space: nowrap }
th button { font: inherit; font-weight: 600; border: 0; background: none; padding: 0; cursor: pointer }
th[aria-sort=ascending] button::after { content: " \\2191" }
th[aria-sort=descending] button::after { content: " \\2193" }
img { max-width: 96px; max-height: 96px; display: block } .failed { color: #a00 } .running, .pending { color: #777 }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } p { color: #aaa }
 td, th { border-color: #444 } .failed { color: #f77 } button { color: inherit } a { color: #8bf } }
"""
SCRIPT = """
const body = document.querySelector("tbody"), heads = [...document.querySelectorAll("th")];
heads.forEach((head, column) => head.firstChild.addEventListener?.("click", () => {
  const sign = head.ariaSort === "ascending" ? -1 : 1;
  heads.forEach(other => other.ariaSort = null);
  head.ariaSort = sign === 1 ? "ascending" : "descending";
  const value = row => row.cells[column].dataset.sort ?? row.cells[column].textContent;
  const order = (a, b) => a === "" || b === "" ? (a === "") - (b === "") : sign * (isNaN(a) || isNaN(b)
    ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  body.append(...[...body.rows].sort((a, b) => order(value(a), value(b))));
}));
"""


def write_page(out: Out, entries: list[Entry]) -> None:
    """Write the page into OUT."""
    write_text(out, PAGE, page(entries, time.strftime("%Y-%m-%d %H:%M")))


def page(entries: list[Entry], when: str) -> str:
    """A table of every item that a click on a column's head sorts; names are text, never markup."""
    counts = Counter(entry.state for entry in entries)
    states = ", ".join(
        f"{counts[state]} {state}" for state in ("done", "failed", "running", "pending") if counts[state]
    )
    heads = "".join(_head(name) for name in COLUMNS)
    rows = "\n".join(_row(entry) for entry in entries)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>mtransfer batch</title>'
        '<meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<style>{STYLE}</style></head><body>\n<h1>mtransfer batch</h1><p>{len(entries)} items: {states}. {when}</p>\n"
        f"<table><thead><tr>{heads}</tr></thead><tbody>\n{rows}\n</tbody></table>\n"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _head(name: str) -> str:
    kind = ' class="number"' if name in NUMBERS else ""
    return f'<th scope="col"{kind}><button type="button">{name}</button></th>'


def _row(entry: Entry) -> str:
    moved = entry.metrics.get("moved_as_asked")
    percent = 100 * moved if isinstance(moved, (int, float)) else None
    cells = [
        f'<td data-sort="{html.escape(entry.folder)}">{_picture(entry)}</td>',
        _text(entry.clip),
        _text(entry.photo),
        f'<td class="{entry.state}">{entry.state}</td>',
        _number(entry.seconds, 1),
        _number(percent, 0),
        _number(entry.attempts, 0),
        _text(entry.error or ""),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _picture(entry: Entry) -> str:
    if entry.state != "done" or THUMBNAIL not in entry.outputs:
        return ""
    folder = quote(entry.folder)
    shown = f'<img loading="lazy" src="{folder}/{THUMBNAIL}" alt="{html.escape(entry.photo)}">'
    opened = next((name for name in OPENED if name in entry.outputs), THUMBNAIL)
    return f'<a href="{folder}/{opened}">{shown}</a>'


def _text(text: str) -> str:
    return f'<td class="text">{html.escape(text)}</td>'


def _number(value: object, digits: int) -> str:
    if not isinstance(value, (int, float)):
        return '<td class="number" data-sort=""></td>'
    return f'<td class="number" data-sort="{value}">{value:.{digits}f}</td>'
