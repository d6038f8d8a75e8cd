import numpy as np
import pytest
import torch
from ellipses import CLIP, CLIP_CENTRE, PHOTO, PHOTO_CENTRE, ellipse, inner_gap, subject
from torch import Tensor

from mtransfer.flow.field import translate_flow
from mtransfer.flow.warp import pixel_grid, sample
from mtransfer.motion.retarget import fit_similarity, fit_subjects, retarget
from mtransfer.motion.thin_plate import OUTLINE_POINTS, matched, outline
from mtransfer.subject.subject import Subject


def pear(size: tuple[int, int], centre: tuple[float, float], radius: float, facing: int = 1) -> Subject:
    """A round body with a smaller head to its right (1) or left (-1)."""
    head = ellipse(size, (centre[0] + facing * 1.2 * radius, centre[1] - 0.5 * radius), 0.5 * radius, 0.4 * radius)
    return subject(torch.maximum(ellipse(size, centre, radius, radius), head))


def overlap(clip: Subject, photo: Subject, align: str, mirror: bool = False) -> float:
    """Of the photo's mask with the clip's, carried there by the fit."""
    fit = fit_subjects(clip, photo, align, mirror=mirror)
    carried = sample(clip.mask[None], fit.to_clip(pixel_grid(photo.mask[None])), padding_mode="zeros")[0]
    return float(torch.minimum(carried, photo.mask).sum() / torch.maximum(carried, photo.mask).sum())


@pytest.mark.parametrize("mirror", [False, True])
def test_silhouettes_come_to_lie_on_each_other(mirror) -> None:
    clip = pear(CLIP, CLIP_CENTRE, 18, -1 if mirror else 1)
    photo = subject(ellipse(PHOTO, PHOTO_CENTRE, 34, 24))
    before, after = (overlap(clip, photo, align, mirror) for align in ("similarity", "thinplate"))
    assert before < 0.8
    assert after > 0.9


def test_a_translation_stays_one_as_long_as_the_fit_makes_it() -> None:
    clip, photo = pear(CLIP, CLIP_CENTRE, 18), subject(ellipse(PHOTO, PHOTO_CENTRE, 34, 24))
    fit = fit_subjects(clip, photo, "thinplate")
    found = retarget(translate_flow(CLIP, 5, -3), fit, clip.mask, photo.mask, 1.0)
    scale = float(fit_similarity(clip, photo).linear[0, 0])
    assert inner_gap(found, translate_flow(PHOTO, 5 * scale, -3 * scale), photo) < 0.1


def test_of_like_silhouettes_the_bend_is_small() -> None:
    fit = fit_subjects(pear(CLIP, CLIP_CENTRE, 15), pear(PHOTO, PHOTO_CENTRE, 30), "thinplate")
    assert fit.bend is not None
    assert fit.bend.norm(dim=1).max() < 1.5


def points(mask: Tensor) -> np.ndarray:
    return outline((mask > 0.5).numpy()[0])


def test_an_outline_is_even_and_on_the_edge() -> None:
    found = points(ellipse(CLIP, CLIP_CENTRE, 20, 20))
    assert found.shape == (OUTLINE_POINTS, 2)
    away = np.linalg.norm(found - CLIP_CENTRE, axis=1)
    np.testing.assert_allclose(away, 20, atol=1.2)
    steps = np.linalg.norm(np.diff(found, axis=0), axis=1)
    assert steps.max() < 1.6 * steps.min()


def test_outlines_are_matched_where_they_run_nearest() -> None:
    ours = points(pear(CLIP, CLIP_CENTRE, 18).mask)
    shifted = np.roll(ours, 23, axis=0) + np.array([1.5, -1.0])
    np.testing.assert_allclose(matched(ours, shifted), ours + np.array([1.5, -1.0]))
