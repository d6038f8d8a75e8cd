from pathlib import Path

import pytest
import torch

from mtransfer.media.image import read_photo
from mtransfer.motion.shared_part import shared_part
from mtransfer.subject.segment import segment
from mtransfer.subject.shape import likeness
from mtransfer.subject.subject import Subject

BIRD = Path(__file__).parents[2] / "samples" / "wooden_bird.jpg"


@pytest.fixture(scope="module")
def bird() -> Subject:
    return segment(read_photo(BIRD).image, "auto")


def test_a_photo_of_a_wing_is_moved_by_the_wing(bird) -> None:
    left = bird.mask.clone()
    left[:, :, 330:] = 0  # the far wing alone
    part = shared_part(bird, left)
    assert part is not None
    assert torch.equal(part.image, bird.image)
    assert (part.mask * left).sum() > 0.8 * part.mask.sum()
    assert likeness(part.mask, left) > likeness(bird.mask, left) + 0.15


def test_a_photo_of_the_whole_is_moved_by_the_whole(bird) -> None:
    assert shared_part(bird, bird.mask) is None
    assert shared_part(bird, bird.mask.flip(-1)) is None


def test_a_photo_of_something_else_is_moved_by_the_whole(bird) -> None:
    line = torch.zeros_like(bird.mask)
    line[:, 10:14] = 1
    assert shared_part(bird, line) is None
