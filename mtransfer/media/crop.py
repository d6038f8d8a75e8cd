"""The part of a picture that matters: what is worked on there need not be worked on everywhere."""

from jaxtyping import Float
from torch import Tensor

Window = tuple[slice, slice]  # rows, columns: image[..., rows, columns]
WHOLE: Window = (slice(None), slice(None))


def window(where: Float[Tensor, "1 1 H W"], surroundings: float, shortest_px: int = 1) -> Window:
    """Rows and columns that hold all of `where` above 0, and around it that share of its longer side.

    At least `shortest_px` long where the picture is; the whole picture when `where` is empty.
    """
    found = where[0, 0].nonzero()
    if not len(found):
        return WHOLE
    (top, left), (bottom, right) = found.min(dim=0).values.tolist(), (found.max(dim=0).values + 1).tolist()
    margin = round(surroundings * max(bottom - top, right - left))
    height, width = where.shape[-2:]
    return _reach(top, bottom, margin, height, shortest_px), _reach(left, right, margin, width, shortest_px)


def swept(flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 1 H W"], margin_px: int) -> Window:
    """Rows and columns that hold the masked subject where it is and where the flow takes it, and a margin."""
    rows, columns = mask[0, 0].nonzero(as_tuple=True)
    if not len(rows):
        return WHOLE
    ends = []
    for places, moved, length in ((rows, flow[0, 1], mask.shape[-2]), (columns, flow[0, 0], mask.shape[-1])):
        target = places + moved[rows, columns]
        low, high = min(int(places.min()), int(target.min())), max(int(places.max()), int(target.max())) + 1
        ends.append(slice(min(max(0, low - margin_px), length - 1), max(1, min(length, high + margin_px))))
    return ends[0], ends[1]


def _reach(low: int, high: int, margin: int, length: int, shortest: int) -> slice:
    """From low to high with a margin, at least `shortest` long, moved into [0, length) and no longer than that."""
    wanted = min(length, max(high - low + 2 * margin, shortest))
    begin = min(max(0, (low + high - wanted) // 2), length - wanted)
    return slice(begin, begin + wanted)
