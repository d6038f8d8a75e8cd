import cv2
import numpy as np
import pytest
from pictures_of_things import gradient, sample

from mtransfer import cache
from mtransfer.subject.detection.guess_preview import save_guess
from mtransfer.subject.detection.picture import Picture


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MTRANSFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MTRANSFER_CACHE_GB", raising=False)
    return tmp_path / "cache"


def test_what_stands_out_a_little_is_tinted_and_a_grid_says_where(folder) -> None:
    picture = Picture(sample("kite.jpg"))
    path = save_guess(picture)
    assert path.parent == folder / "guesses"
    drawn = cv2.imread(str(path))[..., ::-1].astype(int)
    assert drawn.shape == picture.small.shape
    change = drawn - picture.small
    assert change[165, 290, 1] < -50  # to magenta: less green
    assert np.abs(change[20:75, 10:120]).max() < 40
    assert (drawn[:, 256] == 255).all(axis=1).mean() > 0.9
    assert save_guess(picture) == path


def test_the_cache_counts_and_clears_it(folder) -> None:
    path = save_guess(Picture(gradient()))
    held = cache.info()
    assert held.by_kind == {"guesses": (1, path.stat().st_size)}
    assert cache.clear() == (1, held.size_bytes)
    assert list(folder.iterdir()) == []


def test_it_goes_with_the_least_recently_used(monkeypatch) -> None:
    path = save_guess(Picture(gradient()))
    monkeypatch.setattr(cache, "limit_bytes", lambda: 10)
    other = save_guess(Picture(255 - gradient()))
    assert (path.exists(), other.exists()) == (False, True)


def test_other_pictures_there_are_not_the_caches(folder) -> None:
    own = folder / "guesses" / "holiday.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"precious")
    save_guess(Picture(gradient()))
    assert cache.clear()[0] == 1
    assert own.read_bytes() == b"precious"


def test_without_a_cache_there_is_none(monkeypatch, tmp_path, folder) -> None:
    monkeypatch.setenv("MTRANSFER_CACHE_GB", "0")
    assert save_guess(Picture(gradient())) is None
    assert not folder.exists()
    monkeypatch.delenv("MTRANSFER_CACHE_GB")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MTRANSFER_CACHE", str(tmp_path / "file" / "cache"))
    assert save_guess(Picture(gradient())) is None
