from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField, affine_flow, translate_flow
from mtransfer.flow.io import save_field
from mtransfer.flow.warp import pixel_grid
from mtransfer.media.photo.photo import Photo, to_levels
from mtransfer.motion.edit_motion import EditMotion, edit_field, parse_xy
from mtransfer.subject.subject import Subject, subject_from_mask

SIZE = (40, 60)
CENTRE_XY = (25.0, 18.0)  # of the subject: columns 15 to 35, rows 12 to 24


def photo() -> Photo:
    image = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
    return Photo(to_levels(image), image, None, 1.0, None, "", Path("photo.png"))


def subject() -> Subject:
    mask = torch.zeros(1, *SIZE)
    mask[:, 12:25, 15:36] = 1
    return subject_from_mask(photo().image, mask)


def edited(**given) -> FlowField:
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return edit_field(EditMotion(**given), photo(), subject())[1]


def refused(**given) -> str:
    with pytest.raises(InputError) as error:
        edited(**given)
    assert "\n" not in str(error.value)
    return str(error.value)


def vector(field: FlowField, x: int, y: int) -> list[float]:
    return field.flow[0, :, y, x].tolist()


def inside() -> Tensor:
    return subject().mask[0] > 0


@pytest.mark.parametrize(
    ("given", "motion"),
    [
        ({"translate": "4,-3.5"}, {"translate_px": (4, -3.5)}),
        ({"rotate": 30.0}, {"rotate_deg": 30}),
        ({"scale": 1.5}, {"scale": 1.5}),
        ({"stretch": "2,0.5"}, {"stretch_xy": (2, 0.5)}),
        (
            {"translate": "4,-3", "rotate": 30.0, "scale": 1.5, "stretch": "2,0.5"},
            {"translate_px": (4, -3), "rotate_deg": 30, "scale": 1.5, "stretch_xy": (2, 0.5)},
        ),
    ],
    ids=lambda value: "+".join(value),
)
def test_each_motion_acts_on_the_subject_about_its_centroid_and_nowhere_else(given, motion) -> None:
    field, truth = edited(**given), affine_flow(SIZE, CENTRE_XY, **motion)
    torch.testing.assert_close(field.flow[..., inside()], truth.flow[..., inside()], atol=1e-4, rtol=1e-5)
    assert not field.flow[..., ~inside()].any()
    torch.testing.assert_close(field.confidence, subject().mask[None])


def test_turning_is_counter_clockwise_on_screen() -> None:
    # The point 10 px to the right of the centroid ends 10 px above it.
    torch.testing.assert_close(vector(edited(rotate=90.0), 35, 18), [-10.0, -10.0], atol=1e-4, rtol=0)


def test_scale_comes_before_stretch_rotation_and_translation() -> None:
    field = edited(scale=2.0, stretch="3,1", rotate=90.0, translate="1,5")
    # 2 px right of the centroid: 12 px right, then 12 px up, then by (1, 5).
    torch.testing.assert_close(vector(field, 27, 18), [-1.0, -7.0], atol=1e-4, rtol=0)


def test_a_pin_alone_is_a_translation_and_two_share_the_subject() -> None:
    torch.testing.assert_close(edited(pin=["20,15:4,-2"]).flow, edited(translate="4,-2").flow, atol=1e-4, rtol=0)
    pulled = edited(pin=["16,18:0,0", "34,18:0,5"])
    torch.testing.assert_close(vector(pulled, 16, 18), [0.0, 0.0], atol=1e-3, rtol=0)
    torch.testing.assert_close(vector(pulled, 34, 18), [0.0, 5.0], atol=1e-3, rtol=0)


def test_pins_come_last_and_name_points_of_the_photo() -> None:
    moved = edited(translate="6,2", pin=["16,18:0,0", "34,18:0,5"])
    torch.testing.assert_close(vector(moved, 16, 18), [6.0, 2.0], atol=1e-2, rtol=0)
    torch.testing.assert_close(vector(moved, 34, 18), [6.0, 7.0], atol=1e-2, rtol=0)


def test_strength_is_a_share_of_every_motion() -> None:
    half = edited(strength=0.5, translate="4,-3", rotate=30.0, scale=1.5, stretch="2,0.5")
    truth = affine_flow(
        SIZE, CENTRE_XY, translate_px=(2, -1.5), rotate_deg=15, scale=1.25, stretch_xy=(1.5, 0.75)
    ).flow[..., inside()]
    torch.testing.assert_close(half.flow[..., inside()], truth, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(edited(strength=0.5, pin=["20,15:4,-2"]).flow, edited(translate="2,-1").flow)
    assert not edited(strength=0.0, translate="4,-3", scale=1.5).flow.any()


def moving_square() -> FlowField:
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., 5:10, 40:52] = 1
    return FlowField(translate_flow(SIZE, 3, 1).flow * mask, torch.full((1, 1, *SIZE), 0.75))


def test_a_flow_file_is_used_as_it_is_and_says_what_moves(tmp_path: Path) -> None:
    save_field(moving_square(), tmp_path / "flow.npz")
    asked = EditMotion(flow=tmp_path / "flow.npz", strength=2.0)
    moved, field = edit_field(asked, photo(), subject(), is_told_by_flow=True)
    torch.testing.assert_close(field.flow, 2 * moving_square().flow)
    torch.testing.assert_close(field.confidence, moving_square().confidence)
    assert moved.box_xyxy == (40, 5, 52, 10)
    torch.testing.assert_close(moved.mask, moving_square().flow[0].ne(0).any(0, keepdim=True).float())


def test_a_file_and_a_motion_or_neither_are_refused(tmp_path: Path) -> None:
    save_field(moving_square(), tmp_path / "flow.npz")
    assert "--flow FILE, or one or more of --translate" in refused()
    for motion in ({"translate": "1,1"}, {"rotate": 1.0}, {"scale": 2.0}, {"stretch": "1,2"}, {"pin": ["1,2:3,4"]}):
        assert "--flow FILE, or one or more of --translate" in refused(flow=tmp_path / "flow.npz", **motion)


@pytest.mark.parametrize(
    ("flow", "words"),
    [
        (np.zeros((2, *SIZE), np.float32), "zero everywhere"),
        (np.ones((2, 20, 30), np.float32), "30 x 20 pixels, the photo 60 x 40"),
        (np.full((2, *SIZE), np.nan, np.float32), "NaN"),
        (np.ones((3, 2, *SIZE), np.float32), "holds 3 flows"),
    ],
)
def test_flow_files_that_cannot_be_used(flow, words, tmp_path: Path) -> None:
    np.save(tmp_path / "flow.npy", flow)
    message = refused(flow=tmp_path / "flow.npy")
    assert words in message
    assert "flow.npy" in message


def test_a_flow_file_that_is_not_there() -> None:
    assert "nowhere.npz" in refused(flow=Path("nowhere.npz"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"translate": "4"}, "--translate 4: two numbers"),
        ({"translate": "4,x"}, "--translate 4,x: two numbers"),
        ({"translate": "1,2,3"}, "--translate 1,2,3"),
        ({"translate": "nan,1"}, "--translate nan,1: the numbers must be finite"),
        ({"stretch": "inf,1"}, "--stretch inf,1"),
        ({"stretch": "0,1"}, "must be above 0"),
        ({"pin": ["1,2"]}, "--pin 1,2: write it as x,y:dx,dy"),
        ({"pin": ["1,2:3"]}, "--pin 3: two numbers"),
        ({"pin": ["1,2:3,4", "1,2:5,6"]}, "two pins"),
        ({"scale": 1.5, "strength": -3.0}, "must be above 0"),
    ],
)
def test_motions_that_cannot_be_are_named(given, words) -> None:
    assert words in refused(**given)


def test_a_pair_may_have_spaces_and_signs() -> None:
    assert parse_xy(" +4 , -3.5e0", "--translate") == (4, -3.5)


def test_the_centroid_of_a_soft_mask_is_weighed() -> None:
    mask = torch.zeros(1, *SIZE)
    mask[:, 18, 20], mask[:, 18, 30] = 1, 0.6
    field = edit_field(EditMotion(scale=2.0), photo(), subject_from_mask(photo().image, mask))[1]
    grid = pixel_grid(mask[None])
    centre = (grid * mask).sum(dim=(2, 3)) / mask.sum()
    torch.testing.assert_close(field.flow[0, :, 18, 20], (grid[0, :, 18, 20] - centre[0]), atol=1e-4, rtol=0)


def test_a_flow_file_is_carried_on_where_it_is_not_trusted(tmp_path) -> None:
    flow, confidence = affine_flow(SIZE, CENTRE_XY, rotate_deg=20).flow, torch.ones(1, 1, *SIZE)
    torn = flow.clone()
    torn[..., 15:19, 20:28], confidence[..., 15:19, 20:28] = 0, 0
    mask = subject().mask[None]
    save_field(FlowField(torn * mask, confidence), tmp_path / "torn.npz")
    found_subject, field = edit_field(EditMotion(flow=tmp_path / "torn.npz"), photo(), subject())
    assert torch.equal(found_subject.mask, subject().mask)
    torch.testing.assert_close(field.flow, flow * mask, atol=0.1, rtol=0)


def test_of_a_flow_file_what_moves_is_the_subject(tmp_path) -> None:
    flow = translate_flow(SIZE, 3, 2).flow * subject().mask
    save_field(FlowField.from_flow(flow), tmp_path / "flow.npz")
    asked = EditMotion(flow=tmp_path / "flow.npz")
    everything = subject_from_mask(photo().image, torch.ones(1, *SIZE))
    assert torch.equal(edit_field(asked, photo(), everything, is_told_by_flow=True)[0].mask, subject().mask)
