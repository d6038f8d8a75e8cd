import pytest
import torch

from mtransfer.flow.field import FlowField, affine_flow
from mtransfer.motion.plausibility import in_place, outside_fraction, warnings_of

SIZE = (60, 80)
MASK = torch.zeros(1, *SIZE)
MASK[:, 20:40, 30:50] = 1


def test_what_leaves_the_photo() -> None:
    flow = affine_flow(SIZE, (40, 30), translate_px=(39.5, 0)).flow
    assert outside_fraction(flow, MASK) == pytest.approx(0.5, abs=0.06)
    assert outside_fraction(0 * flow, MASK) == 0


def test_in_place_a_subject_keeps_its_turn_and_loses_its_travel() -> None:
    turned = affine_flow(SIZE, (40, 30), rotate_deg=20).flow * MASK
    travelling = FlowField.from_flow(turned + torch.tensor([7.0, -3.0]).view(1, 2, 1, 1) * MASK)
    stayed = in_place(travelling, MASK).flow
    mean = (stayed * MASK).sum(dim=(2, 3)) / MASK.sum()
    torch.testing.assert_close(mean, torch.zeros(1, 2), atol=1e-4, rtol=0)
    difference = (stayed - turned)[0][:, MASK[0] > 0]
    torch.testing.assert_close(difference, difference[:, :1].expand_as(difference), atol=1e-4, rtol=0)
    assert not stayed[0][:, MASK[0] == 0].any()


@pytest.mark.parametrize(
    ("motion", "tracked", "flags"),
    [
        ({"translate_px": (5, 0)}, 0.9, []),
        ({"translate_px": (5, 0)}, 0.3, ["--pair"]),
        ({"stretch_xy": (2.0, 1.0 / 2)}, 0.9, ["--strength"]),
        ({"translate_px": (60, 0)}, 0.2, ["--pair", "--strength"]),
    ],
)
def test_each_is_said_once_with_what_to_do(motion, tracked, flags) -> None:
    lines = warnings_of(affine_flow(SIZE, (40, 30), **motion).flow, MASK, tracked, "0:12")
    assert len(lines) == len(flags)
    assert all(flag in line for flag, line in zip(flags, lines, strict=True))
    assert all("0:12" in line for line in lines if "tracked" in line)
