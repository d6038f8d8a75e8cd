import cv2
import numpy as np
import pytest
from pictures_of_things import noise, sample

from mtransfer.subject.detection.outline import draw_outline, upsample_mask
from mtransfer.subject.detection.picture import Picture
from mtransfer.subject.detection.salient_objects import find_objects

CENTRE, RADIUS_PX = (640, 460), 250
SIZE = (900, 1200)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """A disc, 1 inside and soft over one pixel, at a size larger than objects are found at."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.clip(RADIUS_PX - np.hypot(columns - CENTRE[0], rows - CENTRE[1]) + 0.5, 0, 1)


@pytest.fixture(scope="module")
def picture(truth) -> Picture:
    """It is orange before a blue ground, both textured."""
    texture = cv2.resize(noise(), SIZE[::-1]).astype(np.float32) - 128
    colours = truth[..., None] * (230, 130, 30) + (1 - truth[..., None]) * (40, 80, 170)
    return Picture((colours + 0.3 * texture).clip(0, 255).astype(np.uint8))


def rough(picture: Picture, off_px: int) -> np.ndarray:
    """The disc on the small grid, `off_px` larger."""
    scale = picture.size[1] / SIZE[1]
    rows, columns = np.mgrid[: picture.size[0], : picture.size[1]]
    return np.hypot(columns - scale * CENTRE[0], rows - scale * CENTRE[1]) < scale * RADIUS_PX + off_px


@pytest.mark.parametrize("off_px", [-3, 0, 3])
def test_an_outline_is_drawn_to_the_edges(off_px, picture, truth) -> None:
    mask = draw_outline(picture, rough(picture, off_px))
    assert mask.shape == SIZE
    assert mask.dtype == np.float32
    assert 0 <= mask.min() <= mask.max() <= 1
    solid, disc = mask > 0.5, truth > 0.5
    assert (solid & disc).sum() / (solid | disc).sum() > 0.985
    assert mask[CENTRE[1], CENTRE[0]] == 1
    assert mask[20, 20] == 0


def test_it_is_soft_at_the_outline_alone(picture, truth) -> None:
    mask = draw_outline(picture, rough(picture, 0))
    soft = (mask > 0.02) & (mask < 0.98)
    rows, columns = np.nonzero(soft)
    assert np.abs(np.hypot(columns - CENTRE[0], rows - CENTRE[1]) - RADIUS_PX).max() < 25
    assert soft.any()


def test_a_mask_of_one_size_stays_what_it_was_away_from_its_outline() -> None:
    guide = noise()
    mask = np.zeros(guide.shape[:2], bool)
    mask[60:120, 80:160] = True
    large = upsample_mask(cv2.resize(guide, (480, 360)), guide, mask)
    assert large.shape == (360, 480)
    assert large[140:220, 180:300].min() == 1
    assert large[:90].max() == large[:, 360:].max() == 0


@pytest.mark.parametrize(
    ("name", "turns"), [("goldfish.png", 2), ("wooden_bird.jpg", 2), ("kite.jpg", 2), ("ladybird.jpg", 1)]
)
def test_a_small_part_that_stands_out_belongs_to_the_object(name, turns) -> None:
    picture = Picture(sample(name))
    whole = np.rot90(find_objects(picture)[0], turns)
    first = int((whole.sum(axis=0).cumsum() > 0.02 * whole.sum()).argmax())
    lost, left = whole.copy(), whole.copy()
    lost[:, first:], left[:, :first] = False, False
    found = draw_outline(picture, np.ascontiguousarray(np.rot90(left, -turns)))
    end = cv2.resize(np.rot90(lost, -turns).astype(np.uint8), found.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    assert (found[end] > 0.5).mean() > 0.8
