"""Flow files: .npz, .npy, Middlebury .flo, KITTI .png, and the published .pth (read only)."""

import io
import os
import pickle
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from mtransfer.errors import InputError
from mtransfer.files import atomic_write
from mtransfer.flow.field import FlowField, Size

FLO_MAGIC = np.float32(202021.25)
UNKNOWN_PX = 1e9  # Middlebury, and files made from its, mark an unknown vector by a component this large or larger
KITTI_STEP_PX = 1 / 64
KITTI_ZERO = 2**15
# What numpy, zipfile and torch make of a broken file: of its text, of its compression, of sizes nobody has.
BROKEN = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, SyntaxError, tokenize.TokenError),
    *(zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, MemoryError, OverflowError),
)


def save_field(field: FlowField, path: str | os.PathLike[str]) -> None:
    """Write a field in the format its suffix names: .npz (all of it), .npy (flow), .flo or .png (one frame's flow).

    .npz holds `flow` float32[T,2,H,W] and `confidence` float32[T,1,H,W]; .npy the first alone; .flo is
    Middlebury's; .png KITTI's 16 bit with valid = confidence > 0.5, vectors within 512 px in steps of 1/64 px.
    Raises InputError when the format is unknown, cannot hold the field, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in ENCODERS:
        raise InputError(f"cannot write flow as {path}: its suffix must be one of {', '.join(ENCODERS)}")
    _write(path, ENCODERS[path.suffix.lower()](field, path))


def load_field(path: str | os.PathLike[str], size: Size | None = None) -> FlowField:
    """Read a field of .npz, .npy, .flo, .png or .pth; `size` = (H, W) is the size it must have.

    .npy and .pth (a tensor, nothing else is unpickled) may be [T,2,H,W], [2,H,W] or [H,W,2]. Vectors marked invalid,
    or unknown as Middlebury does in whatever format, come back as 0 with confidence 0. Raises InputError for a file
    that is missing, unreadable, of another size, or holds NaN.
    """
    path = Path(path)
    if path.suffix.lower() not in DECODERS:
        raise InputError(f"cannot read flow from {path}: its suffix must be one of {', '.join(DECODERS)}")
    try:
        field = DECODERS[path.suffix.lower()](path.read_bytes())
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except BROKEN as error:
        raise InputError(f"cannot read flow from {path}: {_reason(error)}") from error
    if size is not None and field.size != tuple(size):
        raise InputError(
            f"{path}: the flow is {field.size[1]} x {field.size[0]} pixels, the photo {size[1]} x {size[0]}; "
            "they must be the same size"
        )
    return field


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]


def _write(path: Path, content: bytes) -> None:
    try:
        with atomic_write(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise InputError(f"cannot write {path}: {_reason(error)}") from error


def _from_array(values: np.ndarray, confidence: np.ndarray | None = None) -> FlowField:
    if not np.issubdtype(values.dtype, np.floating):
        raise InputError(f"flow values are {values.dtype}; they must be floats, in pixels")
    if values.ndim == 3:
        values = (values if values.shape[0] == 2 else values.transpose(2, 0, 1))[None]
    known = ~(np.isfinite(values) & (np.abs(values) >= UNKNOWN_PX)).any(axis=1, keepdims=True)
    flow = torch.from_numpy(np.where(known, values, 0).astype(np.float32))
    field = FlowField.from_flow(flow, None if confidence is None else torch.from_numpy(confidence))
    return FlowField(field.flow, field.confidence * torch.from_numpy(known))


def _single_frame(field: FlowField, path: Path) -> np.ndarray:
    if len(field.flow) != 1:
        raise InputError(f"{path} can hold one frame, not {len(field.flow)}; write .npz instead")
    return field.flow[0].permute(1, 2, 0).contiguous().cpu().numpy()


def _encode_npz(field: FlowField, path: Path) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, flow=field.flow.cpu().numpy(), confidence=field.confidence.cpu().numpy())
    return buffer.getvalue()


def _decode_npz(content: bytes) -> FlowField:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        if "flow" not in getattr(arrays, "files", ()):
            raise InputError("the file holds no array named flow")
        return _from_array(arrays["flow"], arrays["confidence"] if "confidence" in arrays.files else None)


def _encode_npy(field: FlowField, path: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, field.flow.cpu().numpy())
    return buffer.getvalue()


def _decode_npy(content: bytes) -> FlowField:
    return _from_array(np.lib.format.read_array(io.BytesIO(content), allow_pickle=False))


def _encode_flo(field: FlowField, path: Path) -> bytes:
    flow = _single_frame(field, path).astype("<f4")
    return FLO_MAGIC.astype("<f4").tobytes() + np.array(flow.shape[1::-1], "<i4").tobytes() + flow.tobytes()


def _decode_flo(content: bytes) -> FlowField:
    if len(content) < 12 or np.frombuffer(content[:4], "<f4")[0] != FLO_MAGIC:
        raise InputError("not a Middlebury .flo file (its first four bytes are not 202021.25)")
    width, height = (int(side) for side in np.frombuffer(content[4:12], "<i4"))
    if min(width, height) < 1 or len(content) != 12 + 8 * width * height:
        raise InputError(f"the file says {width} x {height} pixels, which {len(content)} bytes do not hold")
    return _from_array(np.frombuffer(content[12:], "<f4").reshape(1, height, width, 2).transpose(0, 3, 1, 2))


def _encode_kitti(field: FlowField, path: Path) -> bytes:
    steps = np.rint(_single_frame(field, path) / KITTI_STEP_PX) + KITTI_ZERO
    if steps.min() < 0 or steps.max() > 65535:
        raise InputError(f"{path} can hold vectors within 512 px, not {field.flow.abs().max():g}; write .npz instead")
    valid = field.confidence[0, 0].cpu().numpy() > 0.5
    steps[~valid] = 0
    # OpenCV writes blue, green, red: KITTI's red is u, green v, blue valid.
    pixels = np.dstack([valid, steps[..., 1], steps[..., 0]]).astype(np.uint16)
    return cv2.imencode(".png", pixels)[1].tobytes()


def _decode_kitti(content: bytes) -> FlowField:
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InputError("not a KITTI flow file (a 16-bit PNG of three channels)")
    flow = (pixels[..., :0:-1].astype(np.float32) - KITTI_ZERO) * KITTI_STEP_PX
    valid = pixels[..., 0] > 0
    known = np.where(valid[..., None], flow, 0).transpose(2, 0, 1)[None]
    return _from_array(known, valid[None, None].astype(np.float32))


def _decode_pth(content: bytes) -> FlowField:
    flow = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(flow, torch.Tensor):
        raise InputError(f"the file holds a {type(flow).__name__}; it must be one tensor of flow")
    return _from_array(flow.detach().float().numpy())


ENCODERS: dict[str, Callable[[FlowField, Path], bytes]] = {
    ".npz": _encode_npz,
    ".npy": _encode_npy,
    ".flo": _encode_flo,
    ".png": _encode_kitti,
}
DECODERS: dict[str, Callable[[bytes], FlowField]] = {
    ".npz": _decode_npz,
    ".npy": _decode_npy,
    ".flo": _decode_flo,
    ".png": _decode_kitti,
    ".pth": _decode_pth,
}
