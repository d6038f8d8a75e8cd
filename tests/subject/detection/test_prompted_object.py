import cv2
import numpy as np
import pytest
from pictures_of_things import gradient, ladybird_and_goldfish, overlap, sample, two_birds

from mtransfer.subject.detection.picture import Picture
from mtransfer.subject.detection.prompted_object import nearest_object_point, object_at, object_in
from mtransfer.subject.detection.salient_objects import find_objects
from mtransfer.subject.regions import Region, bounding_box


@pytest.fixture(scope="module")
def birds() -> Picture:
    return Picture(two_birds())


@pytest.fixture(scope="module")
def both() -> Picture:
    """A ladybird on the left and a goldfish on the right."""
    return Picture(ladybird_and_goldfish())


@pytest.fixture(scope="module")
def objects(both) -> list[Region]:
    return find_objects(both)


@pytest.mark.parametrize(("point", "number"), [((325, 100), 0), ((360, 90), 0), ((90, 75), 1), ((80, 85), 1)])
def test_a_point_names_the_object_that_holds_it(point, number, both, objects) -> None:
    found = object_at(both, *point)
    assert overlap(found, objects[number]) > 0.75
    assert found[point[1], point[0]]


@pytest.mark.parametrize(("box", "number"), [((285, 25, 470, 155), 0), ((40, 50, 150, 142), 1)])
def test_a_box_names_the_object_in_it(box, number, both, objects) -> None:
    assert overlap(object_in(both, box), objects[number]) > 0.75


@pytest.mark.parametrize(("x", "left"), [(150, True), (360, False)])
def test_of_two_alike_the_one_that_was_pointed_at(x, left, birds) -> None:
    found = object_at(birds, x, 80)
    assert found[80, x]
    box = bounding_box(found)
    assert box[2] < 256 if left else box[0] > 256


@pytest.mark.parametrize("point", [(293, 180), (390, 75)])
def test_a_point_on_one_wing_is_the_whole_bird(point) -> None:
    bird = Picture(sample("wooden_bird.jpg"))
    assert overlap(object_at(bird, *point), find_objects(bird)[0]) > 0.9


def test_a_point_on_a_tail_is_the_whole_fish(both, objects) -> None:
    assert overlap(object_at(both, 400, 90), objects[0]) > 0.75


@pytest.mark.parametrize("point", [(40, 22), (47, 27), (68, 30), (58, 41)])
def test_a_small_thing_is_completed_in_a_crop_about_it(point) -> None:
    fish, bird = sample("goldfish.png"), sample("wooden_bird.jpg")
    pixels = cv2.resize(fish, (640, 480), interpolation=cv2.INTER_AREA)
    pixels[:77, :130] = cv2.resize(bird, (130, 77), interpolation=cv2.INTER_AREA)
    picture = Picture(pixels)
    whole = cv2.resize(find_objects(Picture(bird))[0].astype(np.uint8), (104, 62)) > 0
    expected = np.zeros(picture.size, bool)
    expected[:62, :104] = whole
    assert overlap(object_at(picture, *point), expected) > 0.93


def test_plain_ground_holds_no_object() -> None:
    sky = Picture(sample("kite.jpg"))
    assert object_at(sky, 60, 40) is None
    x, y = nearest_object_point(sky, 60, 40)
    assert 175 < x < 240
    assert 95 < y < 180


@pytest.mark.parametrize("place", [(0, 0), (239, 179), (120, 0)])
def test_points_on_the_border_are_looked_at(place) -> None:
    assert object_at(Picture(gradient()), *place) is None


def test_a_box_of_nothing_is_no_object() -> None:
    assert object_in(Picture(gradient()), (20, 20, 20, 20)) is None
