"""The figures that are kept with a result, in its `metrics` and in run.json."""

from typing import NotRequired, TypedDict

from mtransfer.evaluation.metrics import FlowError


class Metrics(TypedDict):
    """Of every moved photo or film: the share of the subject that moved as asked, and how near counts, in pixels.

    `moved_as_asked` is None where it cannot be measured; `clip_reader` is what decoded the clip, if one was read.
    """

    moved_as_asked: float | None
    moved_within_px: float
    guided_evaluations: int
    flow_error_dis: FlowError
    clip_reader: NotRequired[str]


class EditMetrics(Metrics):
    """Of a moved photo. The background's PSNR in decibels is infinite where nothing changed.

    `flow_error_raft` is by the RAFT that guides; None where nothing guided.
    """

    flow_error_raft: FlowError | None
    background_psnr_db: float


class AnimationMetrics(Metrics):
    """Of a film: its number of frames, and its flicker in levels of 255, NaN where nothing could flicker.

    `flow_error_dis` is of its liveliest frame, whose number it names.
    """

    frames: int
    flicker_255: float
