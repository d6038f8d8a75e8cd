"""The subject cut out by Segment Anything (Kirillov et al., ICCV 2023), from points or a box."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer import catalog
from mtransfer.errors import InputError, ModelError
from mtransfer.log import without_bars
from mtransfer.media.quantize import to_uint8
from mtransfer.subject.prompt import SubjectPrompt

AUTOMATIC_POINTS = 3  # one could mean a part of the subject; several spread over it mean the whole
NOT_AS_DEEP = 0.25  # of the deepest: a point nearer the edge than this may be off the subject


def segment_sam(
    image: Float[Tensor, "3 H W"],
    *,
    points: Sequence[tuple[float, float]] = (),
    box: tuple[float, float, float, float] | None = None,
    model: str = "sam",
    device: torch.device | str = "cpu",
    flag: str = "--subject",
) -> Float[Tensor, "1 H W"]:
    """The mask float32[1,H,W] in [0,1], soft at its edge, of what the prompt means: SAM's best of three by its score.

    `image` is in [0,1]; points x,y of the subject and the box x0,y0,x1,y1 are in pixels of it. One or the other is
    needed: `automatic_points` chooses points in a rough mask. `model` is a folder, hub id or short name. Raises
    InputError, naming the option `flag`, for a prompt outside the picture or where nothing is found, ModelError for a
    model that is not on disk or cannot be loaded.
    """
    net, processor = load_sam(model, torch.device(device))
    prompt = _prompt(image, points, box, flag)
    inputs = processor(images=to_uint8(image), return_tensors="pt", **prompt)
    with torch.no_grad():
        found = net(**{name: _moved(value, net) for name, value in inputs.items()}, multimask_output=True)
    logits = _at_full_size(processor, found.pred_masks.float().cpu(), inputs)
    best = int(found.iou_scores[0, 0].argmax())
    mask = (logits[best : best + 1] + 0.5).clamp(0, 1).to(image)
    if not bool((mask > 0.5).any()):
        raise InputError(f"{flag}: segment anything found nothing there; give another point, or a box")
    return mask


@lru_cache(maxsize=1)
def load_sam(model: str, device: torch.device) -> tuple[Any, Any]:
    """SAM and its processor, from a folder or from what is on disk. Raises ModelError: nothing is fetched unasked."""
    from transformers import SamModel, SamProcessor

    folder = _folder_of(model)
    try:
        with without_bars():
            net, loaded = SamModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
            processor = SamProcessor.from_pretrained(folder, local_files_only=True)
        if any(key.startswith("vision_encoder.") for key in loaded["missing_keys"]):
            raise ValueError("it is no segment anything model")
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0][:200] or type(error).__name__
        raise ModelError(f"--segmenter sam: {folder} cannot be loaded ({reason}); download it again") from error
    return net.eval().requires_grad_(False).to(device), processor


def _folder_of(model: str) -> Path:
    if Path(model).is_dir():
        return Path(model)
    if (folder := catalog.path_on_disk(model)) is None:
        wanted = catalog.find(model).source
        raise ModelError(f"--segmenter sam: {wanted} is not on this disk; {catalog.how_to_fetch(wanted)}")
    return folder


def automatic_points(mask: Float[Tensor, "1 H W"]) -> list[tuple[float, float]]:
    """Up to three points x,y in pixels that lie deepest inside a mask, each farther from the others than it is deep."""
    # With a border, so that the picture's edge counts as an edge of the subject.
    inside = np.pad((mask[0].cpu().numpy() > 0.5).astype(np.uint8), 1)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
    deepest = float(depth.max())
    points: list[tuple[float, float]] = []
    while len(points) < AUTOMATIC_POINTS and (here := float(depth.max())) > max(0.5, NOT_AS_DEEP * deepest):
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        points.append((column + 0.5, row + 0.5))
        cv2.circle(depth, (int(column), int(row)), int(2 * here), 0, -1)
    return points


def _prompt(
    image: Tensor,
    points: Sequence[tuple[float, float]],
    box: tuple[float, float, float, float] | None,
    flag: str,
) -> dict[str, Any]:
    """SAM's names for it: points [image, object, point, 2] with label 1 (subject), boxes [image, box, 4]."""
    prompt: dict[str, Any] = {}
    if points:
        for x, y in points:
            _named(x, y).require_inside(image.shape[-2:], flag)
        prompt |= {"input_points": [[[list(at) for at in points]]], "input_labels": [[[1] * len(points)]]}
    if box is not None:
        _named(*box).require_inside(image.shape[-2:], flag)
        prompt["input_boxes"] = [[list(box)]]
    return prompt


def _named(*numbers: float) -> SubjectPrompt:
    return SubjectPrompt.parse(",".join(f"{number:g}" for number in numbers))


def _moved(value: Tensor, net: Any) -> Tensor:
    return value.to(net.device, net.dtype if value.is_floating_point() else value.dtype)


def _at_full_size(processor: Any, masks: Tensor, inputs: Any) -> Tensor:
    """SAM's masks [1,1,3,h,w] at the picture's own size, padding removed: logits [3,H,W]."""
    sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
    logits: Tensor = processor.post_process_masks(masks, *sizes, binarize=False)[0][0]
    return logits
