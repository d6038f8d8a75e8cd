"""Which segmenter cuts the subject out."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.sam import segment_sam
from mtransfer.segmenter import find_subject
from mtransfer.subject import Subject, parse_numbers, refine, resolve_word, segment, subject_from_mask

Segmenter = Literal["grabcut", "embedded", "sam"]


def segment_by(
    name: Segmenter,
    image: Float[Tensor, "3 H W"],
    spec: str,
    alpha: Float[Tensor, "1 H W"] | None = None,
    *,
    device: torch.device | str = "cpu",
    flag: str = "--subject",
) -> Subject:
    """As `subject.segment`; points, boxes and what stands out are found by the segmenter `name`.

    The embedded net's rough mask is drawn to the picture's edges by GrabCut. Raises InputError and ModelError.
    """
    numbers = parse_numbers(spec, flag)
    if name == "grabcut" or (not numbers and resolve_word(spec, alpha) != "salient"):
        return segment(image, spec, alpha, flag)
    point = (numbers[0], numbers[1]) if len(numbers) == 2 else None
    box = (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else None
    if name == "sam":
        return subject_from_mask(image, segment_sam(image, point=point, box=box, device=device, flag=flag))
    return subject_from_mask(image, refine(image, find_subject(image, point=point, box=box, flag=flag)))
