"""The subject of a picture: found by itself, or from a point, a box or a mask, by one segmenter or another."""

import hashlib
from pathlib import Path
from typing import Literal

import cv2
import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.cache import remember
from mtransfer.errors import InputError
from mtransfer.subject.grabcut import automatic_seed, box_seed, point_seed
from mtransfer.subject.mask_file import read_mask
from mtransfer.subject.mask_refinement import grabcut_mask, refine, working_copy, working_scale
from mtransfer.subject.prompt import parse_numbers, require_inside, resolve_word
from mtransfer.subject.sam import automatic_points, segment_sam
from mtransfer.subject.subject import Subject, subject_from_mask
from mtransfer.subject.unet import find_subject, segmenter_hash

SMALLEST_SHARE, LARGEST_SHARE = 0.004, 0.7  # of the picture, for what is found to be a subject
ALIKE = 0.85  # overlap above which net and colour have found the same thing
Segmenter = Literal["grabcut", "embedded", "sam"]


def segment(
    image: Float[Tensor, "3 H W"], spec: str, alpha: Float[Tensor, "1 H W"] | None = None, flag: str = "--subject"
) -> Subject:
    """The subject `spec` names, found by GrabCut: a word, a point `x,y`, a box `x0,y0,x1,y1` (pixels) or a mask file.

    The words: `all`, `alpha` (the alpha channel), `salient` (what stands out), `auto` (alpha if there is one, else
    salient). Raises InputError, naming the option `flag`, when nothing, or no single thing, is found.
    """
    if spec == "all":
        return subject_from_mask(image, torch.ones_like(image[:1]))
    word = resolve_word(spec, has_alpha=alpha is not None)
    if word == "alpha":
        if alpha is None:
            raise InputError(f"{flag} alpha: the picture has no alpha channel; use {flag} auto")
        mask = alpha
    elif word == "salient":
        mask = grabcut_mask(image, *automatic_seed(working_copy(image), flag))
    elif numbers := parse_numbers(spec, flag):
        require_inside(numbers, image.shape[-2:], f"{flag} {spec}")
        seed = point_seed if len(numbers) == 2 else box_seed
        mask = grabcut_mask(image, *seed(working_copy(image), [n * working_scale(image) for n in numbers]))
    else:
        mask = read_mask(Path(spec), image)
    share = float(mask.mean())
    if not SMALLEST_SHARE <= share <= (LARGEST_SHARE if word in ("alpha", "salient") else 1):
        raise InputError(f"{flag} {spec}: no clear subject found; point at it with {flag} x,y or a box")
    return subject_from_mask(image, mask)


def segment_by(
    name: Segmenter,
    image: Float[Tensor, "3 H W"],
    spec: str,
    alpha: Float[Tensor, "1 H W"] | None = None,
    *,
    device: torch.device | str = "cpu",
    flag: str = "--subject",
) -> Subject:
    """As `segment`; points, boxes and what stands out are found by the segmenter `name`.

    The embedded net's rough mask is drawn to the picture's edges by GrabCut. What either finds is kept on disk, for the
    photo's next clip. Raises InputError and ModelError.
    """
    numbers = parse_numbers(spec, flag)
    if not numbers and resolve_word(spec, has_alpha=alpha is not None) != "salient":
        return segment(image, spec, alpha, flag)
    require_inside(numbers, image.shape[-2:], f"{flag} {spec}")
    point = (numbers[0], numbers[1]) if len(numbers) == 2 else None
    box = (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else None
    if name == "sam":
        points = [point] if point is not None else []
        if not numbers:
            points = automatic_points(segment(image, "auto", flag=flag).mask)
        return subject_from_mask(image, segment_sam(image, points=points, box=box, device=device, flag=flag))

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
