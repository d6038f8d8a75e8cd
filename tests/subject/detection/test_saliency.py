"""U2-Netp as it is run: its weights, its output's range, and that no torch is needed."""

import hashlib
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from pictures_of_things import SAMPLES, grey, sample

from mtransfer.catalog import WEIGHTS
from mtransfer.errors import ModelError
from mtransfer.subject.detection import saliency as module
from mtransfer.subject.detection.saliency import WEIGHTS_FILE, Saliency, ambiguity, load_net, saliency, saliency_hash

SHA256 = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"
FIND = """
import sys
import cv2
from mtransfer.subject.detection.picture import Picture
from mtransfer.subject.detection.salient_objects import find_objects
from mtransfer.subject.detection.prompted_object import object_at
from mtransfer.subject.detection.outline import draw_outline
picture = Picture(cv2.cvtColor(cv2.imread(sys.argv[1]), cv2.COLOR_BGR2RGB))
(main, *_) = find_objects(picture)
assert draw_outline(picture, main).shape == picture.pixels.shape[:2]
assert "torch" not in sys.modules
"""


@pytest.fixture(scope="module")
def kite() -> Saliency:
    return saliency(sample("kite.jpg"))


def test_the_weights_are_those_of_the_card() -> None:
    assert hashlib.sha256(WEIGHTS_FILE.read_bytes()).hexdigest() == saliency_hash() == SHA256
    assert SHA256 in (WEIGHTS / "README.md").read_text(encoding="utf-8")
    assert "Apache License" in (WEIGHTS_FILE.parent / "LICENSE").read_text(encoding="utf-8")


def test_a_kite_stands_out_from_its_sky(kite) -> None:
    assert kite.values.shape == (384, 512)
    assert kite.values.dtype == np.float32
    assert 0 <= kite.values.min() < 0.01
    assert 0.99 < kite.values.max() <= 1
    assert kite.values[170, 240] > 0.9
    assert kite.values[40, 60] < 0.05
    assert kite.peak > 0.8
    assert kite.ambiguity == ambiguity(kite.values) < 0.3


@pytest.mark.parametrize("side_px", [160, 224])
def test_it_looks_at_other_sizes_too(side_px, kite) -> None:
    coarse = saliency(sample("kite.jpg"), side_px).values
    both, either = (coarse > 0.5) & (kite.values > 0.5), (coarse > 0.5) | (kite.values > 0.5)
    assert both.sum() > 0.75 * either.sum()


def test_ambiguity_is_the_fraction_of_what_is_neither() -> None:
    assert ambiguity(np.array([[0, 0.1, 0.5, 0.9, 1]], np.float32)) == pytest.approx(1 / 3)
    assert ambiguity(np.zeros((2, 2), np.float32)) == 0


def test_black_is_no_division_by_nothing() -> None:
    found = saliency(0 * grey(), 160)
    assert np.isfinite(found.values).all()


def test_threads_at_once_see_what_one_sees() -> None:
    pictures = [sample(name)[::2, ::2] for name in ("kite.jpg", "ladybird.jpg")]
    alone = [saliency(np.ascontiguousarray(each), 160).values for each in pictures]
    found: dict[int, list[np.ndarray]] = {0: [], 1: []}

    def look(index: int) -> None:
        found[index] += [saliency(np.ascontiguousarray(pictures[index]), 160).values for _ in range(3)]

    threads = [threading.Thread(target=look, args=(index,)) for index in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(values) == 3 for values in found.values())
    assert all(np.array_equal(each, alone[index]) for index, values in found.items() for each in values)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Another place for the weights, at which nothing is yet."""
    monkeypatch.setattr(module, "WEIGHTS_FILE", tmp_path / "u2netp.onnx")
    for cached in (load_net, saliency_hash, module._output_name):
        cached.cache_clear()
    yield tmp_path / "u2netp.onnx"
    for cached in (load_net, saliency_hash, module._output_name):
        cached.cache_clear()


BROKEN = r"u2netp\.onnx: embedded weights missing or broken; install mtransfer again$"


@pytest.mark.parametrize("look", [load_net, saliency_hash, lambda: saliency(grey(), 160)])
def test_missing_weights_are_named(look, weights) -> None:
    with pytest.raises(ModelError, match=f"^{re.escape(str(weights.parent))}/{BROKEN}"):
        look()


@pytest.mark.parametrize("content", ["empty", "cut", "text"])
def test_broken_weights_are_named(content, weights, capfd) -> None:
    whole = WEIGHTS_FILE.read_bytes()
    weights.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"no net" * 1000}[content])
    with pytest.raises(ModelError, match=BROKEN):
        load_net()
    assert capfd.readouterr() == ("", "")


def test_a_subject_is_found_without_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIND, str(SAMPLES / "ladybird.jpg")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
