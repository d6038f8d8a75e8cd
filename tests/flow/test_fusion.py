"""How clips are read: RAFT and dense inverse search, fused."""

import pytest
import torch
from skimage import data
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.estimator import DisFlow, both_ways, estimate, estimate_field
from mtransfer.flow.fusion import FusedFlow, ThriftyFlow
from mtransfer.flow.loading import load_flow_model, load_reader
from mtransfer.flow.raft import FlowNet

CPU = torch.device("cpu")
SIDE = 160


@pytest.fixture(scope="module")
def reader() -> FusedFlow:
    found = load_reader("embedded", CPU)
    assert isinstance(found, FusedFlow)
    return found


def crop(x: int, y: int) -> Tensor:
    photo = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None].float() / 255
    return photo[..., 60 + y : 60 + y + SIDE, 120 + x : 120 + x + SIDE]


def error_px(flow: Tensor, dx: float, dy: float) -> float:
    return float((flow - torch.tensor([dx, dy]).view(1, 2, 1, 1))[..., 16:-16, 16:-16].norm(dim=1).mean())


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, -2), (-14, 9)])
def test_a_shift_of_a_textured_picture_is_read_to_a_fifth_of_a_pixel(reader: FusedFlow, dx: int, dy: int) -> None:
    there, back = reader.both(crop(0, 0), crop(-dx, -dy))
    assert error_px(there, dx, dy) < 0.2
    assert error_px(back, -dx, -dy) < 0.2


def test_it_is_nearer_than_either_alone_on_a_textured_shift(reader: FusedFlow) -> None:
    first, second = crop(0, 0), crop(6, -4)
    net = load_flow_model("embedded", 12, 3, CPU)
    fused, alone = (error_px(estimate(model, first, second), -6, 4) for model in (reader, net))
    assert fused < 0.5 * alone


def test_the_net_stands_where_search_is_lost(reader: FusedFlow) -> None:
    """A thing that jumps by its own size: search sees the ground it came from."""
    first, second = (with_patch(x) for x in (30, 75))
    missed_px = [
        float((estimate(model, first, second)[0, :, 54:94, 34:74].mean(dim=(1, 2)) - torch.tensor([45.0, 0.0])).norm())
        for model in (DisFlow(), reader)
    ]
    assert missed_px[0] > 25
    assert missed_px[1] < 6


def with_patch(x: int) -> Tensor:
    picture = crop(0, 0).clone()
    other = torch.from_numpy(data.astronaut()).permute(2, 0, 1).float() / 255
    picture[0, :, 50:98, x : x + 48] = other[:, 80:128, 190:238]
    return picture


def test_both_ways_swap_with_the_frames(reader: FusedFlow) -> None:
    first, second = crop(0, 0), crop(2, 1)
    torch.testing.assert_close(reader.both(first, second)[1], both_ways(reader, second, first)[0])


def test_a_batch_is_its_pairs_one_by_one(reader: FusedFlow) -> None:
    firsts, seconds = torch.cat([crop(0, 0), crop(9, 9)]), torch.cat([crop(2, 1), crop(5, 12)])
    together = reader.both(firsts, seconds)[0]
    for i in range(2):
        alone = reader.both(firsts[i : i + 1], seconds[i : i + 1])[0]
        assert float((together[i] - alone[0]).norm(dim=0).mean()) < 0.01


class Refusing(FlowNet):
    """A net that must not be asked."""

    def __init__(self) -> None:
        pass

    def between(self, first: Tensor, second: Tensor) -> Tensor:
        raise AssertionError("the net was asked")


def thrifty(reader: FusedFlow | None, *, over_plain_ground: bool = False) -> ThriftyFlow:
    return ThriftyFlow(Refusing() if reader is None else reader.net, over_plain_ground=over_plain_ground)


def test_a_thrifty_reader_needs_no_net_where_search_agrees_with_itself() -> None:
    there, back = thrifty(None).both(crop(0, 0), crop(-3, 2))
    assert error_px(there, 3, -2) < 0.2
    assert error_px(back, -3, 2) < 0.2


def test_a_thrifty_reader_asks_the_net_for_the_pairs_where_search_is_lost(reader: FusedFlow) -> None:
    """Of two pairs the first is plain sailing, in the second a thing jumps by its own size."""
    first, second = torch.cat([crop(0, 0), with_patch(30)]), torch.cat([crop(-3, 2), with_patch(75)])
    there, back = thrifty(reader).both(first, second)
    fused = reader.both(first[1:], second[1:])
    torch.testing.assert_close((there[1:], back[1:]), fused)
    assert error_px(there[:1], 3, -2) < 0.2
    with pytest.raises(AssertionError, match="the net was asked"):
        thrifty(None).both(first[1:], second[1:])


def test_over_plain_ground_search_may_be_lost() -> None:
    """Faint noise, different in each picture, tells of no motion; what is structured is read all the same."""
    noise = 0.01 * torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    first, second = (torch.where(torch.arange(SIDE) < 90, crop(0, 0), 0.5 + each) for each in noise.split(1))
    with pytest.raises(AssertionError, match="the net was asked"):
        thrifty(None).both(first, second)
    there, _ = thrifty(None, over_plain_ground=True).both(first, second)
    assert there[..., 16:-16, 16:70].norm(dim=1).mean() < 0.2


def test_it_serves_as_a_flow_model_without_gradients(reader: FusedFlow) -> None:
    reader.encode(crop(0, 0))
    flow = reader.flow(crop(2, 1))
    assert flow.shape == (1, 2, SIDE, SIDE)
    torch.testing.assert_close(flow, estimate_field(reader, crop(0, 0), crop(2, 1)).flow)
    with pytest.raises(InputError, match="cannot guide"):
        reader.flow(crop(2, 1).requires_grad_())


@pytest.mark.parametrize("name", ["dis", "raft_small"])
def test_other_flow_models_read_as_they_are(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    if name == "raft_small":
        from mtransfer.flow import loading
        from mtransfer.flow.raft import build_raft

        torch.save(build_raft("raft_small", None).state_dict(), tmp_path / "small.pth")
        monkeypatch.setattr(loading, "_checkpoint", lambda _: tmp_path / "small.pth")
        load_flow_model.cache_clear()
    assert isinstance(load_reader(name, CPU), DisFlow if name == "dis" else FlowNet)
