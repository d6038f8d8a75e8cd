"""The figure a user reads: high for a right result, low or none for any other."""

import json

import pytest
import torch
from metric_scene import BACKGROUND, CASES, FLOW, MASK, PHOTO, SCENE_SIZE, SUBJECT, paste, texture
from torch import Tensor

from mtransfer.evaluation.moved_as_asked import in_words, moved_as_asked, within_px
from mtransfer.flow.field import affine_flow, translate_flow
from mtransfer.sampling.composite import make_composite
from mtransfer.strict_json import strict_json

SMALL, LARGE = (8, 4), (64, 0)  # pixels; the second is a quarter of the width
MOTIONS = pytest.mark.parametrize(("dx", "dy"), [SMALL, (24, -10), LARGE])


def asked(dx: float, dy: float) -> Tensor:
    return translate_flow(SCENE_SIZE, dx, dy).flow * MASK


def noise(seed: int, strength: float) -> Tensor:
    return strength * torch.randn(PHOTO.shape, generator=torch.Generator().manual_seed(seed))


@MOTIONS
def test_the_true_picture_and_the_draft_moved_as_asked(dx: int, dy: int) -> None:
    truth, draft = paste(BACKGROUND, SUBJECT, MASK, dx, dy), make_composite(PHOTO, asked(dx, dy), MASK).image
    for right in (truth, draft, (truth + noise(1, 0.05)).clamp(0, 1)):
        assert moved_as_asked(PHOTO, right, asked(dx, dy), MASK) > 0.9


@MOTIONS
def test_other_results_score_low_or_cannot_be_measured(dx: int, dy: int) -> None:
    wrong = {
        "unmoved": PHOTO,
        "half": paste(BACKGROUND, SUBJECT, MASK, dx // 2, dy // 2),
        "the wrong way": paste(BACKGROUND, SUBJECT, MASK, -min(dx, 40), -dy),
        "gone": BACKGROUND,
        "grey": torch.full_like(PHOTO, 0.5),
        "noise": noise(2, 1.0).clamp(0, 1),
        "smooth noise": texture(7, 32),
    }
    shares = {name: moved_as_asked(PHOTO, edited, asked(dx, dy), MASK) or 0 for name, edited in wrong.items()}
    assert max(shares.values()) < 0.2, shares


@pytest.mark.parametrize("strength", [0, 0.01, 0.02])
def test_a_plain_subject_cannot_be_measured(strength: float) -> None:
    plain = torch.tensor([0.8, 0.3, 0.2]).view(1, 3, 1, 1).expand_as(PHOTO)
    photo, right = (paste(BACKGROUND, plain, MASK, *by) for by in ((0, 0), (24, -10)))
    for edited in (photo, right):
        assert moved_as_asked(photo + noise(1, strength), edited + noise(2, strength), FLOW, MASK) is None


def test_a_turned_subject_is_measured() -> None:
    flow = affine_flow(SCENE_SIZE, (90, 96), rotate_deg=30).flow * MASK
    assert moved_as_asked(PHOTO, make_composite(PHOTO, flow, MASK).image, flow, MASK) > 0.9
    assert (moved_as_asked(PHOTO, PHOTO, flow, MASK) or 0) < 0.2


def test_a_subject_that_is_small_or_asked_to_move_too_little_cannot_be_measured() -> None:
    spot = torch.zeros_like(MASK)
    spot[..., 90:100, 80:90] = 1
    assert moved_as_asked(PHOTO, CASES["exact warp"], FLOW * spot, spot) is None
    assert moved_as_asked(PHOTO, PHOTO, asked(2, 1), MASK) is None


def test_a_large_photo_says_the_same() -> None:
    photo, edited, mask = (
        torch.nn.functional.interpolate(each, scale_factor=4, mode="bilinear")
        for each in (PHOTO, CASES["exact warp"], MASK)
    )
    flow = 4 * torch.nn.functional.interpolate(FLOW, scale_factor=4, mode="nearest")
    assert within_px(photo) == pytest.approx(0.006 * 1024)
    assert moved_as_asked(photo, edited, flow, mask) > 0.9
    assert (moved_as_asked(photo, photo, flow, mask) or 0) < 0.2


def test_it_is_read_as_a_number_and_shown_in_words() -> None:
    lines = {"share": in_words(0.92, 3.0), "none": in_words(None, 3.0)}
    assert json.loads(strict_json(lines)) == {"share": 0.92, "none": None}
    assert [str(line) for line in lines.values()] == ["92 % of the subject within 3 px", "cannot be measured"]
