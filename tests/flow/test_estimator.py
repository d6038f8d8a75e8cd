import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.estimator import DisFlow, FlowModel, consistency, estimate, estimate_field
from mtransfer.flow.field import affine_flow, translate_flow
from mtransfer.media.photo.sizes import LEAST_PX

SIZE = (96, 128)


def texture(seed: int = 0) -> Tensor:
    noise = torch.rand(1, 3, SIZE[0] // 4, SIZE[1] // 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, SIZE, mode="bicubic").clamp(0, 1)


@given(st.floats(-20, 20, width=32), st.floats(-20, 20, width=32))
def test_a_translation_and_its_inverse_agree_everywhere(dx, dy) -> None:
    assert bool((consistency(translate_flow(SIZE, dx, dy).flow, translate_flow(SIZE, -dx, -dy).flow) == 1).all())


@given(st.floats(-20, 20), st.floats(0.8, 1.25))
def test_a_turn_and_its_inverse_agree_where_they_meet(rotate_deg, scale) -> None:
    there = affine_flow(SIZE, (63.5, 47.5), rotate_deg=rotate_deg, scale=scale).flow
    back = affine_flow(SIZE, (63.5, 47.5), rotate_deg=-rotate_deg, scale=1 / scale).flow
    assert bool((consistency(there, back)[..., 28:68, 40:88] == 1).all())


def test_confidence_is_lost_just_where_the_flows_disagree() -> None:
    forward, backward = translate_flow(SIZE, 10, 0).flow, translate_flow(SIZE, -10, 0).flow.clone()
    backward[:, :, 40:60, 50:80] = 5
    agrees = consistency(forward, backward)
    # The forward flow carries columns 40 to 69 onto the disturbed 50 to 79.
    assert not agrees[..., 40:60, 40:70].any()
    assert int((agrees == 0).sum()) == 20 * 30


@pytest.mark.parametrize(("gap_px", "agrees"), [(0.70, 1), (0.72, 0)])
def test_still_pixels_may_differ_by_the_root_of_a_half(gap_px, agrees) -> None:
    still = torch.zeros(1, 2, *SIZE)
    assert bool((consistency(still, translate_flow(SIZE, gap_px, 0).flow) == agrees).all())


@pytest.mark.parametrize(("gap_px", "agrees"), [(13.0, 1), (14.0, 0)])
def test_long_vectors_may_differ_by_a_tenth(gap_px, agrees) -> None:
    forward, backward = translate_flow(SIZE, 100, 0).flow, translate_flow(SIZE, gap_px - 100, 0).flow
    assert bool((consistency(forward, backward) == agrees).all())


@pytest.mark.parametrize(("dx", "dy"), [(7, 0), (-4, 5)])
def test_dis_finds_a_known_translation(dx, dy) -> None:
    field = estimate_field(DisFlow(), texture(), texture().roll((dy, dx), (2, 3)))
    inner = field.flow[..., 16:-16, 16:-16]
    wanted = torch.tensor([dx, dy]).view(1, 2, 1, 1)
    assert (inner - wanted).norm(dim=1).median() < 0.2
    assert field.confidence[..., 16:-16, 16:-16].mean() > 0.95


def test_dis_takes_a_batch_image_by_image() -> None:
    first, second = texture(), texture(1)
    both = estimate(DisFlow(), torch.cat([first, second]), torch.cat([first.roll(3, 3), second.roll(-2, 2)]))
    torch.testing.assert_close(both[:1], estimate(DisFlow(), first, first.roll(3, 3)))
    torch.testing.assert_close(both[1:], estimate(DisFlow(), second, second.roll(-2, 2)))


class Watched:
    """OpenCV's estimator, and the sizes it is handed; too few rows or columns never reach it."""

    def __init__(self, estimator) -> None:
        self.estimator, self.sizes = estimator, set()

    def calc(self, first, second, flow):
        self.sizes |= {first.shape, second.shape}
        assert min(*first.shape, *second.shape) >= LEAST_PX
        return self.estimator.calc(first, second, flow)


@pytest.mark.parametrize("thorough", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (3, 90), (12, 12), (90, 5), (15, 16), (16, 16), (40, 50)])
def test_opencv_is_handed_no_picture_of_few_rows(size, thorough) -> None:
    model = DisFlow(thorough=thorough)
    model._estimator = watched = Watched(model._estimator)
    picture = F.interpolate(texture(), size, mode="area")
    flow = estimate(model, picture, picture)
    assert flow.shape == (1, 2, *size)
    assert flow.abs().max() < 0.5
    assert watched.sizes == {tuple(max(LEAST_PX, side) for side in size)}


@pytest.mark.parametrize("size", [(12, 120), (120, 12)])
def test_the_motion_of_a_strip_is_seen(size) -> None:
    whole = texture()
    first, second = (each[..., : size[0], : size[1]] for each in (whole, whole.roll((2, 2), (2, 3))))
    middle = estimate(DisFlow(), first, second)[0][:, 4:-2, 4:-2]
    assert middle.median() == pytest.approx(2, abs=0.3)


def test_dis_refuses_to_guide() -> None:
    model = DisFlow()
    assert isinstance(model, FlowModel)
    model.encode(texture())
    with pytest.raises(InputError, match="dis has no gradient and cannot guide; use auto"):
        model.flow(texture().requires_grad_())


class Brightness:
    """Flow along x by the difference in brightness, times `backward` when the brighter picture is the source."""

    def __init__(self, backward: float) -> None:
        self.backward = backward

    def encode(self, source: Tensor) -> None:
        self.source = source

    def flow(self, image: Tensor) -> Tensor:
        gain = 10 * (image - self.source)[:, :1]
        gain = torch.where(gain < 0, self.backward * gain, gain)
        return torch.cat([gain, 0 * gain], dim=1)


def test_both_directions_are_read_and_the_forward_one_is_kept() -> None:
    dark, bright = torch.zeros(1, 3, *SIZE), torch.ones(1, 3, *SIZE)
    for backward, confidence in ((1, 1), (0.5, 0)):
        field = estimate_field(Brightness(backward), dark, bright)
        torch.testing.assert_close(field.flow, translate_flow(SIZE, 10, 0).flow)
        assert bool((field.confidence == confidence).all())


def test_flow_is_read_without_gradients() -> None:
    assert not estimate(DisFlow(), texture(), texture()).requires_grad
