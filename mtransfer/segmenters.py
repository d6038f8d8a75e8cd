"""Which segmenter cuts the subject out."""

import hashlib
from typing import Literal

import cv2
import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.cache import remember
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

    What GrabCut finds is kept on disk, for the photo's next clip. The embedded net's rough mask is drawn to the
    picture's edges by GrabCut. Raises InputError and ModelError.
    """
    numbers = parse_numbers(spec, flag)
    if not numbers and resolve_word(spec, alpha) != "salient":
        return segment(image, spec, alpha, flag)
    if name == "grabcut":
        return _kept(image, spec, flag)
    point = (numbers[0], numbers[1]) if len(numbers) == 2 else None
    box = (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else None
    if name == "sam":
        return subject_from_mask(image, segment_sam(image, point=point, box=box, device=device, flag=flag))
    return subject_from_mask(image, refine(image, find_subject(image, point=point, box=box, flag=flag)))


def _kept(image: Tensor, spec: str, flag: str) -> Subject:
    """What GrabCut finds, from the cache where it was found before."""
    pixels = hashlib.sha256(image.cpu().contiguous().numpy().data).hexdigest()
    key = {"image": pixels, "size": image.shape[-2:], "subject": spec, "opencv": cv2.__version__}
    held = remember("subject", key, lambda: {"mask": segment(image, spec, None, flag).mask})
    return subject_from_mask(image, held["mask"].to(image))
