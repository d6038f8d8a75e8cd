import math

import pytest
import torch
from torch import Tensor

from mtransfer.flow.field import FlowField, affine_flow, compose, translate_flow
from mtransfer.flow.texture_mask import texture_mask
from mtransfer.flow.warp import backward_warp, pixel_grid, sample
from mtransfer.motion.camera import apply, camera_flow, fit_cameras, pan, resized, steadied, without_camera

SIZE = (96, 128)
MIDDLE = (64.0, 48.0)
CAMERAS = [
    {"translate_px": (0, 0)},
    {"translate_px": (6, -4)},
    {"translate_px": (2, 1), "rotate_deg": 3, "scale": 1.04},
]
EVERYWHERE = torch.ones(1, *SIZE)


def box(top: int, bottom: int, left: int, right: int) -> Tensor:
    mask = torch.zeros(1, *SIZE)
    mask[:, top:bottom, left:right] = 1
    return mask


def noise(seed: int = 0, cell_px: int = 4) -> Tensor:
    """A textured picture [3,H,W]."""
    rough = torch.rand(1, 3, SIZE[0] // cell_px, SIZE[1] // cell_px, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(rough, SIZE, mode="bicubic").clamp(0, 1)[0]


def tilted(perspective: float) -> Tensor:
    """A camera that also turns about the vertical: a homography [3,3] about the picture's middle."""
    matrix = torch.tensor([[1.01, 0.0, 5.0], [0.0, 1.01, -2.0], [perspective, 0.0, 1.0]], dtype=torch.float64)
    return resized(matrix, 1.0, MIDDLE)


@pytest.mark.parametrize("camera", CAMERAS, ids=str)
def test_a_camera_alone_is_found_exactly(camera) -> None:
    field = affine_flow(SIZE, MIDDLE, **camera)
    found = fit_cameras(field, EVERYWHERE)
    assert (camera_flow(found[0], field.flow) - field.flow).abs().max() < 0.05
    assert without_camera(field.flow, found).abs().max() < 0.05


@pytest.mark.parametrize("camera", CAMERAS, ids=str)
@pytest.mark.parametrize("subject", [box(8, 88, 20, 120), box(14, 96, 24, 116)], ids=["inside", "at the lower edge"])
def test_a_subject_over_most_of_the_frame_does_not_pass_for_the_camera(camera, subject) -> None:
    assert subject.mean() > 0.6
    still = affine_flow(SIZE, MIDDLE, **camera).flow
    field = FlowField.from_flow(still + subject * translate_flow(SIZE, 8, 3).flow)
    found = fit_cameras(field, EVERYWHERE)
    assert (camera_flow(found[0], still) - still).norm(dim=1).max() < 0.1


def test_a_camera_that_turns_aside_is_a_homography() -> None:
    flow = camera_flow(tilted(6e-4), torch.zeros(1, 1, *SIZE))
    field = FlowField.from_flow(flow + box(30, 60, 40, 80) * translate_flow(SIZE, 9, 0).flow)
    found = fit_cameras(field, EVERYWHERE)[0]
    assert (camera_flow(found, flow) - flow).norm(dim=1).max() < 0.3


def test_noise_makes_no_homography() -> None:
    field = translate_flow(SIZE, 4, 1)
    jitter = 0.3 * torch.randn(field.flow.shape, generator=torch.Generator().manual_seed(1))
    found = fit_cameras(FlowField.from_flow(field.flow + jitter), EVERYWHERE)[0]
    assert not found[2, :2].any()
    assert (camera_flow(found, field.flow) - field.flow).norm(dim=1).max() < 0.5


def test_every_frame_has_its_own_camera() -> None:
    field = FlowField.from_flow(torch.cat([translate_flow(SIZE, 3 * t, -t).flow for t in range(4)]))
    shifts = fit_cameras(field, EVERYWHERE)[:, :2, 2]
    wanted = torch.tensor([[3.0 * t, -t] for t in range(4)], dtype=torch.float64)
    torch.testing.assert_close(shifts, wanted, atol=0.05, rtol=0)


def test_the_camera_is_read_where_flow_is_trusted_and_outside_the_mask() -> None:
    still = translate_flow(SIZE, 6, -4).flow
    broken, confidence = still.clone(), torch.ones(1, 1, *SIZE)
    broken[..., :70, :], confidence[..., :70, :] = 40, 0
    found = fit_cameras(FlowField(broken, confidence), EVERYWHERE)[0]
    assert (camera_flow(found, still) - still).abs().max() < 0.05
    masked = fit_cameras(FlowField.from_flow(broken), 1 - box(0, 70, 0, 128))[0]
    assert (camera_flow(masked, still) - still).abs().max() < 0.05


def test_with_nothing_to_read_it_from_the_camera_stands_still() -> None:
    field, still = translate_flow(SIZE, 6, 6), torch.eye(3, dtype=torch.float64)
    assert torch.equal(fit_cameras(field, 0 * EVERYWHERE)[0], still)
    assert torch.equal(fit_cameras(FlowField(field.flow, 0 * field.confidence), EVERYWHERE)[0], still)


@pytest.mark.parametrize("camera", CAMERAS, ids=str)
@pytest.mark.parametrize("own", [{"translate_px": (8, 3)}, {"translate_px": (5, -2), "rotate_deg": 8}], ids=str)
def test_without_the_camera_only_the_subjects_own_motion_is_left(camera, own) -> None:
    """The subject moves in the world, then the camera films it: C(T(p))."""
    filmed, moved = affine_flow(SIZE, MIDDLE, **camera), affine_flow(SIZE, (50.0, 44.0), **own)
    found = without_camera(compose(moved, filmed).flow, fit_cameras(filmed, EVERYWHERE))
    # Near the border the world has moved out of the picture.
    assert (found - moved.flow).abs()[..., 24:-24, 24:-24].max() < 0.05


def test_a_camera_stands_still_unless_moving_explains_the_pictures_better() -> None:
    picture = noise()
    shifted = backward_warp(picture[None], translate_flow(SIZE, -6, 0).flow, padding_mode="border")[0]
    moving = torch.eye(3, dtype=torch.float64)
    moving[0, 2] = 6
    others = (255 * torch.stack([picture, shifted])).round().byte()
    found = steadied(torch.stack([moving, moving]), picture, others, EVERYWHERE)
    assert torch.equal(found[0], torch.eye(3, dtype=torch.float64))
    assert torch.equal(found[1], moving)


def test_texture_is_where_a_corner_can_be_told_from_its_neighbours() -> None:
    picture = torch.full((3, *SIZE), 0.5)
    picture[:, 20:70, 20:50] = noise()[:, 20:70, 20:50]
    picture[:, :, 90:] = 0.9  # an edge alone lets flow slide along it
    found = texture_mask(picture)
    assert found[:, 25:65, 25:45].mean() > 0.9
    assert not found[:, :, 70:].any()


def test_a_homography_seen_in_a_larger_picture_moves_its_points_alike() -> None:
    camera, points = tilted(4e-4), 20 * torch.rand(1, 2, 3, 5, dtype=torch.float64)
    larger = resized(camera, 3.0, (7.0, -2.0))
    to = torch.tensor([7.0, -2.0], dtype=torch.float64).view(1, 2, 1, 1)
    torch.testing.assert_close(apply(larger, 3 * points + to), 3 * apply(camera, points) + to)


def test_a_panned_photo_carries_its_subject_and_its_motion() -> None:
    picture, mask = noise(cell_px=8), box(30, 60, 40, 70)
    own = FlowField(translate_flow(SIZE, 5, 2).flow * mask, mask[None])
    turn = math.radians(4)
    camera = resized(
        torch.tensor(
            [[math.cos(turn), -math.sin(turn), 6.0], [math.sin(turn), math.cos(turn), -3.0], [0, 0, 1]],
            dtype=torch.float64,
        ),
        1.0,
        MIDDLE,
    )
    image, moved, flow = pan(camera, picture, mask, own)
    grid = pixel_grid(picture[None])
    there = apply(camera, grid)
    inner = (slice(None), slice(None), slice(34, 56), slice(44, 66))
    assert (sample(image[None], there)[inner] - picture[None][inner]).abs().max() < 0.06
    assert sample(moved[None], there)[inner].min() > 0.999
    ended = there + sample(flow.flow, there)
    torch.testing.assert_close(ended[inner], apply(camera, grid + own.flow)[inner], atol=0.05, rtol=0)
    assert not flow.flow[:, :, moved[0] == 0].any()
