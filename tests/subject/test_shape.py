import pytest
import torch
from ellipses import ellipse, half_disc
from hypothesis import given
from hypothesis import strategies as st

from mtransfer.subject.shape import centroid, faces_the_other_way, likeness, spread


@given(st.floats(40, 80), st.floats(40, 60), st.floats(10, 30))
def test_place_and_size_do_not_matter(x, y, radius) -> None:
    one, other = ellipse((96, 128), (64, 48), 30, 20), ellipse((96, 128), (x, y), radius, radius / 1.5)
    assert likeness(one, other) > 0.88


def test_shape_does() -> None:
    assert likeness(ellipse((96, 128), (64, 48), 40, 12), ellipse((96, 128), (64, 48), 12, 40)) < 0.45


@pytest.mark.parametrize(("facing", "other"), [(1, False), (-1, True)])
def test_a_mirrored_pose_is_seen(facing, other) -> None:
    nose = torch.maximum(half_disc((96, 128), (60, 48), 22, 1), ellipse((96, 128), (84, 40), 14, 8))
    seen = nose if facing == 1 else nose.flip(-1)
    assert faces_the_other_way(nose, seen) is other


def test_a_symmetric_pose_faces_no_way() -> None:
    assert not faces_the_other_way(ellipse((96, 128), (60, 48), 30, 20), ellipse((120, 112), (50, 50), 20, 20))


def test_moments() -> None:
    mask = ellipse((96, 128), (64, 48), 30, 10)
    torch.testing.assert_close(centroid(mask), torch.tensor([64.0, 48.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(spread(mask).diag(), torch.tensor([225.0, 25.0]), atol=3, rtol=0)
