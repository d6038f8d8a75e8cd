"""The flow estimators by name: the embedded RAFT, torchvision's RAFT, dense inverse search, and those fused.

torchvision takes a second to import, so it is imported where a RAFT is built: drafts whose flow is known need none.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import torch

from mtransfer import catalog
from mtransfer.cache import file_hash
from mtransfer.catalog import WEIGHTS
from mtransfer.errors import InputError, ModelError
from mtransfer.flow.estimator import DisFlow, FlowModel

if TYPE_CHECKING:
    from mtransfer.flow.raft import FlowNet

EMBEDDED_FLOW = WEIGHTS / "flow" / "embedded.safetensors"
MOST_LEVELS = 3  # full, half and quarter size
READING_UPDATES = 12  # RAFT updates when reading a clip: no gradient needed, so more than in guidance
EMBEDDED_SIDE_PX, LARGE_SIDE_PX = 256, 512  # the long side at which the embedded net, and others, read best


@lru_cache(maxsize=2)
def load_flow_model(
    name: str, updates: int, levels: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> "FlowNet | DisFlow":
    """A flow estimator: auto | embedded | raft_large | raft_small | dis. Raises ModelError when weights are missing.

    torchvision's RAFTs, trained in mixed precision, may be rounded to `dtype`; the embedded one guides worse then.
    """
    if name == "dis":
        return DisFlow()
    from mtransfer.flow.raft import BUILDERS, FlowNet, build_raft

    name = resolve_flow_model(name)
    if name == "embedded":
        return FlowNet(build_raft("embedded", _existing(EMBEDDED_FLOW)), updates, levels).to(device)
    if name not in BUILDERS:
        raise InputError(f"--flow-model {name}: use auto, embedded, raft_large, raft_small or dis")
    slow = dtype == torch.float16 and device.type == "cpu"
    return FlowNet(build_raft(name, _checkpoint(name)), updates, levels, torch.float32 if slow else dtype).to(device)


def load_judge(name: str, device: torch.device) -> "FlowNet | DisFlow":
    """What measures, more slowly and surely than what guides: see `load_flow_model`, whose names it takes.

    The embedded net looks coarse to fine; torchvision's were trained on large motions and look once.
    """
    levels = MOST_LEVELS if resolve_flow_model(name) == "embedded" else 1
    return load_flow_model(name, READING_UPDATES, levels, device)


def load_reader(name: str, device: torch.device) -> FlowModel:
    """What reads clips: as `load_judge`, the embedded net together with dense inverse search."""
    model = load_judge(name, device)
    if isinstance(model, DisFlow) or resolve_flow_model(name) != "embedded":
        return model
    from mtransfer.flow.fusion import FusedFlow

    return FusedFlow(model)


def reading_side_px(name: str) -> int:
    """The long side in pixels at which a flow estimator reads clips best: the size of what it was trained on."""
    return EMBEDDED_SIDE_PX if resolve_flow_model(name) == "embedded" else LARGE_SIDE_PX


def resolve_flow_model(name: str) -> str:
    """`auto` is torchvision's raft_large when its weights are on disk, else the embedded net."""
    if name != "auto":
        return name
    return "raft_large" if catalog.path_on_disk("raft_large") is not None else "embedded"


def flow_model_id(name: str) -> str:
    """A flow estimator's name, OpenCV's version and the hash of its weights: what flow read by it depends on."""
    name = resolve_flow_model(name)
    if name == "dis":
        return f"dis {cv2.__version__}"
    return f"{name} {cv2.__version__} {_weights_hash(EMBEDDED_FLOW if name == 'embedded' else _checkpoint(name))}"


@lru_cache(maxsize=4)
def _weights_hash(path: Path) -> str:
    return file_hash(_existing(path))


def _checkpoint(name: str) -> Path:
    if (path := catalog.path_on_disk(name)) is None:
        raise ModelError(
            f"--flow-model {name}: not on this disk; {catalog.how_to_fetch(name)}, or use --flow-model embedded"
        )
    return path


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ModelError(f"{path}: embedded weights missing; install mtransfer again")
    return path
