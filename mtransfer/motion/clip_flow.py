"""A stretch of a clip read once: its frames at the size flow is read at, and the flow from each to the next."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.cache import remember
from mtransfer.flow.estimator import FlowModel
from mtransfer.flow.field import FlowField
from mtransfer.flow.loading import flow_model_id, load_reader, reading_side_px
from mtransfer.flow.long_range import Links, Pictures, as_floats, follow, read_links
from mtransfer.log import Report
from mtransfer.media.photo.sizes import shrunk
from mtransfer.media.video import ClipReader

MOST_LINKS = 12  # between two wanted frames: more would add errors and time
QUICK_UPDATES, QUICK_LEVELS = 4, 1


@dataclass(frozen=True, eq=False)
class Reading:
    """Frames of a clip by number, as 8-bit pictures, and the links between them."""

    frames: tuple[int, ...]  # ascending
    pictures: Pictures
    links: Links
    device: torch.device
    key: dict[str, Any] = field(repr=False)

    def picture(self, frame: int) -> Float[Tensor, "3 H W"]:
        """A frame in [0,1], on the CPU."""
        index = self.frames.index(frame)
        return as_floats(self.pictures[index : index + 1], torch.device("cpu"))[0]

    def pictures_of(self, frames: Sequence[int]) -> Pictures:
        """Some of the frames, 8-bit."""
        return self.pictures[[self.frames.index(each) for each in frames]]

    def path(self, start: int, wanted: Sequence[int]) -> tuple[Links, Tensor, int, list[int]]:
        """Links, pictures, and the places among them of a frame and of the wanted ones."""
        return self.links, self.pictures, self.frames.index(start), [self.frames.index(each) for each in wanted]

    def flow_from(self, start: int, wanted: Sequence[int]) -> FlowField:
        """Flow from frame `start` to each of `wanted`, from the cache where it was read before."""

        def read() -> dict[str, Tensor]:
            found = follow(*self.path(start, wanted), self.device)
            return {"flow": found.flow, "confidence": found.confidence}

        held = remember("longflow", self.key | {"start": start, "wanted": list(wanted)}, read)
        return FlowField(held["flow"], held["confidence"])


def read_clip(
    reader: ClipReader, flow_model: str, frames: Sequence[int], device: torch.device, report: Report, *, quick: bool
) -> Reading:
    """Read a clip from the first to the last of `frames` with the flow estimator that `flow_model` names.

    `quick` is for previews, where large motions may get lost. Raises InputError and ModelError.
    """
    stations = between(frames)
    side = max(shrunk(reader.clip.size, reading_side_px(flow_model)))
    pictures = torch.from_numpy(np.stack(list(reader.walk(stations, side)))).permute(0, 3, 1, 2).contiguous()
    key = {
        "clip": reader.key,
        "frames": stations,
        "size": pictures.shape[-2:],
        "model": flow_model_id(flow_model),
        "device": device.type,
        "quick": quick,
        "flow": "float32",
    }

    def read() -> dict[str, Tensor]:
        estimator = _estimator(flow_model, device, quick)
        links = read_links(estimator, pictures, device, lambda done, total: report("clip", done, total, None))
        return {"forward": links.forward, "backward": links.backward}

    held = remember("links", key, read)
    return Reading(tuple(stations), pictures, Links(held["forward"], held["backward"]), device, key)


def between(frames: Sequence[int]) -> list[int]:
    """The wanted frame numbers and some evenly between them, ascending."""
    ordered = sorted(set(frames))
    stations = ordered[:1]
    for first, second in itertools.pairwise(ordered):
        links = min(MOST_LINKS, second - first)
        stations += [first + round((second - first) * part / links) for part in range(1, links + 1)]
    return stations


def _estimator(flow_model: str, device: torch.device, quick: bool) -> FlowModel:
    from mtransfer.flow.fusion import FusedFlow, ThriftyFlow  # and with them torchvision, which known flow needs not
    from mtransfer.flow.raft import FlowNet

    reader = load_reader(flow_model, device)
    if not isinstance(reader, FusedFlow):
        return reader
    if not quick:
        return ThriftyFlow(reader.net)
    return ThriftyFlow(FlowNet(reader.net.net, QUICK_UPDATES, QUICK_LEVELS), over_plain_ground=True)
