"""Sizes that what lies beneath takes, judged before any work. A size is (H, W) in pixels."""

from collections.abc import Sequence

from mtransfer.errors import InputError

SMALLEST_PX, LARGEST_PX = 12, 30_000
STEEPEST = 200  # the long side over the short one
LEAST_PX = 16  # a side of any picture that is handed to OpenCV's dense flow, which fails natively on very few rows


def require_size(size: Sequence[int], named: str) -> None:
    """Raises InputError, in words about what is `named`, for a picture that is too small, too large or too long."""
    given = f"{named}: {size[1]} x {size[0]} pixels"
    if min(size) < SMALLEST_PX:
        raise InputError(f"{given}; at least {SMALLEST_PX} each way are needed")
    if max(size) > LARGEST_PX:
        raise InputError(f"{given}; at most {LARGEST_PX} each way are taken, so shrink it first")
    if max(size) > STEEPEST * min(size):
        raise InputError(f"{given}; one side is more than {STEEPEST} times the other, so crop it first")


def shrunk(size: Sequence[int], long_side: int) -> tuple[int, int]:
    """The size with a long side of at most `long_side`, but larger where the short side needs that for LEAST_PX."""
    scale = min(1.0, max(long_side / max(size), LEAST_PX / min(size)))
    return round(size[0] * scale), round(size[1] * scale)
