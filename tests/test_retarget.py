import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.field import FlowField, affine_flow, compose, resize, translate_flow
from mtransfer.retarget import (
    Fit,
    camera_flow,
    fit_frames,
    fit_similarity,
    moving_subject,
    retarget,
    subject_motion_px,
    without_camera,
)
from mtransfer.subject import Subject, subject_from_mask
from mtransfer.warp import pixel_grid

CLIP, PHOTO = (96, 128), (120, 112)
CLIP_CENTRE, PHOTO_CENTRE = (50.0, 44.0), (60.0, 70.0)


def ellipse(size: tuple[int, int], centre: tuple[float, float], radius_x: float, radius_y: float) -> Tensor:
    x, y = pixel_grid(torch.zeros(1, 1, *size))[0]
    return (((x - centre[0]) / radius_x) ** 2 + ((y - centre[1]) / radius_y) ** 2 <= 1).float()[None]


def subject(mask: Tensor) -> Subject:
    return subject_from_mask(torch.zeros(3, *mask.shape[-2:]), mask)


def small_clip_subject() -> Subject:
    return subject(ellipse(CLIP, CLIP_CENTRE, 12, 16))


def large_photo_subject() -> Subject:
    """Twice as large as the clip's."""
    return subject(ellipse(PHOTO, PHOTO_CENTRE, 24, 32))


def moved(field: FlowField, strength: float = 1.0) -> FlowField:
    clip, photo = small_clip_subject(), large_photo_subject()
    return retarget(field, fit_similarity(clip, photo), clip.mask, photo.mask, strength)


def inner_gap(field: FlowField, truth: FlowField, photo: Subject) -> float:
    return float((field.flow - truth.flow).norm(dim=1)[photo.mask > 0].max())


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


def scene(camera: dict, own: dict) -> tuple[FlowField, Tensor, Tensor]:
    """A subject that moves by `own` before a camera that moves by `camera`: field, camera's flow, subject's mask."""
    mask, still = ellipse(CLIP, CLIP_CENTRE, 16, 20), affine_flow(CLIP, (64, 48), **camera).flow
    return FlowField.from_flow(still + mask * affine_flow(CLIP, CLIP_CENTRE, **own).flow), still, mask


CAMERAS = [
    {"translate_px": (0, 0)},
    {"translate_px": (6, -4)},
    {"translate_px": (2, 1), "rotate_deg": 3, "scale": 1.04},
]
OWNS = [{"translate_px": (8, 3)}, {"translate_px": (5, -2), "rotate_deg": 8}]


@pytest.mark.parametrize("camera", CAMERAS, ids=str)
@pytest.mark.parametrize("own", OWNS, ids=str)
def test_subject_and_camera_are_told_apart(camera, own) -> None:
    field, still, mask = scene(camera, own)
    image = torch.zeros(3, *CLIP)
    found, camera_found = moving_subject(image, field)
    assert (camera_found - still).norm(dim=1).max() < 0.1
    overlap = (found.mask * mask).sum() / torch.maximum(found.mask, mask).sum()
    assert overlap > 0.95
    assert found.box_xyxy == subject_from_mask(image, found.mask).box_xyxy
    torch.testing.assert_close(
        subject_motion_px(found, field, camera_found),
        float((mask * (field.flow - still).norm(dim=1)).sum() / mask.sum()),
        rtol=0.05,
        atol=0,
    )


@pytest.mark.parametrize("camera", CAMERAS, ids=str)
@pytest.mark.parametrize("own", OWNS, ids=str)
def test_without_the_camera_only_the_subjects_own_motion_is_left(camera, own) -> None:
    """The subject moves in the world, then the camera films it: C(T(p))."""
    filmed, moved = affine_flow(CLIP, (64, 48), **camera), affine_flow(CLIP, CLIP_CENTRE, **own)
    found = without_camera(compose(moved, filmed).flow, filmed.flow)
    # Near the border the world has moved out of the picture.
    gap = (found - moved.flow).abs()[..., 24:-24, 24:-24]
    assert gap.max() < 2e-2
    assert without_camera(filmed.flow, filmed.flow).abs().max() < 1e-3


def test_motion_that_is_half_confident_counts_a_quarter() -> None:
    field, still, mask = scene({"translate_px": (0, 0)}, {"translate_px": (8, 0)})
    found = subject_from_mask(torch.zeros(3, *CLIP), mask)
    doubted = FlowField(field.flow, 0.5 * field.confidence)
    assert subject_motion_px(found, doubted, still) == pytest.approx(
        subject_motion_px(found, field, still) / 4, rel=1e-4
    )


def test_camera_is_read_outside_the_subject_and_where_flow_is_trusted() -> None:
    field, still, mask = scene({"translate_px": (6, -4)}, {"translate_px": (8, 3)})
    torch.testing.assert_close(camera_flow(field, 1 - mask), still, atol=1e-2, rtol=0)
    broken, confidence = field.flow.clone(), torch.ones(1, 1, *CLIP)
    broken[..., :70, :], confidence[..., :70, :] = 40, 0
    torch.testing.assert_close(camera_flow(FlowField(broken, confidence), 1 - mask), still, atol=1e-2, rtol=0)


def test_with_nothing_to_read_it_from_the_camera_stands_still() -> None:
    field = translate_flow(CLIP, 6, 6)
    assert not camera_flow(field, torch.zeros(1, *CLIP)).any()
    assert not camera_flow(FlowField(field.flow, 0 * field.confidence), torch.ones(1, *CLIP)).any()


@pytest.mark.parametrize("camera", CAMERAS, ids=str)
def test_a_camera_alone_moves_no_subject(camera) -> None:
    field = affine_flow(CLIP, (64, 48), **camera)
    with pytest.raises(InputError, match="nothing moves against the camera") as error:
        moving_subject(torch.zeros(3, *CLIP), field)
    assert "--pair A:B" in str(error.value)


def test_motion_without_confidence_is_no_subject() -> None:
    field, _, mask = scene({"translate_px": (0, 0)}, {"translate_px": (8, 3)})
    with pytest.raises(InputError, match="nothing moves"):
        moving_subject(torch.zeros(3, *CLIP), FlowField(field.flow, (1 - mask)[None]))


def test_of_two_moving_things_the_larger_is_the_subject() -> None:
    field, _, mask = scene({"translate_px": (2, 0)}, {"translate_px": (8, 3)})
    other = ellipse(CLIP, (105, 70), 9, 9)
    both = FlowField.from_flow(field.flow + other * translate_flow(CLIP, -8, 3).flow)
    found, _ = moving_subject(torch.zeros(3, *CLIP), both)
    assert not (found.mask * other).any()
    assert (found.mask * mask).sum() > 0.95 * mask.sum()


def test_a_textured_subject_before_a_moving_camera_goes_onto_the_photo_by_its_own_motion() -> None:
    field, _, mask = scene(CAMERAS[2], {"translate_px": (8, 3)})
    noise = 0.2 * torch.rand(3, *CLIP, generator=torch.Generator().manual_seed(0))
    image = torch.where(mask > 0, torch.tensor([0.8, 0.4, 0.1]).view(3, 1, 1), torch.tensor(0.4)) + noise
    clip, camera = moving_subject(image, field)
    assert (clip.mask * mask).sum() / torch.maximum(clip.mask, mask).sum() > 0.95
    photo = subject(ellipse(PHOTO, PHOTO_CENTRE, 32, 40))
    motion = FlowField(field.flow - camera, field.confidence)
    found = retarget(motion, fit_similarity(clip, photo), clip.mask, photo.mask, 1.0)
    # The photo's subject is twice as large, so it moves twice as far; the camera's part is gone.
    inner = ellipse(PHOTO, PHOTO_CENTRE, 26, 34) > 0
    assert (found.flow - translate_flow(PHOTO, 16, 6).flow).norm(dim=1)[inner].max() < 0.5
