"""Frames from known flows: each from the photo, over a background that stays as it was first painted."""

from pathlib import Path

import pytest
import torch
from pictures import CENTRE_XY, SIDE_PX, disc, disc_photo
from torch import Tensor

from mtransfer.flow.field import FlowField, affine_flow
from mtransfer.flow.warp import covered_mask, dilate
from mtransfer.jobs.context import Run, start
from mtransfer.jobs.recipe import AnimateRecipe
from mtransfer.media.crop import WHOLE
from mtransfer.media.quantize import quantize_uint8
from mtransfer.sampling.composite import halo_px
from mtransfer.sampling.frames import FrameRenderer

MASK = disc()[None, None]
PHOTO = quantize_uint8(disc_photo()[None])


def run(steps: int = 4) -> Run:
    sampler = {"steps": steps, "flow_updates": 1, "flow_levels": 1}
    values = {"clip": Path("a.mp4"), "photo": Path("b.png"), "model": "embedded", "sampler": sampler}
    return start(AnimateRecipe, AnimateRecipe.build(values, []))[0]


def painter(*, sampled: bool) -> FrameRenderer:
    job = run()
    return FrameRenderer(job.tools() if sampled else None, PHOTO, MASK, WHOLE)


def flow(right_px: float, turn_deg: float = 0.0) -> FlowField:
    moved = affine_flow((SIDE_PX, SIDE_PX), CENTRE_XY, rotate_deg=turn_deg, translate_px=(right_px, 0.0))
    return FlowField(moved.flow * (MASK > 0), moved.confidence)


def silent(pipe: object, step: int, t: int, values: dict) -> None:
    pass


def vacated(field: FlowField) -> Tensor:
    """Where the disc was and neither it nor its halo is any longer."""
    return (MASK > 0) & (dilate((covered_mask(field.flow, MASK) > 0).float(), halo_px(PHOTO) + 7) == 0)


@pytest.mark.parametrize("sampled", [False, True])
def test_without_motion_a_frame_is_the_photo(sampled) -> None:
    assert torch.equal(painter(sampled=sampled).paint(flow(0), silent), PHOTO)


@pytest.mark.parametrize("sampled", [False, True])
def test_a_frame_shows_the_subject_moved_and_nothing_else(sampled) -> None:
    frame = painter(sampled=sampled).paint(flow(40), silent)
    inside = dilate(1 - disc(40)[None, None], 4) == 0
    shifted = torch.roll(PHOTO, 40, dims=-1)
    assert (frame - shifted).abs()[:, :, inside[0, 0]].mean() < 0.03
    away = dilate(torch.maximum(MASK, disc(40)[None, None]), 20) == 0
    assert torch.equal(frame[:, :, away[0, 0]], PHOTO[:, :, away[0, 0]])
    assert torch.equal(frame, quantize_uint8(frame))


@pytest.mark.parametrize("sampled", [False, True])
def test_what_is_vacated_stays_as_it_was_first_painted(sampled) -> None:
    made = painter(sampled=sampled)
    frames = [made.paint(flow(right, turn), silent) for right, turn in ((45, 0), (55, 5), (46, 0))]
    both = vacated(flow(45, 0))[0, 0]
    assert both.float().mean() > 0.02
    for frame in frames[1:]:
        assert (frame - frames[0]).abs()[:, :, both].max() <= 1.01 / 255
    assert len(made.flicker) == 2
    assert max(made.flicker) <= 2


def test_frames_that_are_the_warp_alone_do_not_hang_on_each_other() -> None:
    made = painter(sampled=False)
    frames = {right: made.warped(flow(right))[0] for right in (40, 0, 20)}
    for right in (0, 20, 40):
        assert torch.equal(made.paint(flow(right), silent), frames[right])


def test_a_plate_that_is_known_is_not_filled_again() -> None:
    plate = PHOTO.flip(-1)
    assert FrameRenderer(None, PHOTO, MASK, plate=plate).plate is plate


def test_flicker_is_that_of_pixels_vacated_twice() -> None:
    made = painter(sampled=False)
    made.paint(flow(40), silent)
    assert made.flicker == []
    brighter = (made.plate + 10 / 255).clamp(0, 1)
    made.recall(flow(40), brighter)
    assert made.flicker[0] == pytest.approx(10, abs=1)


@pytest.mark.parametrize("sampled", [False, True])
def test_it_goes_on_from_frames_painted_before(sampled) -> None:
    flows = [flow(0), flow(25, 10), flow(32, 20)]
    whole = painter(sampled=sampled)
    wanted = [whole.paint(each, silent) for each in flows]
    again = painter(sampled=sampled)
    for each, frame in zip(flows[:2], wanted, strict=False):
        again.recall(each, frame)
    assert torch.equal(again.paint(flows[2], silent), wanted[2])
    assert again.flicker == whole.flicker


def test_what_was_added_to_a_frame_is_carried_with_the_subject() -> None:
    made = painter(sampled=True)
    first, second = flow(10), flow(30)
    draft = made.paint(first, silent)
    spot = torch.zeros_like(PHOTO)
    spot[:, 2, 70:90, 75:85] = 0.3  # on the disc as it lies in the first frame
    made.recall(first, (draft + spot).clamp(0, 1))
    carried = made._carried(second)
    assert carried is not None
    gained = carried[0, 2] - carried[0, 1]
    scale = carried.shape[-1] / SIDE_PX
    row, column = int(80 * scale), int(100 * scale)  # 20 px further right
    assert gained[row, column] > 0.15
    assert gained[row, int(76 * scale)].abs() < 0.1


def test_a_frame_begins_with_what_was_added_before() -> None:
    alone, after = painter(sampled=True), painter(sampled=True)
    after.paint(flow(20), silent)
    assert after.evaluations > 0
    assert not torch.equal(after.paint(flow(26), silent), alone.paint(flow(26), silent))
