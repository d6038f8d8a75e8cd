"""A part of an object moves: the rest follows softly, where there is a rest and the photo shows no edge between."""

import cv2
import numpy as np
import pytest
import torch
from pictures_of_things import as_image, overlap, sample
from torch import Tensor

from mtransfer.flow.field import FlowField
from mtransfer.flow.warp import erode
from mtransfer.motion.falloff import Falloff, falloff_of
from mtransfer.sampling.composite import make_composite
from mtransfer.subject.segment import segment

PHOTOS = ("goldfish.png", "wooden_bird.jpg", "ladybird.jpg", "fig.jpg")
MOVED_PX = 24.0


def halves(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """A photo [3,H,W], its subject [1,H,W], and the part of that left of its middle."""
    image = as_image(sample(name))
    whole = segment(image, "auto").mask
    columns = (whole[0] > 0.5).any(dim=0).nonzero()[:, 0]
    part = whole.clone()
    part[..., int(columns.float().mean()) :] = 0
    return image, whole, part


def lifted(part: Tensor) -> FlowField:
    flow = torch.tensor([0.0, -MOVED_PX]).view(1, 2, 1, 1) * (part > 0)[None]
    return FlowField.from_flow(flow)


@pytest.mark.parametrize("name", PHOTOS)
def test_half_a_subject_takes_the_other_half_along(name) -> None:
    image, whole, part = halves(name)
    found = falloff_of(image, part, 0.5)
    assert found is not None
    assert overlap(found.whole[0].numpy() > 0.5, whole[0].numpy() > 0.5) > 0.9
    flow = found.follow(lifted(part)).flow
    inside = erode(found.whole[None], 3)[0, 0] > 0.99
    steepest = max(float(each[0, 1][inside].abs().max()) for each in torch.gradient(flow, dim=(2, 3)))
    assert steepest < 0.8  # nothing tears or folds
    assert torch.equal(flow[0][:, part[0] > 0.5], lifted(part).flow[0][:, part[0] > 0.5])


def test_no_background_shows_between_the_halves() -> None:
    image, whole, part = halves("goldfish.png")
    found = falloff_of(image, part, 0.5)
    torn, soft = (
        make_composite(image[None], field.flow, mask[None]).target[0, 0]
        for field, mask in ((lifted(part), part), (found.follow(lifted(part)), found.whole))
    )
    for target, expected in ((torn, False), (soft, True)):
        filled = cv2.morphologyEx((target > 0.5).numpy().astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3)))
        count, _ = cv2.connectedComponents(filled)
        one_piece = count == 2 and float((target > 0.5).sum()) > 0.95 * float((whole > 0.5).sum())
        assert one_piece == expected


@pytest.mark.parametrize("name", PHOTOS)
def test_a_whole_subject_has_no_rest(name) -> None:
    image, whole, _ = halves(name)
    assert falloff_of(image, whole, 0.5) is None


def test_without_reach_nothing_follows() -> None:
    image, _, part = halves("goldfish.png")
    assert falloff_of(image, part, 0) is None
    assert falloff_of(image, 0 * part, 0.5) is None


def test_a_mask_of_noise_is_looked_at_too() -> None:
    noise = torch.rand(1, 500, 500, generator=torch.Generator().manual_seed(0))
    found = falloff_of(noise.expand(3, -1, -1), (noise > 0.25).float(), 0.5)
    assert found is None or bool((found.whole >= found.part).all())


@pytest.mark.parametrize("reach", [0.5, 1.0, 2.0])
def test_motion_fades_with_the_distance_and_ends(reach) -> None:
    whole = torch.zeros(1, 96, 400)
    whole[:, 30:66, 10:390] = 1
    part = whole.clone()
    part[..., 46:] = 0
    size = 36.0
    flow = Falloff(part, whole, reach).follow(lifted(part)).flow[0, 1, 48]
    fade_px = max(reach * size, 2.5 * MOVED_PX)
    assert flow[45] == -MOVED_PX
    assert float(flow[int(46 + fade_px / 2)]) == pytest.approx(-MOVED_PX / 2, abs=0.12 * MOVED_PX)
    assert float(flow[int(46 + fade_px) + 8 :].abs().max()) < 0.5
    assert bool((flow[45:380].diff() > -1e-3).all())
    assert not flow[395:].any()


def test_what_lies_apart_stays() -> None:
    whole = torch.zeros(1, 96, 200)
    whole[:, 30:66, 10:80], whole[:, 30:66, 120:180] = 1, 1
    part = whole.clone()
    part[..., 40:] = 0
    flow = Falloff(part, whole, 10.0).follow(lifted(part)).flow
    assert float(flow[..., 120:180].abs().max()) < 0.01
    assert float(flow[0, 1, 48, 75]) < -5
