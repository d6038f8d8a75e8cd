"""Which items folders, globs and lists make, and where their results go."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtransfer.batch.folder_names import is_place, places
from mtransfer.batch.items import Item, Source, find_items
from mtransfer.errors import InputError
from mtransfer.media.photo.formats import PHOTO_SUFFIXES


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """clips/{a.mp4, b.MOV, sub/c.mp4} and photos/{a.jpg, b.png, sub/c.jpg}, with other files among them."""
    names = ["clips/a.mp4", "clips/b.MOV", "clips/sub/c.mp4", "photos/a.jpg", "photos/b.png", "photos/sub/c.jpg"]
    others = ["clips/notes.txt", "clips/.hidden.mp4", "clips/.trash/d.mp4", "photos/a.mp4", "photos/a.jpg.part"]
    for name in [*names, *others]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def keys(*words: str, match: str = "all") -> list[tuple[str, str]]:
    return [item.key for item in find_items(words[0], words[1] if len(words) > 1 else None, match)]


def test_folders_give_every_clip_with_every_photo(home) -> None:
    clips, photos = ["a.mp4", "b.MOV", "sub/c.mp4"], ["a.jpg", "b.png", "sub/c.jpg"]
    assert keys("clips", "photos") == [(clip, photo) for clip in clips for photo in photos]


def test_zip_goes_through_both_in_order(home) -> None:
    assert keys("clips", "photos", match="zip") == [("a.mp4", "a.jpg"), ("b.MOV", "b.png"), ("sub/c.mp4", "sub/c.jpg")]
    (home / "clips" / "c.mp4").touch()
    with pytest.raises(InputError, match="--match zip: 4 clips and 3 photos"):
        keys("clips", "photos", match="zip")


def test_names_match_without_their_suffix(home) -> None:
    (home / "photos" / "sub" / "b.jpg").touch()
    assert keys("clips", "photos", match="name") == [("a.mp4", "a.jpg"), ("b.MOV", "b.png"), ("sub/c.mp4", "sub/c.jpg")]
    with pytest.raises(InputError, match="--match name: no photo is named like a clip, such as a"):
        keys("clips/a.mp4", "photos/b.png", match="name")


def test_a_glob_and_one_file(home) -> None:
    assert keys("clips/**/*.mp4", "photos/a.jpg") == [("a.mp4", "a.jpg"), ("sub/c.mp4", "a.jpg")]


def test_results_are_no_photos(home) -> None:
    (home / "photos" / "out" / "a").mkdir(parents=True)
    (home / "photos" / "out" / "a" / "edited.png").touch()
    found = find_items("clips/a.mp4", "photos", "all", skipped=home / "photos" / "out")
    assert [item.photo.name for item in found] == ["a.jpg", "b.png", "sub/c.jpg"]
    found = find_items("clips/a.mp4", "photos/**/*.png", "all", skipped=home / "photos" / "out")
    assert [item.photo.name for item in found] == ["b.png"]


def test_a_list_of_pairs_with_settings(home) -> None:
    (home / "pairs.csv").write_text("clip,photo,pair\nclips/b.MOV,photos/a.jpg,0:4\nclips/a.mp4,photos/b.png,\n")
    items = find_items("pairs.csv", None, "all")
    assert [item.key for item in items] == [("clips/a.mp4", "photos/b.png"), ("clips/b.MOV", "photos/a.jpg")]
    assert [item.settings for item in items] == [{}, {"pair": "0:4"}]
    rows = [{"clip": "clips/b.MOV", "photo": "photos/a.jpg", "strength": 2}]
    (home / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    assert find_items("pairs.jsonl", None, "all")[0].settings == {"strength": 2}


def test_a_list_of_one_side_is_relative_to_itself(home) -> None:
    (home / "clips" / "some.jsonl").write_text(json.dumps({"clip": "sub/c.mp4"}))
    (item,) = find_items("clips/some.jsonl", "photos/a.jpg", "all")
    assert item.clip == Source("sub/c.mp4", Path("clips/sub/c.mp4"))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("list.csv", "clip\na.mp4\n", "row 1: no photo"),
        ("list.csv", "clip,photo\na.mp4,b.jpg\n,b.jpg\n", "row 2: no clip"),
        ("list.csv", "clip,photo\na.mp4,b.jpg,c\n", "row 1: more cells"),
        ("list.csv", 'clip,photo\n"a.mp4,b.jpg\n', "not a list"),
        ("list.csv", "clip,photo\na.mp4,b.jpg\na.mp4,b.jpg\n", "a.mp4 with b.jpg is there twice"),
        ("list.csv", "clip,photo\n", "an empty list"),
        ("list.csv", "", "an empty list"),
        ("list.jsonl", "[1]", "line 1: not a JSON object"),
        ("list.jsonl", "\n{", "line 2: not a JSON object"),
        ("list.jsonl", "[" * 100000, "line 1: not a JSON object"),
        ("list.jsonl", '{"clip": 3, "photo": "b.jpg"}', "row 1: no clip"),
        ("list.jsonl", '{"clip": "a\\u0000.mp4", "photo": "b.jpg"}', "row 1: no clip"),
        ("list.jsonl", '{"clip": "\\ud800", "photo": "b.jpg"}', "row 1: no clip"),
        ("list.csv", b"clip,photo\n\xff,b.jpg\n", "cannot be read as a list"),
    ],
)
def test_a_broken_list_is_told_with_its_line(name, text, words, tmp_path) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=words):
        find_items(str(tmp_path / name), None, "all")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("absent", "photos"), "absent: no such file or folder"),
        (("clips", "photos/*.tiff"), "photos/*.tiff: no photos there"),
        (("clips/.trash/../sub", "clips/sub"), "clips/sub: no photos there"),
        (("clips",), "clips: no photos to go with it"),
    ],
)
def test_nothing_to_do_is_told(words, said, home) -> None:
    with pytest.raises(InputError) as error:
        keys(*words)
    assert said in str(error.value)


def test_what_is_left_out_is_counted_by_kind(home, capsys) -> None:
    for name in ("d.avi.bak", "e.raw", "F.RAW", "README"):
        (home / "photos" / name).touch()
    found = keys("clips", "photos/**/*")
    assert len(found) == 9
    said = capsys.readouterr().err
    assert said.startswith("warning: 7 files skipped")
    assert said.count("\n") == 1
    assert all(part in said for part in ("2 .raw", "1 .bak", "1 .mp4", "1 .part", "1 .txt", "1 others"))
    keys("clips/a.mp4", "photos/*.jpg")
    assert capsys.readouterr().err == ""
    (home / "photos" / "a.mp4").unlink()
    with pytest.raises(InputError, match=r"photos: no clips there, but .*2 \.raw"):
        keys("photos", "photos")


def test_one_folder_of_both(home, capsys) -> None:
    for name in ("a.mp4", "b.jpg", "c.gif"):
        (home / "mixed" / name).parent.mkdir(exist_ok=True)
        (home / "mixed" / name).touch()
    assert keys("mixed", "mixed") == [("a.mp4", "b.jpg"), ("c.gif", "b.jpg")]
    assert capsys.readouterr().err == ""


def test_every_format_that_edit_reads_is_taken(home, capsys) -> None:
    for suffix in PHOTO_SUFFIXES:
        (home / "many" / f"photo{suffix.upper()}").parent.mkdir(exist_ok=True)
        (home / "many" / f"photo{suffix.upper()}").touch()
    assert len(keys("clips/a.mp4", "many")) == len(PHOTO_SUFFIXES)
    assert {".heic", ".avif", ".jxl", ".jp2", ".gif", ".tif"} <= set(PHOTO_SUFFIXES)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clip;photo\na.mp4;b.jpg\n", "semicolons in its column names; .* clip,photo"),
        ("clip;photo;pair\na.mp4;b.jpg;0:4\n", "semicolons in its column names; .* clip,photo,pair"),
        ("clip\tphoto\na.mp4\tb.jpg\n", "tabs in its column names"),
        ("clip photo\na.mp4 b.jpg\n", "spaces in its column names"),
        ("clip, photo\na.mp4, b.jpg\n", "spaces in its column names; .* clip,photo"),
        ("clip,photo\na.mp4, b.jpg\n", "row 1: spaces around 'b.jpg'"),
        ("\ufeffclip,photo\na.mp4,b.jpg;0:4\na.mp4 ,c.jpg\n", "row 2: spaces around 'a.mp4'"),
    ],
)
def test_a_list_parted_by_other_things_than_commas_says_so(text, words, tmp_path) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=words) as error:
        find_items(str(tmp_path / "list.csv"), None, "all")
    assert "list.csv" in str(error.value)


NAMES = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "a/../../b",
    "a\nb.jpg",
    "\x1b[2J.jpg",
    "x" * 300 + ".mp4",
    "語" * 200,
    "a.mp4",
    "a.avi",
    "A.mp4",
    "a",
    "a-1.mp4",
    "index.html.mp4",
    "manifest.sqlite.mov",
    "e\u0301.jpg",
    "\u00e9.jpg",
    "C:\\x.jpg",
    "con",
    "-rf.jpg",
    ".hidden.jpg",
    "\\xff.jpg",
    "",
    " ",
    "a b.jpg",
    "sub/a.jpg",
    "sub-a.jpg",
]


def items_of(names: list[str]) -> list[Item]:
    return [Item(Source(clip, Path(clip)), Source(photo, Path(photo))) for clip in names for photo in names]


def check_apart_and_inside(items: list[Item], found: dict[tuple[str, str], str], out: Path) -> None:
    assert set(found) == {item.key for item in items}
    assert len({place.casefold() for place in found.values()}) == len({item.key for item in items})
    for place in found.values():
        assert is_place(place)
        assert (out / place).resolve().parent.parent == out.resolve()
        (out / place).mkdir(parents=True, exist_ok=True)  # a name that a disk takes


def test_no_name_leads_out_of_the_results_or_to_anothers(tmp_path) -> None:
    items = items_of(NAMES)
    check_apart_and_inside(items, places(items, {}), tmp_path)
    assert not any((tmp_path / name).is_file() for name in ("index.html", "manifest.sqlite"))
    assert not {"index.html", "manifest.sqlite"} & {place.split("/")[0] for place in places(items, {}).values()}


@given(names=st.lists(st.text(max_size=100), min_size=1, max_size=6, unique=True))
def test_no_text_leads_out_of_the_results(names, tmp_path_factory) -> None:
    items = items_of(names)
    check_apart_and_inside(items, places(items, {}), tmp_path_factory.mktemp("out"))


def test_a_folder_is_named_like_the_file() -> None:
    assert set(places(items_of(["sub/été 1.jpg"]), {}).values()) == {"sub-été_1/sub-été_1"}


def test_folders_known_before_stay() -> None:
    before = places(items_of(["b/a.mp4"]), {})
    after = places(items_of(["b-a.avi", "b/a.mp4"]), before)
    assert after["b/a.mp4", "b/a.mp4"] == before["b/a.mp4", "b/a.mp4"] == "b-a/b-a"
    assert after["b-a.avi", "b-a.avi"] != "b-a/b-a"


@pytest.mark.parametrize("text", ["", "a", "a/b/c", "../a", "a/..", "/a/b", "a/b\n", ".stage/a", "a\\..\\b/c"])
def test_other_folders_are_no_places(text) -> None:
    assert not is_place(text)
