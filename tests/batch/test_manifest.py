"""The record of a batch."""

import sqlite3

import pytest

from mtransfer.batch.manifest import SCHEMA_VERSION, Manifest
from mtransfer.errors import InputError

FOLDERS = {("a.mp4", "p.jpg"): "a/p", ("a.mp4", "q\n語.jpg"): "a/q"}
SETTINGS = {"command": "transfer", "preset": "draft"}


@pytest.fixture
def path(tmp_path):
    """A manifest of two items."""
    manifest = Manifest(tmp_path / "manifest.sqlite")
    manifest.begin(SETTINGS, FOLDERS)
    manifest.close()
    return tmp_path / "manifest.sqlite"


def states(manifest: Manifest) -> list[str]:
    return [entry.state for entry in manifest.entries()]


def test_a_new_one_holds_what_is_to_be_done(path) -> None:
    manifest = Manifest(path)
    assert manifest.settings() == SETTINGS
    assert [(entry.clip, entry.photo, entry.folder) for entry in manifest.entries()] == [
        (*key, folder) for key, folder in FOLDERS.items()
    ]
    assert states(manifest) == ["pending", "pending"]
    manifest.close()


def test_an_items_life_is_on_disk_at_once(path) -> None:
    manifest, reader = Manifest(path), Manifest(path, read_only=True)
    first, second = (entry.id for entry in manifest.entries())
    manifest.start(first)
    assert states(reader) == ["running", "pending"]
    manifest.put_back([first])
    manifest.start(first)
    manifest.finish(first, 1.5, {"error_px": float("inf")}, ["edited.png"])
    manifest.start(second)
    manifest.fail(second, "why", 0.5)
    done, failed = reader.entries()
    assert (done.state, done.attempts, done.seconds, done.error) == ("done", 2, 1.5, None)
    assert (done.metrics, done.outputs) == ({"error_px": None}, ["edited.png"])
    assert (failed.state, failed.attempts, failed.seconds, failed.error) == ("failed", 1, 0.5, "why")
    manifest.close()
    reader.close()


def test_what_is_known_already_is_not_begun_again(path) -> None:
    manifest = Manifest(path)
    manifest.finish(manifest.entries()[0].id, 1.0, {}, [])
    manifest.begin({"command": "other"}, FOLDERS | {("b.mp4", "p.jpg"): "b/p"})
    assert states(manifest) == ["done", "pending", "pending"]
    assert manifest.settings() == SETTINGS
    manifest.close()


def change(path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_another_version_is_refused(path) -> None:
    change(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(InputError, match=rf"a manifest of version {SCHEMA_VERSION + 1}, this mtransfer writes"):
        Manifest(path)


@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA application_id = 7",
        "DROP TABLE item",
        "ALTER TABLE item DROP COLUMN error",
        "UPDATE item SET folder = '../../' || folder",
        "UPDATE item SET metrics = '['",
        "UPDATE item SET outputs = '{}'",
        "UPDATE item SET attempts = 'many'",
        "UPDATE item SET clip = x'00ff'",
    ],
)
@pytest.mark.parametrize("read_only", [True, False])
def test_a_broken_one_is_refused_in_one_line(path, statement, read_only) -> None:
    change(path, statement)
    with pytest.raises(InputError, match=r"manifest\.sqlite: no manifest, or a broken one \([^\n]+\); move it away"):
        Manifest(path, read_only=read_only).entries()


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(200)])
def test_another_file_is_refused(tmp_path, content) -> None:
    (tmp_path / "m.sqlite").write_bytes(content)
    with pytest.raises(InputError, match="no manifest, or a broken one"):
        Manifest(tmp_path / "m.sqlite")
    assert (tmp_path / "m.sqlite").read_bytes() == content


def test_reading_makes_no_file(tmp_path) -> None:
    with pytest.raises(InputError, match="no such manifest"):
        Manifest(tmp_path / "m.sqlite", read_only=True)
    assert not list(tmp_path.iterdir())
