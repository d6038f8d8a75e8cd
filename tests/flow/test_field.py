import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtransfer.errors import InputError
from mtransfer.flow.field import (
    FlowField,
    affine_flow,
    compose,
    mask_field,
    pins_flow,
    resize,
    translate_flow,
)
from mtransfer.flow.visualize import to_image
from mtransfer.flow.warp import pixel_grid

SIZE = (24, 32)
pixels = st.floats(-8, 8, width=32)
sides = st.integers(2, 40)


def at(field: FlowField, x: int, y: int) -> list[float]:
    return field.flow[0, :, y, x].tolist()


def interior(values: torch.Tensor, margin_px: int) -> torch.Tensor:
    return values[..., margin_px:-margin_px, margin_px:-margin_px]


def test_repr_names_shapes_and_no_data() -> None:
    assert repr(translate_flow(SIZE, 3, 4)) == "FlowField(frames=1, size=24x32, longest=5.00 px, cpu)"


@pytest.mark.parametrize(
    ("flow", "confidence", "words"),
    [
        (torch.zeros(2, 8, 8), torch.ones(1, 8, 8), "(frames, 2, height, width)"),
        (torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8), "(1, 3, 8, 8)"),
        (torch.zeros(1, 2, 0, 8), torch.ones(1, 1, 0, 8), "(1, 2, 0, 8)"),
        (torch.zeros(1, 2, 8, 8), torch.ones(1, 1, 8, 9), "(1, 1, 8, 9)"),
        (torch.zeros(1, 2, 8, 8).double(), torch.ones(1, 1, 8, 8), "torch.float64"),
        (torch.full((1, 2, 8, 8), math.nan), torch.ones(1, 1, 8, 8), "128 NaN or infinite"),
        (torch.full((1, 2, 8, 8), math.inf), torch.ones(1, 1, 8, 8), "128 NaN or infinite"),
        (torch.zeros(1, 2, 8, 8), torch.full((1, 1, 8, 8), 1.5), "from 1.5 to 1.5"),
    ],
)
def test_broken_fields_are_refused_in_one_line(flow, confidence, words) -> None:
    with pytest.raises(InputError) as error:
        FlowField(flow, confidence)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_from_flow_takes_one_frame_and_is_confident() -> None:
    field = FlowField.from_flow(torch.zeros(2, *SIZE, dtype=torch.float64))
    assert field.flow.shape == (1, 2, *SIZE)
    assert field.flow.dtype == torch.float32
    assert field.size == SIZE
    assert bool((field.confidence == 1).all())


@given(pixels, pixels, sides, sides)
def test_resizing_scales_vectors_with_the_pixels(dx, dy, height, width) -> None:
    field = resize(translate_flow(SIZE, dx, dy), (height, width))
    want = torch.tensor([dx * width / SIZE[1], dy * height / SIZE[0]]).view(1, 2, 1, 1)
    torch.testing.assert_close(field.flow, want.expand(1, 2, height, width), atol=1e-4, rtol=1e-4)


def test_resizing_listens_to_the_confident_vectors() -> None:
    flow = torch.zeros(1, 2, 8, 8)
    flow[..., ::2], flow[..., 1::2] = 99, 4
    confidence = torch.zeros(1, 1, 8, 8)
    confidence[..., 1::2] = 1
    assert resize(FlowField(flow, confidence), (4, 4)).flow.max() < 2.01


def test_resizing_doubles_and_halves_an_affine_motion() -> None:
    small, large = (
        affine_flow((32, 32), (15.5, 15.5), rotate_deg=10),
        affine_flow((64, 64), (31.5, 31.5), rotate_deg=10),
    )
    torch.testing.assert_close(interior(resize(small, (64, 64)).flow, 2), interior(large.flow, 2), atol=1e-3, rtol=0)
    torch.testing.assert_close(interior(resize(large, (32, 32)).flow, 2), interior(small.flow, 2), atol=1e-3, rtol=0)


def test_a_mask_stops_motion_and_knowledge_outside() -> None:
    mask = torch.zeros(1, *SIZE)
    mask[:, :, :5] = 1
    field = mask_field(translate_flow(SIZE, 3, 0), mask)
    assert at(field, 4, 0) == [3, 0]
    assert at(field, 5, 0) == [0, 0]
    assert field.confidence[0, 0, 0, 5] == 0
    with pytest.raises(InputError, match="9 x 9"):
        mask_field(field, torch.ones(1, 9, 9))


@given(pixels, pixels, pixels, pixels)
def test_chained_translations_add_up(ax, ay, bx, by) -> None:
    chained = compose(translate_flow(SIZE, ax, ay), translate_flow(SIZE, bx, by))
    torch.testing.assert_close(chained.flow, translate_flow(SIZE, ax + bx, ay + by).flow, atol=1e-4, rtol=1e-5)


@given(st.floats(-25, 25), st.floats(0.8, 1.25))
def test_a_motion_chained_with_its_inverse_is_still(rotate_deg, scale) -> None:
    there = affine_flow((64, 64), (30, 33), rotate_deg=rotate_deg, scale=scale)
    back = affine_flow((64, 64), (30, 33), rotate_deg=-rotate_deg, scale=1 / scale)
    chained = compose(there, back)
    known = chained.confidence.expand_as(chained.flow) > 0
    assert known.float().mean() > 0.5
    assert chained.flow[known].abs().max() < 1e-3


def test_points_carried_out_of_the_picture_are_unknown() -> None:
    confidence = compose(translate_flow(SIZE, 30, 0), translate_flow(SIZE, 1, 0)).confidence
    assert confidence[0, 0, 0].tolist() == [1] * 2 + [0] * 30


def test_one_frame_serves_every_frame_of_the_other() -> None:
    many = FlowField.from_flow(torch.arange(3.0).view(3, 1, 1, 1).expand(3, 2, *SIZE))
    assert compose(many, translate_flow(SIZE, 1, 1)).flow[:, 0, 0, 0].tolist() == [1, 2, 3]
    with pytest.raises(InputError, match="3 and 2 frames"):
        compose(many, FlowField.from_flow(many.flow[:2]))
    with pytest.raises(InputError, match="sizes"):
        compose(many, translate_flow((8, 8), 0, 0))


def test_rotation_is_counter_clockwise_on_screen() -> None:
    # The point 4 px to the right of the centre ends 4 px above it.
    torch.testing.assert_close(at(affine_flow(SIZE, (10, 12), rotate_deg=90), 14, 12), [-4.0, -4.0])


def test_the_order_is_scale_stretch_rotate_translate() -> None:
    field = affine_flow(SIZE, (10, 12), scale=2, stretch_xy=(3, 1), rotate_deg=90, translate_px=(1, 5))
    # 1 px right of the centre: 6 px right, then 6 px up, then by (1, 5).
    torch.testing.assert_close(at(field, 11, 12), [0.0, -1.0])


@pytest.mark.parametrize("motion", [{"scale": 0}, {"stretch_xy": (1, -1)}, {"rotate_deg": math.nan}])
def test_impossible_motions_are_refused(motion) -> None:
    with pytest.raises(InputError):
        affine_flow(SIZE, (0, 0), **motion)


points = st.tuples(st.integers(0, SIZE[1] - 1), st.integers(0, SIZE[0] - 1))


@given(st.dictionaries(points, st.tuples(pixels, pixels), min_size=1, max_size=5))
def test_at_a_pin_the_flow_is_its_vector(pins) -> None:
    field = pins_flow(SIZE, list(pins.items()))
    for (x, y), vector in pins.items():
        torch.testing.assert_close(at(field, x, y), list(vector), atol=1e-3, rtol=1e-4)


def test_one_pin_is_a_translation_and_turned_pins_a_rotation() -> None:
    torch.testing.assert_close(pins_flow(SIZE, [((3, 4), (2.5, -1))]).flow, translate_flow(SIZE, 2.5, -1).flow)
    turned = affine_flow(SIZE, (10, 12), rotate_deg=30)
    pins = [((x, y), tuple(at(turned, x, y))) for x, y in ((3, 4), (20, 8), (9, 20))]
    torch.testing.assert_close(pins_flow(SIZE, pins).flow, turned.flow, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pins", [[], [((1, 2), (0, 0)), ((1, 2), (3, 3))], [((1, math.inf), (0, 0))]])
def test_impossible_pins_are_refused(pins) -> None:
    with pytest.raises(InputError):
        pins_flow(SIZE, pins)


def test_the_picture_shows_direction_by_hue_and_stillness_by_white() -> None:
    image = to_image(affine_flow((33, 33), (16, 16), scale=2).flow[0])
    assert image.shape == (3, 33, 33)
    assert image.min() >= 0
    assert image.max() <= 1
    assert image[:, 16, 16].tolist() == [1, 1, 1]
    assert not torch.allclose(image[:, 16, 0], image[:, 16, 32])


def test_the_picture_is_torchvisions() -> None:
    from torchvision.utils import flow_to_image

    flow = 9 * torch.randn(2, 40, 50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(to_image(flow), flow_to_image(flow).float() / 255, atol=1.5 / 255, rtol=0)


def test_sizes_without_pixels_are_refused() -> None:
    for call in (lambda: translate_flow((0, 4), 1, 1), lambda: resize(translate_flow(SIZE, 1, 1), (4, 0))):
        with pytest.raises(InputError, match="at least 1"):
            call()


def test_the_pixel_grid_holds_x_then_y() -> None:
    assert pixel_grid(torch.zeros(1, 1, *SIZE))[0, :, 5, 7].tolist() == [7, 5]
