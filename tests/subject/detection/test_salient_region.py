import cv2
import numpy as np
import pytest
from pictures_of_things import gradient, grey, noise, sample

from mtransfer.subject.detection.salient_region import SalientRegion, find_salient_region, grab_cut
from mtransfer.subject.regions import bounding_box

SMALL = {"wooden_bird.jpg": (512, 303), "fig.jpg": (512, 384), "kite.jpg": (512, 384)}


@pytest.fixture(scope="module")
def found() -> dict[str, SalientRegion]:
    """What stands out in samples, 512 pixels wide."""
    return {
        name: find_salient_region(cv2.resize(sample(name), size, interpolation=cv2.INTER_AREA))
        for name, size in SMALL.items()
    }


# Boxes and places looked at in pictures of the regions.
@pytest.mark.parametrize(
    ("name", "box", "inside", "outside"),
    [
        ("wooden_bird.jpg", (72, 39, 428, 219), [(293, 180), (120, 113), (387, 73)], [(279, 33), (400, 200)]),
        ("fig.jpg", (128, 106, 350, 310), [(274, 197), (200, 200)], [(60, 60), (178, 114), (450, 330)]),
        ("kite.jpg", (179, 100, 357, 266), [(230, 180), (320, 148)], [(60, 40), (320, 240)]),
    ],
    ids=["a bird with both wings", "a fig without its plate", "a kite with its blue corner"],
)
def test_one_thing_whole_and_nothing_else(name, box, inside, outside, found) -> None:
    region = found[name].region
    assert bounding_box(region) == pytest.approx(box, abs=8)
    assert all(region[y, x] for x, y in inside)
    assert not any(region[y, x] for x, y in outside)


@pytest.mark.parametrize("name", SMALL)
def test_its_saliency_is_high_within_and_low_without(name, found) -> None:
    values, region = found[name].values, found[name].region
    assert 0 <= values.min() <= values.max() <= 1
    assert values[region].mean() > 0.6
    assert values[~region].mean() < 0.1


@pytest.mark.parametrize("picture", [grey, gradient, noise])
def test_nothing_stands_out(picture) -> None:
    assert not find_salient_region(picture()).region.any()


def test_grabcut_without_ground_to_learn_from_gives_what_it_was_given() -> None:
    labels = np.full((180, 240), cv2.GC_PR_FGD, np.uint8)
    labels[:90] = cv2.GC_FGD
    assert grab_cut(noise(), labels, 1).all()
