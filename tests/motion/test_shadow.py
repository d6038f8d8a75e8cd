"""The shadow at a subject's foot: found where there surely is one, and moved with the subject."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.flow.field import FlowField, affine_flow, mask_field
from mtransfer.motion.shadow import shadow_of
from mtransfer.sampling.composite import make_composite

SIZE, DENSITY = (240, 320), 0.5
SUBJECT = (slice(60, 150), slice(120, 170))
CAST = (slice(144, 160), slice(125, 225))  # at the foot and beside it


def ground(seed: int = 0) -> Tensor:
    rough = torch.rand(1, 3, 60, 80, generator=torch.Generator().manual_seed(seed))
    grain = F.interpolate(rough, SIZE, mode="bicubic", align_corners=False)
    colour = torch.tensor([0.7, 0.62, 0.5]).view(1, 3, 1, 1)
    return (colour + 0.06 * (grain.mean(dim=1, keepdim=True) - 0.5)).clamp(0, 1)


def mask() -> Tensor:
    inside = torch.zeros(1, *SIZE)
    inside[:, SUBJECT[0], SUBJECT[1]] = 1
    return inside


def photo(*, hue: tuple[float, float, float] = (1, 1, 1), cast: bool = True) -> Tensor:
    picture = ground()[0]
    if cast:
        picture[:, CAST[0], CAST[1]] *= DENSITY * torch.tensor(hue).view(3, 1, 1)
    return torch.where(mask() > 0, torch.tensor([0.2, 0.3, 0.7]).view(3, 1, 1), picture)


def at(picture: Tensor, columns: slice) -> float:
    """The mean level in the middle rows of where the shadow falls."""
    return float(picture[..., 152:157, columns].mean())


def test_a_cast_shadow_is_found_and_nothing_else() -> None:
    found = shadow_of(photo(), mask())
    assert found is not None
    dark = found.darkness[0] > 0.2
    truth = torch.zeros(SIZE, dtype=torch.bool)
    truth[CAST] = True
    truth &= mask()[0] == 0
    assert float((dark & truth).sum() / (dark | truth).sum()) > 0.8
    assert abs(float(found.darkness[0, 152:157, 180:215].mean()) - (1 - DENSITY)) < 0.05


def test_what_is_no_shadow_is_none() -> None:
    assert shadow_of(photo(cast=False), mask()) is None
    assert shadow_of(photo(hue=(1.6, 0.6, 0.5)), mask()) is None  # a thing of another colour
    beyond = torch.zeros(1, *SIZE)
    beyond[:, 150:, 120:170] = 1
    assert shadow_of(photo(), beyond) is None  # whose foot the border cuts off


def test_it_moves_with_the_subject_and_the_ground_is_lit_where_it_was() -> None:
    picture, subject = photo(), mask()
    shadow = shadow_of(picture, subject)
    assert shadow is not None
    field = mask_field(affine_flow(SIZE, (145.0, 105.0), translate_px=(-80.0, 0.0)), subject)
    flow = shadow.follow(field)
    torch.testing.assert_close(flow.flow[0, 0, 155, 180:215], torch.full((35,), -80.0), atol=0.5, rtol=0)
    moved = make_composite(picture[None], flow.flow, shadow.whole[None]).image
    lit, dark = at(ground()[0], slice(185, 215)), at(picture, slice(185, 215))
    assert abs(at(moved[0], slice(185, 215)) - lit) < 0.2 * (lit - dark)  # where it was
    assert abs(at(moved[0], slice(105, 135)) - dark) < 0.2 * (lit - dark)  # where it is
    left = make_composite(picture[None], field.flow, subject[None]).image
    assert abs(at(left[0], slice(185, 215)) - dark) < 0.2 * (lit - dark)  # without it


def test_the_confidence_holds_in_the_shadow() -> None:
    shadow = shadow_of(photo(), mask())
    assert shadow is not None
    field = shadow.follow(FlowField.from_flow(torch.zeros(1, 2, *SIZE)))
    assert bool((field.confidence[0, 0, 152:157, 180:215] == 1).all())
