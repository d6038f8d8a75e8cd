"""Which segmenter cuts the subject out."""

import hashlib
from typing import Literal

import cv2
import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.cache import remember
from mtransfer.errors import InputError
from mtransfer.sam import segment_sam
from mtransfer.segmenter import find_subject, segmenter_hash
from mtransfer.subject import Subject, parse_numbers, refine, require_inside, resolve_word, segment, subject_from_mask

ALIKE = 0.85  # overlap above which net and colour have found the same thing
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

    The embedded net's rough mask is drawn to the picture's edges by GrabCut. What either finds is kept on disk, for the
    photo's next clip. Raises InputError and ModelError.
    """
    numbers = parse_numbers(spec, flag)
    if not numbers and resolve_word(spec, alpha) != "salient":
        return segment(image, spec, alpha, flag)
    require_inside(numbers, image, f"{flag} {spec}")
    point = (numbers[0], numbers[1]) if len(numbers) == 2 else None
    box = (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else None
    if name == "sam":
        return subject_from_mask(image, segment_sam(image, point=point, box=box, device=device, flag=flag))

    def found() -> dict[str, Tensor]:
        if name == "grabcut":
            return {"mask": segment(image, spec, None, flag).mask}
        likely = find_subject(image, point=point, box=box, flag=flag)
        drawn = refine(image, likely)
        return {"mask": _with_thin_parts(image, (likely > 0.5).to(image) if drawn is likely else drawn)}

    pixels = hashlib.sha256(image.cpu().contiguous().numpy().data).hexdigest()
    key = {"image": pixels, "size": image.shape[-2:], "subject": spec, "by": name, "opencv": cv2.__version__}
    weights = {} if name == "grabcut" else {"weights": segmenter_hash()}
    return subject_from_mask(image, remember("subject", key | weights, found)["mask"].to(image))


def _with_thin_parts(image: Tensor, mask: Tensor) -> Tensor:
    """What the net found, and what colour adds to it where both found the same thing: wing tips, tails."""
    try:
        by_colour = segment(image, "salient").mask
    except InputError:
        return mask
    both, either = torch.minimum(mask, by_colour).sum(), torch.maximum(mask, by_colour)
    return either if float(both / either.sum()) > ALIKE else mask
