"""Flow fields: the motion of every source pixel, and the algebra on it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.warp import backward_warp, magnitude, pixel_grid

Size = tuple[int, int]
Point = tuple[float, float]
Pin = tuple[Point, Point]


@dataclass(frozen=True, eq=False)
class FlowField:
    """Forward flow from frame 0 to T frames, with the confidence in it.

    flow: float32[T,2,H,W], (dx, dy) in pixels of its own H x W, anchored on frame 0: the point at p in frame 0 is
    at p + flow(p) in frame t. confidence: float32[T,1,H,W] in [0,1].
    Raises InputError when a shape, type or range is wrong or a value is NaN or infinite.
    """

    # Checked below, for users too, so that the checker of the tests need not.
    flow: Tensor
    confidence: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.flow.shape)
        if self.flow.ndim != 4 or shape[1] != 2 or 0 in shape:
            raise InputError(f"flow has shape {shape}; it must be (frames, 2, height, width)")
        if tuple(self.confidence.shape) != (shape[0], 1, *shape[2:]):
            raise InputError(
                f"confidence has shape {tuple(self.confidence.shape)}; flow {shape} needs {(shape[0], 1, *shape[2:])}"
            )
        for name, values in (("flow", self.flow), ("confidence", self.confidence)):
            _require_finite_float32(name, values)
        if self.confidence.min() < 0 or self.confidence.max() > 1:
            raise InputError(
                f"confidence runs from {self.confidence.min():g} to {self.confidence.max():g}; it must stay in 0 to 1"
            )

    def __repr__(self) -> str:
        frames, _, height, width = self.flow.shape
        longest_px = magnitude(self.flow).max()
        return f"FlowField(frames={frames}, size={height}x{width}, longest={longest_px:.2f} px, {self.flow.device})"

    @property
    def size(self) -> Size:
        """(H, W) in pixels."""
        return self.flow.shape[-2], self.flow.shape[-1]

    @classmethod
    def from_flow(cls, flow: Tensor, confidence: Tensor | None = None) -> "FlowField":
        """Field of a flow [T,2,H,W] or [2,H,W] in pixels; confidence [T,1,H,W] in [0,1], 1 everywhere if absent."""
        flow = (flow[None] if flow.ndim == 3 else flow).float()
        if confidence is None:
            confidence = torch.ones_like(flow[:, :1])
        return cls(flow, confidence.float())


def _require_finite_float32(name: str, values: Tensor) -> None:
    if values.dtype != torch.float32:
        raise InputError(f"{name} is {values.dtype}; it must be torch.float32")
    broken = int((~torch.isfinite(values)).sum())
    if broken:
        raise InputError(f"{name} has {broken} NaN or infinite values of {values.numel()}; give finite pixels")


def resize(field: FlowField, size: Size) -> FlowField:
    """The same motion on a grid of `size` = (H, W): vectors scale with the pixels, confident ones count more."""
    if size == field.size:
        return field
    if min(size) < 1:
        raise InputError(f"cannot resize a flow to {size[0]} x {size[1]} pixels; both sides must be at least 1")
    # Where nothing is confident the plain average must come out, not 0/0.
    weight = field.confidence + 1e-6
    flow = _resample(field.flow * weight, size) / _resample(weight, size)
    ratio = flow.new_tensor([size[1] / field.size[1], size[0] / field.size[0]]).view(1, 2, 1, 1)
    return FlowField(flow * ratio, _resample(field.confidence, size).clamp(0, 1))


def _resample(values: Tensor, size: Size) -> Tensor:
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False, antialias=True)


def mask_field(field: FlowField, mask: Float[Tensor, "*batch H W"]) -> FlowField:
    """The field times a mask [1,H,W] in [0,1]: outside it nothing moves, and nothing is known."""
    if tuple(mask.shape[-2:]) != field.size:
        raise InputError(f"mask is {mask.shape[-2]} x {mask.shape[-1]}, the flow {field.size[0]} x {field.size[1]}")
    mask = mask.to(field.flow)
    return FlowField(field.flow * mask, field.confidence * mask)


def compose(first: FlowField, second: FlowField) -> FlowField:
    """`first`, then `second`: F(x) = first(x) + second(x + first(x)), as long-range flow is chained.

    Both have the same size; their frame counts are equal, or one has a single frame that serves every frame of the
    other. Confidences multiply; a point that `first` carries out of the picture keeps its last vector and gets 0.
    """
    if first.size != second.size:
        raise InputError(f"cannot chain flows of sizes {first.size} and {second.size}; resize one of them")
    frames = max(len(first.flow), len(second.flow))
    if not {len(first.flow), len(second.flow)} <= {1, frames}:
        raise InputError(f"cannot chain flows of {len(first.flow)} and {len(second.flow)} frames; give as many of each")
    a, a_confidence, b, b_confidence = (
        values.expand(frames, -1, -1, -1) for values in (first.flow, first.confidence, second.flow, second.confidence)
    )
    flow = a + backward_warp(b, a, padding_mode="border")
    confidence = a_confidence * backward_warp(b_confidence, a, padding_mode="border") * _lands_inside(a)
    return FlowField(flow, confidence.clamp(0, 1))


def _lands_inside(flow: Tensor) -> Tensor:
    target = pixel_grid(flow) + flow
    limit = target.new_tensor([flow.shape[-1] - 1, flow.shape[-2] - 1]).view(1, 2, 1, 1)
    return ((target >= 0) & (target <= limit)).all(dim=1, keepdim=True)


def translate_flow(size: Size, dx_px: float, dy_px: float) -> FlowField:
    """Every pixel of a `size` = (H, W) picture moves by (dx_px, dy_px); x runs right, y down."""
    return affine_flow(size, (0.0, 0.0), translate_px=(dx_px, dy_px))


def affine_flow(
    size: Size,
    centre_xy: Point,
    *,
    scale: float = 1.0,
    stretch_xy: Point = (1.0, 1.0),
    rotate_deg: float = 0.0,
    translate_px: Point = (0.0, 0.0),
) -> FlowField:
    """Scale, stretch, rotate, then translate a `size` = (H, W) picture about `centre_xy`, in that order.

    Angles are counter-clockwise on screen, where y runs down. Raises InputError for a scale or stretch that is not
    positive or any value that is not finite.
    """
    _require_finite("motion", (*centre_xy, scale, *stretch_xy, rotate_deg, *translate_px))
    if min(scale, *stretch_xy) <= 0:
        raise InputError(f"scale {scale:g} and stretch {stretch_xy[0]:g},{stretch_xy[1]:g} must be above 0")
    cos, sin = math.cos(math.radians(rotate_deg)), math.sin(math.radians(rotate_deg))
    stretch_x, stretch_y = scale * stretch_xy[0], scale * stretch_xy[1]
    offset = _grid64(size) - torch.tensor(centre_xy, dtype=torch.float64).view(2, 1, 1)
    x, y = offset[0] * stretch_x, offset[1] * stretch_y
    moved = torch.stack([cos * x + sin * y, cos * y - sin * x])
    return FlowField.from_flow(moved - offset + torch.tensor(translate_px, dtype=torch.float64).view(2, 1, 1))


def pins_flow(size: Size, pins: Sequence[Pin]) -> FlowField:
    """A smooth, locally rigid deformation of a `size` = (H, W) picture that carries pins along.

    `pins` are ((x, y), (dx, dy)) in pixels: at a pin the flow is its vector; one pin is a translation. Rigid moving
    least squares (Schaefer, McPhail and Warren, SIGGRAPH 2006, eq. 8), with points as complex numbers.
    Raises InputError for no pins, two pins at one point, or values that are not finite.
    """
    _require_pins(pins)
    origin = sum(complex(*point) for point, _ in pins) / len(pins)
    x, y = _grid64(size)
    v = torch.complex(x, y) - origin
    total, p_mean, q_mean, product = torch.zeros_like(x), 0 * v, 0 * v, 0 * v
    for point, vector in pins:
        p = complex(*point) - origin
        q = p + complex(*vector)
        weight = 1 / ((v - p).abs().square() + 1e-8)
        total += weight
        p_mean, q_mean, product = p_mean + weight * p, q_mean + weight * q, product + weight * (p.conjugate() * q)
    p_mean, q_mean = p_mean / total, q_mean / total
    turn = product / total - p_mean.conj() * q_mean
    turn = torch.where(turn.abs() > 1e-9, turn / turn.abs().clamp_min(1e-9), torch.ones_like(turn))
    flow = turn * (v - p_mean) + q_mean - v
    return FlowField.from_flow(torch.stack([flow.real, flow.imag]))


def _require_pins(pins: Sequence[Pin]) -> None:
    if not pins:
        raise InputError("no pins given; give at least one as x,y:dx,dy")
    points = [point for point, _ in pins]
    _require_finite("pin", [value for pin in pins for pair in pin for value in pair])
    if len(set(points)) < len(points):
        raise InputError(f"two pins stand at {max(points, key=points.count)}; keep one of them")


def _require_finite(name: str, values: Sequence[float]) -> None:
    if not all(math.isfinite(value) for value in values):
        raise InputError(f"{name} holds a value that is not finite: {', '.join(f'{value:g}' for value in values)}")


def _grid64(size: Size) -> Float[Tensor, "2 H W"]:
    if min(size) < 1:
        raise InputError(f"a flow of {size[0]} x {size[1]} pixels has no pixels; both sides must be at least 1")
    return pixel_grid(torch.empty(1, 1, *size, dtype=torch.float64))[0]
