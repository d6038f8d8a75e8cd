import torch
from hypothesis import given
from hypothesis import strategies as st

from mtransfer.flow.field import affine_flow
from mtransfer.flow.splatting import extend_flow, nearest_source

SIZE = (48, 64)


@given(st.floats(-180, 180), st.floats(0.3, 3))
def test_an_affine_flow_is_continued_exactly(rotate_deg, scale) -> None:
    flow = affine_flow(SIZE, (30, 20), rotate_deg=rotate_deg, scale=scale).flow
    known = torch.zeros(1, 1, *SIZE, dtype=torch.bool)
    known[..., 10:30, 20:45] = True
    extended, holds = extend_flow(flow * known, known, 4)
    assert int(holds.sum()) == 28 * 33
    assert ((extended - flow) * holds).abs().max() < 0.02
    assert not (extended * ~holds).any()


def test_a_single_known_pixel_is_continued_as_it_is() -> None:
    flow = torch.zeros(1, 2, *SIZE)
    flow[0, :, 20, 30] = torch.tensor([5.0, -2.0])
    extended, holds = extend_flow(flow, flow.ne(0).any(1, keepdim=True), 3)
    assert int(holds.sum()) == 49
    torch.testing.assert_close(extended[0, :, 17:24, 27:34], flow[:, :, 20, 30].view(2, 1, 1).expand(2, 7, 7))


def test_the_highest_rank_wins_a_pixel_and_empty_ones_are_told() -> None:
    flow = torch.zeros(1, 2, 2, 8)
    flow[0, 0, 0, 1], flow[0, 0, 0, 7] = 3, -3  # both reach column 4
    known = flow.ne(0).any(1, keepdim=True)
    rank = torch.arange(16.0).view(1, 1, 2, 8)
    source, found = nearest_source(flow, known, rank, upsample=1)
    assert found[0, 0].nonzero().tolist() == [[0, 4]]
    assert source[0, :, 0, 4].tolist() == [7, 0]
    assert nearest_source(flow, known, -rank, upsample=1)[0][0, :, 0, 4].tolist() == [1, 0]
