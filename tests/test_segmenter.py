from pathlib import Path

import pytest
import torch
from torch import Tensor

from mtransfer import segmenter
from mtransfer.errors import InputError, ModelError
from mtransfer.media.image import read_photo
from mtransfer.segmenter import box_hint, build_segmenter, find_subject, load_segmenter, point_hint
from mtransfer.segmenters import segment_by

SAMPLES = Path(__file__).parent.parent / "samples"


def photo(name: str) -> Tensor:
    return read_photo(SAMPLES / name).image


def overlap(first: Tensor, second: Tensor) -> float:
    both, either = (first > 0.5) & (second > 0.5), (first > 0.5) | (second > 0.5)
    return float(both.sum() / either.sum())


@pytest.mark.parametrize("name", ["wooden_bird.jpg", "ladybird.jpg", "goldfish.png"])
def test_it_finds_what_grabcut_finds_by_itself(name) -> None:
    image = photo(name)
    assert overlap(segment_by("embedded", image, "auto").mask, segment_by("grabcut", image, "auto").mask) > 0.8


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [("fig.jpg", (343, 246), (222, 142)), ("kite.jpg", (270, 160), (500, 300))],
    ids=["a fig without its shadow", "a kite's blue corner in a blue sky"],
)
def test_it_knows_what_colour_alone_does_not(name, inside, outside) -> None:
    mask = segment_by("embedded", photo(name), "auto").mask[0]
    assert mask[inside[1], inside[0]] > 0.5
    assert mask[outside[1], outside[0]] < 0.5


def test_a_point_or_a_box_names_one_of_two() -> None:
    bird = torch.nn.functional.interpolate(photo("wooden_bird.jpg")[None], (228, 384), mode="area")[0]
    two = torch.cat([bird, bird.flip(-1)], dim=-1)
    for point, side in (((220.0, 120.0), slice(0, 384)), ((548.0, 120.0), slice(384, 768))):
        by_point = find_subject(two, point=point)[0] > 0.5
        x = point[0]
        by_box = find_subject(two, box=(x - 170, 20.0, x + 120, 200.0))[0] > 0.5
        for mask in (by_point, by_box):
            assert mask[:, side].sum() > 0.8 * mask.sum()
            assert bool(mask[int(point[1]), int(point[0])])


def test_words_and_masks_go_past_the_net(tmp_path) -> None:
    image = photo("ladybird.jpg")
    assert bool((segment_by("embedded", image, "all").mask == 1).all())
    alpha = torch.zeros_like(image[:1])
    alpha[:, 100:200, 100:300] = 1
    assert torch.equal(segment_by("embedded", image, "auto", alpha).mask, alpha)


def test_where_nothing_stands_out_it_asks_back() -> None:
    grey = torch.full((3, 200, 300), 0.5)
    with pytest.raises(InputError, match=r"^--subject auto: no clear subject found; point at it with --subject x,y"):
        find_subject(grey)


def test_nothing_far_from_a_point_is_its_subject() -> None:
    """A click on the sky, whose colours GrabCut cannot tell apart: what the net is sure of, and no haze beyond it."""
    mask = segment_by("embedded", photo("kite.jpg"), "450,340").mask
    assert float((mask > 0).float().mean()) < 0.3


def test_a_box_in_which_nothing_is_found_is_named(monkeypatch) -> None:
    monkeypatch.setattr(segmenter, "SURE", 1.1)
    grey = torch.full((3, 200, 300), 0.5)
    with pytest.raises(InputError, match=r"^--subject 10,10,90,90: no clear subject found there; draw a tighter box"):
        find_subject(grey, box=(10, 10, 90, 90))


def test_hints_are_where_they_are_asked_for() -> None:
    spot, box = point_hint((60, 80), 20, 30), box_hint((60, 80), (10, 20, 30, 40))
    assert divmod(int(spot.argmax()), 80) == (30, 20)
    assert box[20:41, 10:31].min() == 1
    assert box.sum() == 21 * 21


def test_the_net_is_small_and_its_weights_fit() -> None:
    assert 1e6 < sum(parameter.numel() for parameter in build_segmenter().parameters()) < 3e6
    assert not any(parameter.requires_grad for parameter in load_segmenter().parameters())


def test_missing_weights_are_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(segmenter, "WEIGHTS", tmp_path)
    load_segmenter.cache_clear()
    with pytest.raises(ModelError, match=r"segmenter: embedded weights missing or broken; install mtransfer again$"):
        load_segmenter()
    load_segmenter.cache_clear()
