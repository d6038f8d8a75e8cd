import pytest
import torch
from ellipses import CLIP, CLIP_CENTRE, PHOTO, PHOTO_CENTRE, ellipse, half_disc, inner_gap, subject
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField, affine_flow, resize, translate_flow
from mtransfer.flow.warp import pixel_grid
from mtransfer.motion.retarget import Fit, core, fit_frames, fit_similarity, fit_subjects, retarget
from mtransfer.subject.subject import Subject


def small_clip_subject() -> Subject:
    return subject(ellipse(CLIP, CLIP_CENTRE, 12, 16))


def large_photo_subject() -> Subject:
    """Twice as large as the clip's."""
    return subject(ellipse(PHOTO, PHOTO_CENTRE, 24, 32))


def moved(field: FlowField, strength: float = 1.0) -> FlowField:
    clip, photo = small_clip_subject(), large_photo_subject()
    return retarget(field, fit_similarity(clip, photo), clip.mask, photo.mask, strength)


spots = st.tuples(st.floats(45, 80), st.floats(40, 60))
radii = st.floats(6, 30)


@given(spots, radii, radii, spots, radii, radii)
def test_centroid_falls_on_centroid_and_area_on_area(clip_at, clip_x, clip_y, photo_at, photo_x, photo_y) -> None:
    clip, photo = subject(ellipse(CLIP, clip_at, clip_x, clip_y)), subject(ellipse(PHOTO, photo_at, photo_x, photo_y))
    fit = fit_similarity(clip, photo)
    ratio = photo.mask.sum() / clip.mask.sum()
    torch.testing.assert_close(torch.linalg.det(fit.linear), ratio, rtol=1e-4, atol=0)
    assert fit.linear[0, 0] == fit.linear[1, 1] > 0
    assert fit.linear[0, 1] == fit.linear[1, 0] == 0
    found, wanted = (
        torch.stack([part.float().mean() for part in (s.mask[0] > 0).nonzero(as_tuple=True)[::-1]])
        for s in (clip, photo)
    )
    torch.testing.assert_close(fit.to_clip(wanted.view(1, 2, 1, 1)).flatten(), found, atol=1e-2, rtol=0)


@given(spots, radii, spots, radii)
def test_the_way_to_the_clip_undoes_the_fit(clip_at, clip_radius, photo_at, photo_radius) -> None:
    fit = fit_similarity(
        subject(ellipse(CLIP, clip_at, clip_radius, 9)), subject(ellipse(PHOTO, photo_at, photo_radius, 9))
    )
    points = pixel_grid(torch.zeros(1, 1, 9, 9)) * 7
    there = torch.einsum("ij,bjhw->bihw", fit.linear, points) + fit.offset.view(1, 2, 1, 1)
    torch.testing.assert_close(fit.to_clip(there), points, atol=1e-3, rtol=1e-4)


def test_vectors_grow_with_the_subject() -> None:
    """Moving the field without scaling its vectors is the classic error: the subject would move half as far."""
    found = moved(translate_flow(CLIP, 5, -3))
    assert inner_gap(found, translate_flow(PHOTO, 10, -6), large_photo_subject()) < 0.1


@pytest.mark.parametrize("motion", [{"rotate_deg": 20}, {"scale": 1.3}, {"rotate_deg": -15, "translate_px": (3, 4)}])
def test_a_turn_or_growth_stays_the_same_turn_or_growth(motion) -> None:
    found = moved(affine_flow(CLIP, CLIP_CENTRE, **motion))
    larger = motion | {"translate_px": tuple(2 * v for v in motion.get("translate_px", (0, 0)))}
    assert inner_gap(found, affine_flow(PHOTO, PHOTO_CENTRE, **larger), large_photo_subject()) < 0.5


def test_vectors_turn_with_a_fit_that_turns() -> None:
    photo = large_photo_subject()
    quarter = torch.tensor([[0.0, 2.0], [-2.0, 0.0]])  # twice as large, a quarter turn counter-clockwise
    fit = Fit(quarter, torch.tensor(PHOTO_CENTRE) - quarter @ torch.tensor(CLIP_CENTRE))
    found = retarget(translate_flow(CLIP, 5, 1), fit, torch.ones(1, *CLIP), photo.mask, 1.0)
    assert inner_gap(found, translate_flow(PHOTO, 2, -10), photo) < 1e-3


def test_nothing_moves_and_nothing_is_known_outside_the_subject() -> None:
    found, outside = moved(translate_flow(CLIP, 5, -3)), large_photo_subject().mask == 0
    assert not found.flow[:, :, outside[0]].any()
    assert not found.confidence[:, :, outside[0]].any()


@given(st.floats(-3, 3, width=32))
def test_strength_multiplies(strength) -> None:
    field = affine_flow(CLIP, CLIP_CENTRE, rotate_deg=20, translate_px=(4, 1))
    torch.testing.assert_close(moved(field, strength).flow, strength * moved(field).flow, atol=1e-4, rtol=1e-4)


def test_what_is_not_known_is_filled_from_around_it() -> None:
    field = translate_flow(CLIP, 5, -3)
    flow, confidence = field.flow.clone(), field.confidence.clone()
    flow[..., 38:48, 46:54], confidence[..., 38:48, 46:54] = 99, 0
    found = moved(FlowField(flow, confidence))
    assert inner_gap(found, translate_flow(PHOTO, 10, -6), large_photo_subject()) < 0.1
    assert found.confidence[0, 0, 70, 60] == 0
    assert found.confidence[0, 0, 50, 60] == 1


def test_the_clips_background_does_not_leak_into_the_subject() -> None:
    """The photo's subject is wider than the clip's: the gap is filled from the subject, not from what is beside it."""
    clip, photo = small_clip_subject(), subject(ellipse(PHOTO, PHOTO_CENTRE, 40, 19))
    flow = torch.where(clip.mask > 0, translate_flow(CLIP, 5, -3).flow, torch.full((1, 2, *CLIP), 77.0))
    fit = fit_similarity(clip, photo)
    found = retarget(FlowField.from_flow(flow), fit, clip.mask, photo.mask, 1.0)
    scale = float(fit.linear[0, 0])
    assert inner_gap(found, translate_flow(PHOTO, 5 * scale, -3 * scale), photo) < 0.1


def test_no_confident_motion_on_the_subject_is_an_error() -> None:
    field = FlowField(translate_flow(CLIP, 5, 0).flow, torch.zeros(1, 1, *CLIP))
    with pytest.raises(InputError, match="choose another --pair or --clip-subject"):
        moved(field)


@pytest.mark.parametrize("photo_size", [(192, 256), (48, 64), (96, 200)])
def test_frame_onto_frame_is_the_field_resized(photo_size) -> None:
    field = affine_flow(CLIP, CLIP_CENTRE, rotate_deg=12, translate_px=(4, 1))
    ones = torch.ones(1, *CLIP), torch.ones(1, *photo_size)
    found = retarget(field, fit_frames(CLIP, photo_size), *ones, 1.0)
    gap = (found.flow - resize(field, photo_size).flow).abs()[..., 4:-4, 4:-4]
    assert gap.max() < 1e-2
    assert bool((found.confidence[..., 4:-4, 4:-4] == 1).all())


def test_of_a_large_photo_the_motion_is_that_of_a_small_one() -> None:
    clip, size = small_clip_subject(), (1200, 1120)
    photo = subject(ellipse(size, (600.0, 700.0), 240, 320))
    field = affine_flow(CLIP, CLIP_CENTRE, rotate_deg=12, translate_px=(4, 1))
    fit = fit_similarity(clip, photo)
    found = retarget(field, fit, clip.mask, photo.mask, 1.0)
    scale = float(fit.linear[0, 0])
    truth = affine_flow(size, (600.0, 700.0), rotate_deg=12, translate_px=(4 * scale, scale))
    assert inner_gap(found, truth, photo) < 2
    assert not found.flow[:, :, photo.mask[0] == 0].any()


def test_flow_at_the_rim_is_not_believed() -> None:
    """There it is mixed with that of what is behind."""
    clip, photo = subject(ellipse(CLIP, CLIP_CENTRE, 24, 32)), large_photo_subject()
    rim = clip.mask - ellipse(CLIP, CLIP_CENTRE, 23, 31)
    flow = translate_flow(CLIP, 5, -3).flow * (1 - 0.8 * rim)
    found = retarget(FlowField.from_flow(flow), fit_similarity(clip, photo), clip.mask, photo.mask, 1.0)
    assert inner_gap(found, translate_flow(PHOTO, 5, -3), photo) < 0.1


def test_thin_parts_keep_their_middle() -> None:
    mask = torch.zeros(1, 60, 256)
    mask[:, 10:40, 10:60] = 1
    mask[:, 20:23, 60:200] = 1
    kept = core(mask)
    assert bool((kept[0, 21, 80:195] == 1).all())
    assert kept[0, 10, 30] == 0
    assert kept[0, 25, 30] == 1
    assert bool((core(torch.ones(1, 40, 50)) == 1).all())


def test_a_mirrored_fit_mirrors_the_motion() -> None:
    clip = subject(half_disc(CLIP, CLIP_CENTRE, 20, 1))
    photo = subject(half_disc(PHOTO, (48, 60), 20, -1))
    fit = fit_subjects(clip, photo, "similarity", mirror=True)
    found = retarget(translate_flow(CLIP, 5, -3), fit, clip.mask, photo.mask, 1.0)
    assert inner_gap(found, translate_flow(PHOTO, -5, -3), photo) < 0.2
    nose = fit.to_clip(torch.tensor([25.0, 52.0]).view(1, 2, 1, 1)).flatten()
    assert nose[0] > CLIP_CENTRE[0] + 15


def test_an_affine_fit_stretches_and_does_not_turn() -> None:
    clip, photo = subject(ellipse(CLIP, CLIP_CENTRE, 12, 16)), subject(ellipse(PHOTO, PHOTO_CENTRE, 36, 16))
    fit = fit_subjects(clip, photo, "affine")
    torch.testing.assert_close(fit.linear, torch.diag(torch.tensor([3.0, 1.0])), atol=0.05, rtol=0)


def turned(mask: Tensor, degrees: float) -> Tensor:
    grid = pixel_grid(mask[None])
    turn = affine_flow((mask.shape[-2], mask.shape[-1]), (60.0, 60.0), rotate_deg=-degrees).flow
    return (
        torch.nn.functional.grid_sample(
            mask[None], (2 * (grid + turn) / 119 - 1).permute(0, 2, 3, 1), align_corners=True
        )[0]
        > 0.5
    ).float()


@pytest.mark.parametrize("align", ["similarity", "affine"])
@pytest.mark.parametrize("degrees", [25, -40])
def test_with_turn_the_long_axes_meet(align, degrees) -> None:
    size = (120, 120)
    upright = ellipse(size, (60.0, 60.0), 16, 40)
    clip, photo = subject(upright), subject(turned(upright, degrees))
    up = translate_flow(size, 0, -10)
    there = affine_flow(size, (60.0, 60.0), rotate_deg=degrees).flow[0, :, 20, 60] + torch.tensor([0.0, -40.0])
    kept, led = (
        retarget(up, fit_subjects(clip, photo, align, turn=turn), clip.mask, photo.mask, 1.0) for turn in (False, True)
    )
    assert abs(float(kept.flow[0, 0, 60, 60])) < (0.5 if align == "similarity" else 8)
    wanted = 10 * there / there.norm()
    torch.testing.assert_close(led.flow[0, :, 60, 60], wanted, atol=0.7, rtol=0)


def test_a_round_subject_points_nowhere() -> None:
    clip, photo = subject(ellipse(CLIP, CLIP_CENTRE, 20, 20)), subject(ellipse(PHOTO, PHOTO_CENTRE, 20, 21))
    fit = fit_subjects(clip, photo, "similarity", turn=True)
    assert fit.linear[0, 1] == fit.linear[1, 0] == 0


def test_unaligned_is_frame_onto_frame() -> None:
    fit = fit_subjects(small_clip_subject(), large_photo_subject(), "none")
    torch.testing.assert_close(fit.linear, fit_frames(CLIP, PHOTO).linear)
