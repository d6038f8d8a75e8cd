"""What a quality run works on: MotionBench, or folders of `src.png`, `flow.*` and what else is known."""

from dataclasses import dataclass, field
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from benchmarks.motionbench import Case, load_cases
from mtransfer.errors import InputError
from mtransfer.evaluation.metrics import Regions, region_masks
from mtransfer.flow.field import FlowField, resize
from mtransfer.flow.interpolate import fill_motion
from mtransfer.flow.io import DECODERS, load_field
from mtransfer.media.photo.photo import read_photo
from mtransfer.sampling.highres import model_size
from mtransfer.sampling.model_folder import EMBEDDED_SIDE_PX


@dataclass(frozen=True, eq=False)
class Problem:
    """An edit to be made and judged; images and masks float32[1,C,H,W] in [0,1], flows [1,2,H,W] in pixels.

    A method gets `photo`, `flow` and `mask`. It is judged by `true_flow`, `subject` and `regions`, which differ from
    those where the guidance is imperfect, and by the true after-image where there is one.
    """

    name: str
    kind: str
    imperfect: bool
    photo: Tensor
    flow: Tensor
    mask: Tensor
    true_flow: Tensor
    subject: Tensor
    regions: Regions
    after: Tensor | None = None
    others: dict[str, Tensor] = field(default_factory=dict)  # results of other methods, by name


def benchmark_problems(split: str, quick: bool) -> list[Problem]:
    """MotionBench's edits of a split."""
    return [_from_case(case) for case in load_cases(split, quick)]


def _from_case(case: Case) -> Problem:
    regions = region_masks(case.true_flow, case.subject)
    flow = completed(case.flow, case.confidence, case.mask)
    return Problem(
        case.name,
        case.kind,
        case.imperfect,
        case.source,
        flow,
        case.mask,
        case.true_flow,
        case.subject,
        regions,
        case.after,
    )


def completed(flow: Tensor, confidence: Tensor, mask: Tensor) -> Tensor:
    """The flow carried on smoothly inside the mask where it is not trusted; zero outside."""
    trusted = (confidence > 0.5).to(flow) * (mask > 0.5)
    return fill_motion(flow, trusted) * (mask > 0.05) if bool(trusted.any()) else flow


def read_problem(folder: Path) -> Problem:
    """A case: `src.png`, `flow.npz|npy|flo|png|pth`, where known `true.png`, `mask.png`, `other*.png`.

    Brought to the model's size. Raises InputError for a folder without a picture or without a flow.
    """
    if not (folder / "src.png").is_file():
        raise InputError(f"{folder}: no case, for it holds no src.png")
    flows = [folder / f"flow{suffix}" for suffix in DECODERS if (folder / f"flow{suffix}").is_file()]
    if not flows:
        raise InputError(f"{folder}: no case, for it holds no flow{'|'.join(DECODERS)}")
    photo = read_photo(folder / "src.png").image
    size = model_size((photo.shape[-2], photo.shape[-1]), EMBEDDED_SIDE_PX)
    given = load_field(flows[0], size=(photo.shape[-2], photo.shape[-1]))
    moved = resize(FlowField(given.flow[:1], given.confidence[:1]), size)
    mask = moved.flow.ne(0).any(dim=1, keepdim=True).float()
    if (folder / "mask.png").is_file():
        mask = _picture(folder / "mask.png", size)[:, :1]
    flow = completed(moved.flow, moved.confidence, mask)
    truth = folder / "true.png"
    after = _picture(truth, size) if truth.is_file() else None
    others = {path.stem: _picture(path, size) for path in sorted(folder.glob("other*.png"))}
    regions = region_masks(flow, mask)
    source = F.interpolate(photo[None], size, mode="area")
    return Problem(folder.name, "folder", False, source, flow, mask, flow, mask, regions, after, others)


def _picture(path: Path, size: tuple[int, int]) -> Tensor:
    return F.interpolate(read_photo(path).image[None], size, mode="area")


def read_problems(folders: list[Path]) -> list[Problem]:
    """Every case in the folders, or in the folders below them. Raises InputError when there is none."""
    found = [case for folder in folders for case in _case_folders(folder)]
    if not found:
        raise InputError(f"{' '.join(map(str, folders))}: no case; a case is a folder that holds src.png and a flow")
    return [read_problem(folder) for folder in found]


def _case_folders(folder: Path) -> list[Path]:
    return [folder] if (folder / "src.png").is_file() else sorted(path.parent for path in folder.glob("*/src.png"))
