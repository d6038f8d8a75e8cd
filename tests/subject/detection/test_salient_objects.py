import numpy as np
import pytest
from pictures_of_things import gradient, grey, ladybird_and_goldfish, noise, overlap, sample, two_birds

from mtransfer.subject.detection.picture import Picture
from mtransfer.subject.detection.salient_objects import _strayed, find_objects
from mtransfer.subject.regions import bounding_box


@pytest.mark.parametrize("name", ["goldfish.png", "ladybird.jpg", "moss_star.jpg", "wooden_bird.jpg"])
def test_one_thing_is_one_object(name) -> None:
    picture = Picture(sample(name))
    (only,) = find_objects(picture)
    assert only.shape == picture.size
    assert 0.05 < only.mean() < 0.3


def test_two_alike_are_two_objects_of_one_size() -> None:
    right, left = find_objects(Picture(two_birds()))
    assert bounding_box(left)[2] < 256 < bounding_box(right)[0]
    assert overlap(left, right[:, ::-1]) > 0.9


def test_the_main_object_comes_first() -> None:
    goldfish, ladybird = find_objects(Picture(ladybird_and_goldfish()))
    assert goldfish[:, 256:].sum() == goldfish.sum() > 2 * ladybird.sum()
    assert ladybird[:, :256].sum() == ladybird.sum()


@pytest.mark.parametrize("picture", [grey, gradient, noise])
def test_where_nothing_stands_out_there_are_none(picture) -> None:
    assert find_objects(Picture(picture())) == []


def test_the_same_picture_gives_the_same_objects() -> None:
    one, other = (find_objects(Picture(sample("ladybird.jpg"))) for _ in range(2))
    assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


def test_what_a_mask_holds_of_dull_ground_beside_the_object_strays() -> None:
    region, whole = np.zeros((100, 140), bool), np.zeros((100, 140), bool)
    region[20:90, 20:60] = True
    whole[20:90, 20:100] = True
    values = np.where(region, 1.0, 0.0).astype(np.float32)
    strayed = _strayed(whole, region, values)
    assert strayed[:, 65:100].sum() == whole[:, 65:100].sum()
    assert not (strayed & region).any()
    values[:, 60:] = 0.08  # a flank in shadow
    assert not _strayed(whole, region, values).any()
