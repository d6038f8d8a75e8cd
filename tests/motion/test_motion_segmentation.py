import pytest
import torch
import torch.nn.functional as F
from ellipses import CLIP, CLIP_CENTRE, ellipse
from pictures_of_things import as_image, sample
from sliding_square import LEFT, SIZE, SQUARE_PX, TOP, sliding
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.estimator import DisFlow
from mtransfer.flow.field import FlowField, affine_flow, translate_flow
from mtransfer.flow.long_range import read_links
from mtransfer.flow.warp import dilate
from mtransfer.motion.camera import camera_flow, fit_cameras, without_camera
from mtransfer.motion.mask_propagation import track, within
from mtransfer.motion.motion_segmentation import moving_subjects, subject_motion_px
from mtransfer.subject.segment import segment
from mtransfer.subject.subject import subject_from_mask

BLANK = torch.zeros(3, *CLIP)
CAMERAS = [
    {"translate_px": (0, 0)},
    {"translate_px": (6, -4)},
    {"translate_px": (2, 1), "rotate_deg": 3, "scale": 1.04},
]
OWNS = [{"translate_px": (8, 3)}, {"translate_px": (5, -2), "rotate_deg": 8}]


def overlap(one: Tensor, other: Tensor) -> float:
    return float(torch.minimum(one, other).sum() / torch.maximum(one, other).sum())


def scene(camera: dict, own: dict) -> tuple[FlowField, Tensor, Tensor]:
    """A subject that moves by `own` before a camera that moves by `camera`: field, camera's flow, subject's mask."""
    mask, still = ellipse(CLIP, CLIP_CENTRE, 16, 20), affine_flow(CLIP, (64, 48), **camera).flow
    return FlowField.from_flow(still + mask * affine_flow(CLIP, CLIP_CENTRE, **own).flow), still, mask


@pytest.mark.parametrize("camera", CAMERAS, ids=str)
@pytest.mark.parametrize("own", OWNS, ids=str)
def test_subject_and_camera_are_told_apart(camera, own) -> None:
    field, still, mask = scene(camera, own)
    (found,) = moving_subjects(BLANK, field)
    assert overlap(found.mask, mask) > 0.95
    assert found.box_xyxy == subject_from_mask(BLANK, found.mask).box_xyxy
    seen = camera_flow(fit_cameras(field, 1 - found.mask)[0], still)
    assert (seen - still).norm(dim=1).max() < 0.1


@pytest.mark.parametrize("camera", CAMERAS, ids=str)
def test_a_subject_over_most_of_the_frame_is_the_subject(camera) -> None:
    mask, still = ellipse(CLIP, (64, 48), 60, 44), affine_flow(CLIP, (64, 48), **camera).flow
    assert mask.mean() > 0.6
    (found,) = moving_subjects(BLANK, FlowField.from_flow(still + mask * translate_flow(CLIP, 8, 3).flow))
    assert overlap(found.mask, mask) > 0.9


@pytest.mark.parametrize("name", ["ladybird.jpg", "goldfish.png"])
def test_a_thing_that_moves_is_meant_and_not_ground_that_moves_more(name) -> None:
    image = F.interpolate(as_image(sample(name))[None], (240, 320), mode="area")[0]
    thing = segment(image, "auto").mask[None].round()
    height = image.shape[-2]
    ground = torch.zeros_like(thing)
    ground[..., round(0.75 * height) :, :] = 1
    ground = ground * (1 - dilate(thing, 12))
    motion = translate_flow((240, 320), 4, 2).flow * thing + translate_flow((240, 320), -11, 0).flow * ground
    assert float((motion.abs().sum(dim=1, keepdim=True) * ground).sum()) > float((motion.abs() * thing).sum())
    (found,) = moving_subjects(image, FlowField.from_flow(motion))
    assert overlap(found.mask, thing[0]) > 0.8


@pytest.mark.parametrize("camera", CAMERAS, ids=str)
def test_a_camera_alone_moves_no_subject(camera) -> None:
    with pytest.raises(InputError, match="nothing moves against the camera") as error:
        moving_subjects(BLANK, affine_flow(CLIP, (64, 48), **camera))
    assert "--pair A:B" in str(error.value)


def test_motion_without_confidence_is_no_subject() -> None:
    field, _, mask = scene({"translate_px": (0, 0)}, {"translate_px": (8, 3)})
    with pytest.raises(InputError, match="nothing moves"):
        moving_subjects(BLANK, FlowField(field.flow, (1 - mask)[None]))


def two_things() -> tuple[FlowField, Tensor, Tensor]:
    field, _, mask = scene({"translate_px": (2, 0)}, {"translate_px": (8, 3)})
    other = ellipse(CLIP, (105, 70), 9, 9)
    return FlowField.from_flow(field.flow + other * translate_flow(CLIP, -8, 3).flow), mask, other


def test_of_two_moving_things_the_larger_is_the_subject() -> None:
    field, mask, other = two_things()
    (found,) = moving_subjects(BLANK, field)
    assert not (found.mask * other).any()
    assert overlap(found.mask, mask) > 0.95


def test_two_are_found_where_two_are_wanted_and_three_are_not() -> None:
    field, mask, other = two_things()
    first, second = moving_subjects(BLANK, field, 2)
    assert overlap(first.mask, mask) > 0.95
    assert overlap(second.mask, other) > 0.9
    with pytest.raises(InputError, match="2 things move in the clip, not 3; name each with --clip-subject"):
        moving_subjects(BLANK, field, 3)


def test_both_ends_of_what_turns_are_one_subject_and_so_is_its_middle() -> None:
    bar = ellipse(CLIP, (64, 48), 40, 9)
    field = FlowField.from_flow(bar * affine_flow(CLIP, (64, 48), rotate_deg=25).flow)
    (found,) = moving_subjects(BLANK, field)
    assert overlap(found.mask, bar) > 0.85
    assert found.mask[0, 48, 64] == 1


def test_what_surely_moves_is_of_the_subject_whatever_its_colour() -> None:
    field, _, mask = scene({"translate_px": (0, 0)}, {"translate_px": (8, 3)})
    noise = torch.rand(3, *CLIP, generator=torch.Generator().manual_seed(0))
    image = 0.2 * noise + 0.5 * mask * torch.tensor([1.0, 0.2, 0.2]).view(3, 1, 1)
    x, y = CLIP_CENTRE
    patch = slice(int(y) - 6, int(y) + 6), slice(int(x), int(x) + 16)
    image[:, patch[0], patch[1]] = (0.2 * noise)[:, patch[0], patch[1]]  # like the ground, and open to it
    (found,) = moving_subjects(image, field)
    assert found.mask[0][patch[0], patch[1].start : patch[1].start + 8].mean() > 0.95


def test_motion_in_a_few_of_many_frames_is_found() -> None:
    field, _, mask = scene({"translate_px": (0, 0)}, {"translate_px": (8, 3)})
    still = torch.zeros_like(field.flow)
    flow = torch.cat([still, still, 0.5 * field.flow, field.flow, field.flow, field.flow])
    (found,) = moving_subjects(BLANK, FlowField.from_flow(flow))
    assert overlap(found.mask, mask) > 0.95


def test_a_subjects_motion_is_that_where_it_is_confident() -> None:
    field, still, mask = scene({"translate_px": (4, 0)}, {"translate_px": (8, 0)})
    own = without_camera(field.flow, fit_cameras(FlowField.from_flow(still), torch.ones(1, *CLIP)))
    found = subject_from_mask(BLANK, mask)
    assert subject_motion_px(found, FlowField.from_flow(own)) == ([pytest.approx(8, abs=0.1)], [pytest.approx(1)])
    confidence = field.confidence.clone()
    confidence[..., : CLIP[1] // 2] = 0
    (motion_px,), (share,) = subject_motion_px(found, FlowField(torch.where(confidence > 0, own, 99.0), confidence))
    assert motion_px == pytest.approx(8, abs=0.1)
    assert share == pytest.approx(float((mask * confidence[0]).sum() / mask.sum()))
    assert subject_motion_px(found, FlowField(own, 0 * confidence)) == ([0], [0])


def square(shift_px: int) -> Tensor:
    mask = torch.zeros(1, *SIZE)
    mask[:, TOP : TOP + SQUARE_PX, LEFT + shift_px : LEFT + shift_px + SQUARE_PX] = 1
    return mask


def test_a_mask_goes_with_its_subject_forward_and_back() -> None:
    shifts = [0, 5, 10, 15, 20, 25]
    pictures = sliding(shifts)
    links = read_links(DisFlow(), pictures, torch.device("cpu"), lambda done, total: None)
    found = track(square(15), links, pictures, 3, [0, 3, 5])
    assert found.shape == (3, 1, *SIZE)
    for mask, shift in zip(found, (0, 15, 25), strict=True):
        assert overlap(mask.float(), square(shift)) > 0.9


def test_where_flow_leaves_the_tracked_mask_it_is_not_trusted() -> None:
    field = translate_flow(SIZE, 20, 0)
    subject, there = square(0), square(20)
    there[:, :, LEFT + 20 : LEFT + 40] = 0  # its left half is out of sight
    found = within(field, subject, there[None].bool())
    assert found[..., TOP : TOP + SQUARE_PX, LEFT + 2 : LEFT + 14].max() == 0
    assert found[..., TOP : TOP + SQUARE_PX, LEFT + 24 : LEFT + 38].min() == 1
    assert bool((found[0][subject == 0] == 1).all())
