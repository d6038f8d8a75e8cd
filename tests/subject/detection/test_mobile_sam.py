import hashlib

import numpy as np
import pytest
from pictures_of_things import ladybird_and_goldfish, overlap, sample

from mtransfer.errors import ModelError
from mtransfer.subject.detection import mobile_sam
from mtransfer.subject.detection.mobile_sam import FOLDER, Embedding, embed


@pytest.fixture(scope="module")
def goldfish() -> Embedding:
    return embed(sample("goldfish.png"))


def test_an_embedding_is_of_the_net_s_size_and_knows_the_picture_s(goldfish) -> None:
    assert goldfish.values.shape == (1, 256, 32, 32)
    assert goldfish.size == sample("goldfish.png").shape[:2]
    assert np.array_equal(goldfish.values, embed(sample("goldfish.png")).values)


def test_a_point_and_a_box_mean_the_same_thing(goldfish) -> None:
    height, width = goldfish.size
    by_point = max(goldfish.at_point(0.45 * width, 0.5 * height), key=lambda each: each.quality)
    rows, columns = np.nonzero(by_point.region)
    box = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    by_box = max(goldfish.in_box(box), key=lambda each: each.quality)
    assert by_point.region.shape == (height, width)
    assert overlap(by_point.region, by_box.region) > 0.9
    assert 0.15 < by_point.region.mean() < 0.3


def test_a_prompt_gives_four_masks_with_figures_between_0_and_about_1(goldfish) -> None:
    candidates = goldfish.at_point(*(side / 2 for side in reversed(goldfish.size)))
    assert len(candidates) == 4
    assert all(0 <= each.stability <= 1 and 0 < each.predicted_iou < 1.1 for each in candidates)
    assert all(each.quality == each.predicted_iou * each.stability for each in candidates)


def test_points_are_pixels_of_a_picture_of_any_shape() -> None:
    both = embed(ladybird_and_goldfish())
    fish = max(both.at_point(560, 150), key=lambda each: each.quality).region
    assert fish[:, 384:].sum() == fish.sum() > 0
    half = max(both.scaled((144, 384)).at_point(280, 75), key=lambda each: each.quality).region
    assert half.shape == (144, 384)
    assert overlap(half, fish[::2, ::2]) > 0.95


@pytest.mark.parametrize("content", [None, b"no net"])
def test_missing_or_broken_weights_end_in_one_line(content, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(mobile_sam, "FOLDER", tmp_path)
    if content is not None:
        (tmp_path / "encoder.onnx").write_bytes(content)
    mobile_sam.load_nets.cache_clear()
    try:
        with pytest.raises(ModelError, match=r"encoder\.onnx"):
            embed(sample("goldfish.png"))
    finally:
        mobile_sam.load_nets.cache_clear()


def test_the_weights_are_carried_with_their_licence() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {"LICENSE", "decoder.onnx", "encoder.onnx"}


def test_the_hash_is_of_both_files() -> None:
    content = b"".join((FOLDER / name).read_bytes() for name in ("encoder.onnx", "decoder.onnx"))
    assert mobile_sam.mobile_sam_hash() == hashlib.sha256(content).hexdigest()
