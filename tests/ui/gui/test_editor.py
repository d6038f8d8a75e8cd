"""The editor's objects, without a page: its flow is the command line's, its preview shows that flow, brushes draw."""

from dataclasses import asdict

import pytest
import torch
from pictures import CENTRE_XY, RADIUS_PX, SIDE_PX, disc, disc_photo, save_mask, save_picture
from pydantic import ValidationError

from mtransfer.errors import InputError
from mtransfer.flow.field import resize
from mtransfer.jobs.transfer import edit
from mtransfer.subject.shape import centroid
from mtransfer.subject.subject import subject_from_mask
from mtransfer.ui.gui.editor import Motion, brushed, edit_motion, field_of, preview, quantised, set_stage

MASK = disc()[None]
MOTIONS = {
    "moved": Motion(dx=12, dy=-7),
    "turned": Motion(rotate=25),
    "scaled": Motion(scale=1.3),
    "stretched": Motion(sx=1.4, sy=0.8),
    "bent": Motion(pins=((50, 80, 0, 0), (90, 80, 0, -15))),
    "all": Motion(dx=5, dy=4, rotate=-10, scale=0.9, sx=1.1, pins=((60, 70, 0, 0), (80, 90, 6, 2))),
}


def own_subject(image=None):
    return subject_from_mask(disc_photo() if image is None else image, MASK)


@pytest.mark.parametrize("name", MOTIONS)
def test_the_flow_is_that_of_the_command(name, tmp_path) -> None:
    motion = MOTIONS[name]
    photo, mask = save_picture(tmp_path / "photo.png", disc_photo()), save_mask(tmp_path / "mask.png")
    asked = edit(photo=photo, subject=str(mask), preset="draft", **asdict(edit_motion(motion))).flow
    torch.testing.assert_close(field_of([own_subject()], [motion]).flow, asked.flow, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", MOTIONS)
def test_the_preview_shows_the_flow_that_is_sent(name) -> None:
    motion = MOTIONS[name]
    stage = set_stage(disc_photo(), [MASK], SIDE_PX // 2)
    shown, _ = preview(stage, [motion])
    sent = resize(field_of([own_subject()], [motion]), shown.size)
    inside = (stage.mask > 0.99).expand(-1, 2, -1, -1)
    torch.testing.assert_close(shown.flow[inside], sent.flow[inside], atol=0.3, rtol=0.02)


def test_the_preview_moves_the_object_by_as_much_as_asked() -> None:
    stage = set_stage(disc_photo(), [MASK], SIDE_PX)
    _, shown = preview(stage, [Motion(dx=40)])
    picture = stage.photo[0].clone()
    picture[:, shown.window[0], shown.window[1]] = shown.image
    warm = picture[0] - picture[2] > 0.2
    assert centroid(warm[None].float()).tolist() == pytest.approx((CENTRE_XY[0] + 40, CENTRE_XY[1]), abs=1)
    assert int(warm.sum()) == pytest.approx(3.14 * RADIUS_PX**2, rel=0.05)


def test_a_flow_is_shown_as_colour_over_the_object_alone() -> None:
    stage = set_stage(disc_photo(), [MASK], SIDE_PX)
    _, shown = preview(stage, [Motion(dx=10)], "flow")
    changed = (shown.image - stage.photo[0]).abs().amax(dim=0) > 0.05
    assert changed[stage.mask[0, 0] > 0.5].float().mean() > 0.95
    assert not changed[:30].any()


def test_objects_move_each_its_own_way_and_the_first_is_in_front() -> None:
    image, other = disc_photo(), torch.roll(MASK, 40, dims=-1)
    field = field_of([own_subject(), subject_from_mask(image, other)], [Motion(dx=5), Motion(dy=9)])
    first, second = MASK[0] > 0, (other[0] > 0) & ~(MASK[0] > 0)
    assert field.flow[0, 0][first].eq(5).all()
    assert field.flow[0, 1][first].eq(0).all()
    torch.testing.assert_close(field.flow[0, :, second], torch.tensor([[0.0], [9.0]]).expand(-1, int(second.sum())))
    assert field.flow[0, :, ~(first | second)].eq(0).all()
    assert field.confidence[0, 0].eq((first | second).float()).all()


@pytest.mark.parametrize("add", [True, False])
def test_a_brush_adds_and_erases_along_its_stroke(add) -> None:
    mask = brushed(MASK, [(20.0, 140.0), (140.0, 140.0), (70.0, 80.0)], 6, add=add)
    assert mask[0, 140, 80] == (1 if add else 0)
    assert mask[0, 80, 70] == (1 if add else 0)
    assert mask[0, 60, 70] == 1
    assert mask[0, 20, 20] == 0


def test_a_stroke_of_no_points_is_refused() -> None:
    with pytest.raises(InputError, match="brush"):
        brushed(MASK, [], 5, add=True)


def test_a_mask_keeps_its_levels_in_a_file() -> None:
    soft = torch.linspace(0, 1, SIDE_PX * SIDE_PX).view(1, SIDE_PX, SIDE_PX)
    assert torch.equal(quantised(quantised(soft)), quantised(soft))
    assert (quantised(soft) - soft).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize(
    "values", [{"dx": float("nan")}, {"scale": 0}, {"sx": 100}, {"pins": [(0, 0, 1, 1)] * 33}, {"flow": "x"}]
)
def test_motions_out_of_range_are_refused(values) -> None:
    with pytest.raises(ValidationError):
        Motion(**values)


def test_what_does_not_move_is_still() -> None:
    assert Motion().still
    assert Motion(pins=((1, 2, 0, 0),)).still
    assert not any(motion.still for motion in MOTIONS.values())
