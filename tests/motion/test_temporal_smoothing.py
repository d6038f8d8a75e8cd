import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtransfer.flow.field import FlowField
from mtransfer.motion.temporal_smoothing import smooth_over_time

COUNT = 9
TIMES = torch.arange(COUNT).float()


def steady(speed: float, start: int) -> FlowField:
    flow = speed * (TIMES - start).view(-1, 1, 1, 1).expand(-1, 2, 5, 7)
    return FlowField.from_flow(flow.clone())


@given(st.floats(-5, 5, width=32), st.integers(0, COUNT - 1))
def test_a_steady_motion_stays_as_it_is(speed, start) -> None:
    field = steady(speed, start)
    torch.testing.assert_close(smooth_over_time(field, TIMES, start).flow, field.flow, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("start", [0, 4])
def test_jitter_is_halved_and_the_reference_does_not_move(start) -> None:
    field = steady(3, start)
    jitter = torch.randn(field.flow.shape, generator=torch.Generator().manual_seed(0))
    jitter[start] = 0
    found = smooth_over_time(FlowField.from_flow(field.flow + jitter), TIMES, start)
    left = found.flow - field.flow
    assert not found.flow[start].any()
    inner = [index for index in range(1, COUNT - 1) if index != start]
    assert left[inner].std() < 0.65 * jitter[inner].std()


def test_a_frame_that_is_not_trusted_takes_its_neighbours_motion() -> None:
    field = steady(3, 0)
    flow, confidence = field.flow.clone(), field.confidence.clone()
    flow[4], confidence[4] = 99, 0
    found = smooth_over_time(FlowField(flow, confidence), TIMES, 0)
    torch.testing.assert_close(found.flow, field.flow, atol=1e-2, rtol=0)
    assert 0.3 < float(found.confidence[4].mean()) < 0.9
    assert bool((found.confidence[3] == 1).all())


def test_what_is_never_trusted_is_left() -> None:
    field = FlowField(steady(3, 0).flow, torch.zeros(COUNT, 1, 5, 7))
    found = smooth_over_time(field, TIMES, 0)
    torch.testing.assert_close(found.flow, field.flow)
    assert not found.confidence[1:].any()


def test_a_single_frame_is_left() -> None:
    field = FlowField.from_flow(torch.randn(1, 2, 5, 7))
    assert smooth_over_time(field, torch.tensor([7.0]), 0.0) is field
