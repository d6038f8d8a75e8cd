"""The cache of flows and inversions: it gives back what was made, stays within its bound and never gets in the way."""

import hashlib
import math
import multiprocessing
import os
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mtransfer import cache, files
from mtransfer.cache import remember
from mtransfer.errors import InputError

KEY = {"clip": "abc", "pair": [0, 12], "updates": 20}


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("MTRANSFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MTRANSFER_CACHE_GB", raising=False)
    return tmp_path / "cache"


class Maker:
    """Makes tensors, and counts how often it was asked to."""

    def __init__(self, **tensors: Tensor) -> None:
        self.tensors, self.calls = tensors, 0

    def __call__(self) -> dict[str, Tensor]:
        self.calls += 1
        return self.tensors


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def limit(monkeypatch, count: int) -> None:
    monkeypatch.setattr(cache, "limit_bytes", lambda: count)


def test_what_was_made_is_not_made_again(folder) -> None:
    make = Maker(flow=torch.randn(2, 3, 4), steps=torch.arange(5), half=torch.ones(3).half(), one=torch.tensor(True))
    first, again = remember("flow", KEY, make), remember("flow", dict(reversed(KEY.items())), make)
    assert same(first, make.tensors)
    assert same(again, make.tensors)
    assert make.calls == 1
    (path,) = folder.rglob("*.*")
    assert path.parent.name == "flow"
    assert len(path.stem) == 64


def test_other_keys_kinds_and_versions_are_other_tensors(monkeypatch) -> None:
    make = Maker(x=torch.zeros(1))
    remember("flow", KEY, make)
    remember("flow", {**KEY, "updates": 12}, make)
    remember("inversion", KEY, make)
    monkeypatch.setattr(cache, "__version__", "9.9")
    remember("flow", KEY, make)
    assert make.calls == 4


def test_views_and_shared_memory_can_be_kept() -> None:
    whole = torch.arange(12.0).view(3, 4)
    make = Maker(a=whole.T, b=whole, c=whole[:, 1], empty=torch.zeros(0, 2))
    assert same(remember("flow", KEY, make), remember("flow", KEY, make))
    assert make.calls == 1


def test_gradients_are_not_kept() -> None:
    assert not remember("flow", KEY, Maker(x=torch.ones(2, requires_grad=True)))["x"].requires_grad


def damage(content: bytes, how: str) -> bytes:
    return {
        "truncated": content[:-7],
        "empty": b"",
        "header cut": content[:11],
        "a bit turned": content[:-1] + bytes([content[-1] ^ 1]),
        "another kind of file": b"\x89PNG\r\n" * 40,
        "longer": content + b"more",
    }[how]


@pytest.mark.parametrize("how", ["truncated", "empty", "header cut", "a bit turned", "another kind of file", "longer"])
def test_a_damaged_file_is_made_again(how, folder) -> None:
    make = Maker(x=torch.randn(50))
    remember("flow", KEY, make)
    (path,) = folder.rglob("*.safetensors")
    path.write_bytes(damage(path.read_bytes(), how))
    assert same(remember("flow", KEY, make), make.tensors)
    remember("flow", KEY, make)
    assert make.calls == 2


def test_a_file_of_others_without_our_mark_is_made_again(folder) -> None:
    from safetensors.torch import save_file

    make = Maker(x=torch.randn(5))
    remember("flow", KEY, make)
    (path,) = folder.rglob("*.safetensors")
    save_file({"x": torch.zeros(5)}, path)
    assert same(remember("flow", KEY, make), make.tensors)


def test_a_folder_that_cannot_be_written_only_costs_time(monkeypatch, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MTRANSFER_CACHE", str(tmp_path / "file" / "cache"))
    make = Maker(x=torch.randn(5))
    for calls in (1, 2):
        assert same(remember("flow", KEY, make), make.tensors)
        assert make.calls == calls
    assert cache.info().files == 0
    assert cache.clear() == (0, 0)


def test_a_full_disk_only_costs_time_and_leaves_nothing(monkeypatch, folder) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    make = Maker(x=torch.randn(5))
    assert same(remember("flow", KEY, make), make.tensors)
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_an_error_while_making_is_the_callers(folder) -> None:
    def fail() -> dict[str, Tensor]:
        raise InputError("no motion")

    with pytest.raises(InputError, match="no motion"):
        remember("flow", KEY, fail)
    assert not folder.exists()


def test_the_least_recently_used_go_first(monkeypatch, folder) -> None:
    make = Maker(x=torch.zeros(250))  # about 1.1 kB a file
    limit(monkeypatch, 3600)
    for number in range(3):
        remember("flow", {"n": number}, make)
        (newest,) = folder.rglob("*.safetensors") if number == 0 else [max(folder.rglob("*.safetensors"), key=age)]
        os.utime(newest, (number + 1, number + 1))
    remember("flow", {"n": 0}, make)  # the oldest file is now the last used
    remember("flow", {"n": 3}, make)
    assert make.calls == 4
    assert cache.info().size_bytes <= 3600
    remember("flow", {"n": 0}, make)
    remember("flow", {"n": 2}, make)
    assert make.calls == 4
    remember("flow", {"n": 1}, make)
    assert make.calls == 5


def age(path: Path) -> float:
    return path.stat().st_mtime


def test_the_one_just_written_stays_whatever_its_size(monkeypatch) -> None:
    limit(monkeypatch, 10)
    make = Maker(x=torch.zeros(250))
    for kind in ("flow", "inversion"):
        remember(kind, KEY, make)
        remember(kind, KEY, make)
    assert make.calls == 2
    assert cache.info().files == 1


def test_a_bound_of_zero_is_no_cache(monkeypatch, folder) -> None:
    monkeypatch.setenv("MTRANSFER_CACHE_GB", "0")
    make = Maker(x=torch.zeros(2))
    remember("flow", KEY, make)
    remember("flow", KEY, make)
    assert make.calls == 2
    assert not folder.exists()


@pytest.mark.parametrize("size", ["much", "-1", "nan", "inf", "2GB"])
def test_a_bound_that_is_no_size_is_said(size, monkeypatch) -> None:
    monkeypatch.setenv("MTRANSFER_CACHE_GB", size)
    with pytest.raises(InputError, match=rf"^MTRANSFER_CACHE_GB={size}: not a size; set a number of GB"):
        cache.info()


def test_where_it_is_and_how_large_it_may_be(monkeypatch, folder) -> None:
    assert (cache.folder(), cache.limit_bytes()) == (folder, 2 * 10**9)
    monkeypatch.setenv("MTRANSFER_CACHE_GB", "0.5")
    assert cache.limit_bytes() == 5 * 10**8
    monkeypatch.delenv("MTRANSFER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.folder() == Path("/somewhere/mtransfer")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache.folder() == Path.home() / ".cache" / "mtransfer"
    monkeypatch.setenv("MTRANSFER_CACHE", "~/own")
    assert cache.folder() == Path.home() / "own"


def test_what_it_holds_and_clearing_it(folder) -> None:
    make = Maker(x=torch.zeros(25))
    for number in range(3):
        remember("flow", {"n": number}, make)
    remember("inversion", KEY, make)
    held = cache.info()
    assert (held.folder, held.files, held.limit_bytes) == (folder, 4, 2 * 10**9)
    assert held.by_kind["flow"] == (3, 3 * held.size_bytes // 4)
    assert held.size_bytes == sum(files_and_bytes[1] for files_and_bytes in held.by_kind.values())
    assert cache.clear() == (4, held.size_bytes)
    assert cache.info().files == 0
    assert list(folder.iterdir()) == []


def test_clearing_touches_nothing_that_is_not_the_caches(folder) -> None:
    """MTRANSFER_CACHE may name a folder that holds other things."""
    others = [folder / "flow" / "model.safetensors", folder / "thesis.txt", folder / "flow" / f"{'a' * 64}.txt"]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
    remember("flow", KEY, Maker(x=torch.zeros(2)))
    assert cache.clear()[0] == 1
    assert all(path.read_text() == "precious" for path in others)


def test_what_a_crash_left_behind_is_removed_in_time(folder) -> None:
    remember("flow", {"n": 0}, Maker(x=torch.zeros(2)))
    old, new = folder / "flow" / ".old.mtransfer-part", folder / "flow" / ".new.mtransfer-part"
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (1, time.time() - 2 * cache.ABANDONED_S))
    remember("flow", {"n": 1}, Maker(x=torch.zeros(2)))
    assert not old.exists()
    assert new.exists()


def _use(folder: str, seed: int) -> int:
    os.environ["MTRANSFER_CACHE"] = folder
    os.environ["MTRANSFER_CACHE_GB"] = "0.00001"  # five of the files: they evict each other's all the time
    wrong = 0
    for step in range(120):
        number = (7 * step + seed) % 9
        made = remember("flow", {"n": number}, lambda number=number: {"x": torch.full((450,), float(number))})
        wrong += not torch.equal(made["x"], torch.full((450,), float(number)))
    return wrong


def test_two_processes_at_once_see_whole_files_only(folder) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.starmap(_use, [(str(folder), 0), (str(folder), 4)]) == [0, 0]
    assert 0 < cache.info().size_bytes < 20_000
    assert not list(folder.rglob("*.mtransfer-part"))


def test_a_file_is_named_by_its_content(tmp_path) -> None:
    content = os.urandom(3 * cache.CHUNK_BYTES + 5)
    (tmp_path / "clip.mp4").write_bytes(content)
    assert cache.file_hash(tmp_path / "clip.mp4") == hashlib.sha256(content).hexdigest()


def test_a_key_is_plain_finite_values() -> None:
    for value in (Path("x"), torch.zeros(1), math.nan):
        with pytest.raises((TypeError, ValueError)):
            remember("flow", {"value": value}, Maker())
    with pytest.raises(AssertionError):
        remember("../flow", KEY, Maker())
