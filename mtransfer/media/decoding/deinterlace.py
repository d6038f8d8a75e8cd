"""Interlaced frames as whole pictures, one for one: libavfilter's bwdif (W3FDIF's kernel in yadif's motion test)."""

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.filter import Graph

PROGRESSIVE = 1  # libavcodec's AVFieldOrder: 0 unknown, 2 to 5 interlaced
BOTTOM_FIRST = (3, 5)  # as stored or as shown
CONTEXT_FRAMES = 2  # before the first one that comes out as if all before it had been seen
TICKS = Fraction(1, 1000)


def is_interlaced(field_order: int, frames: Iterable[av.VideoFrame]) -> bool:
    """Whether the stream says so or any of some frames does."""
    return field_order > PROGRESSIVE or any(frame.interlaced_frame for frame in frames)


def deinterlaced(
    frames: Iterable[tuple[int, av.VideoFrame]], field_order: int, *, all_of_them: bool
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Numbered frames without combing. Frames that say that they are progressive pass through as they are.

    Where none says anything and the stream has a field order, every frame is deinterlaced by that; with `all_of_them`
    also where nothing says anything, top field first.
    """
    graph: Graph | None = None
    numbers: deque[int] = deque()
    for number, frame in frames:
        if graph is None:
            graph = _graph(frame, field_order, all_of_them)
        frame.pts, frame.time_base = number, TICKS
        graph.push(frame)
        numbers.append(number)
        yield from ((numbers.popleft(), each) for each in _ready(graph))
    if graph is not None:
        graph.push(None)
        yield from ((numbers.popleft(), each) for each in _ready(graph))


def _graph(frame: av.VideoFrame, field_order: int, all_of_them: bool) -> Graph:
    options = "mode=send_frame:parity=auto:deint=interlaced"
    if not frame.interlaced_frame and (field_order > PROGRESSIVE or all_of_them):
        parity = "bff" if field_order in BOTTOM_FIRST else "tff"
        options = f"mode=send_frame:parity={parity}:deint=all"
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=TICKS)
    graph.link_nodes(source, graph.add("bwdif", options), graph.add("buffersink")).configure()
    return graph


def _ready(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
