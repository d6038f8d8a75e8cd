"""Poses between key poses."""

from dataclasses import astuple

import pytest

from mtransfer.errors import InputError
from mtransfer.jobs.animation.key_poses import Pose, parse_pose, pose_at

REST = Pose()


def test_two_poses_are_gone_between_on_a_line() -> None:
    end = Pose(40, -20, 90, 4)
    assert astuple(pose_at(0.25, (REST, end))) == pytest.approx((10, -5, 22.5, 4**0.25))


def test_every_key_pose_is_met_at_its_time_and_the_way_is_smooth() -> None:
    poses = (REST, Pose(40, 0), Pose(40, 40, 90), Pose(0, 40, 180, 2))
    for index, each in enumerate(poses):
        assert astuple(pose_at(index / 3, poses)) == pytest.approx(astuple(each), abs=1e-9)
    before, there, after = (pose_at(1 / 3 + by, poses) for by in (-0.001, 0, 0.001))
    assert there.dx - before.dx == pytest.approx(after.dx - there.dx, abs=0.01)
    assert there.dy - before.dy == pytest.approx(after.dy - there.dy, abs=0.01)


@pytest.mark.parametrize("text", ["9", "a,b", "1,2,3,0", "1,2,3,4,5", "nan,0"])
def test_what_is_no_pose_is_refused(text) -> None:
    with pytest.raises(InputError, match="--via"):
        parse_pose(text)
