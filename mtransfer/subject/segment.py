"""The subject of a picture: found by itself, or from a point, a box or a mask, by one segmenter or another."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.cache import remember
from mtransfer.errors import InputError
from mtransfer.media.quantize import to_uint8
from mtransfer.subject.detection.guess_preview import save_guess
from mtransfer.subject.detection.mobile_sam import mobile_sam_hash
from mtransfer.subject.detection.outline import draw_outline
from mtransfer.subject.detection.picture import Picture
from mtransfer.subject.detection.prompted_object import nearest_object_point, object_at, object_in
from mtransfer.subject.detection.saliency import saliency_hash
from mtransfer.subject.detection.salient_objects import find_objects
from mtransfer.subject.grabcut import automatic_seed, box_seed, point_seed
from mtransfer.subject.mask_file import read_mask
from mtransfer.subject.mask_refinement import grabcut_mask, working_copy, working_scale
from mtransfer.subject.prompt import SubjectPrompt
from mtransfer.subject.regions import Region, deepest_point
from mtransfer.subject.sam import automatic_points, segment_sam
from mtransfer.subject.subject import Subject, subject_from_mask

SMALLEST_SHARE, LARGEST_SHARE = 0.004, 0.7  # of the picture, for what GrabCut finds to be a subject
Segmenter = Literal["grabcut", "embedded", "sam"]


@dataclass(frozen=True, eq=False)
class Found:
    """A subject, the prompt that finds it again, and a point (x, y) in pixels of each salient object, the main one
    first, where the subject is one of them."""

    subject: Subject
    prompt: SubjectPrompt
    objects: tuple[tuple[float, float], ...] = ()


def segment(
    image: Float[Tensor, "3 H W"],
    prompt: SubjectPrompt | str,
    alpha: Float[Tensor, "1 H W"] | None = None,
    *,
    by: Segmenter = "embedded",
    device: torch.device | str = "cpu",
    flag: str = "--subject",
) -> Subject:
    """The subject of `find_subject` alone. Raises InputError and ModelError."""
    return find_subject(image, prompt, alpha, by=by, device=device, flag=flag).subject


def find_subject(
    image: Float[Tensor, "3 H W"],
    prompt: SubjectPrompt | str,
    alpha: Float[Tensor, "1 H W"] | None = None,
    *,
    by: Segmenter = "embedded",
    device: torch.device | str = "cpu",
    flag: str = "--subject",
) -> Found:
    """The subject that `prompt` names in `image`, values in [0,1].

    It is a point `x,y`, a box `x0,y0,x1,y1` (pixels), a mask file, a number (of the salient objects, 1 the main
    one) or a word: `all`, `alpha` (the alpha channel), `salient` (the main object), `all-salient`, `auto` (alpha if
    there is one, else salient). Points, boxes and objects are found by the segmenter `by`; what is found is kept on
    disk, for the photo's next clip. Raises InputError, naming the option `flag`, where nothing is found, or ModelError.
    """
    named = SubjectPrompt.parse(prompt) if isinstance(prompt, str) else prompt
    resolved = named.resolved(has_alpha=alpha is not None)
    if resolved.text == "all":
        return Found(subject_from_mask(image, torch.ones_like(image[:1])), resolved)
    if resolved.text == "alpha":
        if alpha is None:
            raise InputError(f"{flag} alpha: the picture has no alpha channel; use {flag} auto")
        return Found(subject_from_mask(image, _large_enough(alpha, f"{flag} {named.text}", flag)), resolved)
    resolved.require_inside(image.shape[-2:], flag)
    if resolved.kind == "file" or resolved.text == "moving":  # which no picture alone can show
        mask = read_mask(resolved.path, image)
        return Found(subject_from_mask(image, _large_enough(mask, f"{flag} {named.text}", flag)), resolved)
    if by != "embedded" and (resolved.kind in ("point", "box") or resolved.text == "salient"):
        return Found(_by_other(by, image, resolved, device, flag), resolved)
    return _found(image, resolved, named.text, flag)


def _large_enough(mask: Tensor, given: str, flag: str) -> Tensor:
    if float(mask.mean()) < SMALLEST_SHARE:
        raise InputError(f"{given}: the mask is all but empty; give another, or point at the subject: {flag} x,y")
    return mask


def _by_other(by: Segmenter, image: Tensor, prompt: SubjectPrompt, device: torch.device | str, flag: str) -> Subject:
    numbers = prompt.numbers
    if by == "sam":
        points, box = [], None
        if len(numbers) == 4:
            box = (numbers[0], numbers[1], numbers[2], numbers[3])
        elif numbers:
            points = [(numbers[0], numbers[1])]
        else:
            points = automatic_points(segment(image, "auto", flag=flag).mask)
        return subject_from_mask(image, segment_sam(image, points=points, box=box, device=device, flag=flag))
    key = {**_key(image, prompt), "by": by}
    mask = remember("subject", key, lambda: {"mask": _by_grabcut(image, prompt, flag)})["mask"]
    return subject_from_mask(image, mask.to(image))


def _by_grabcut(image: Tensor, prompt: SubjectPrompt, flag: str) -> Tensor:
    """The mask [1,H,W] that colours alone give from a point, a box, or what differs from the picture's frame."""
    small, numbers = working_copy(image), prompt.numbers
    if numbers:
        seed = point_seed if len(numbers) == 2 else box_seed
        mask = grabcut_mask(image, *seed(small, [number * working_scale(image) for number in numbers]))
    else:
        mask = grabcut_mask(image, *automatic_seed(small, flag))
    if not SMALLEST_SHARE <= float(mask.mean()) <= (1 if numbers else LARGEST_SHARE):
        given = prompt.text if numbers else "auto"
        raise InputError(f"{flag} {given}: no clear subject found; point at it with {flag} x,y or a box")
    return mask


def _key(image: Tensor, prompt: SubjectPrompt) -> dict[str, object]:
    pixels = hashlib.sha256(image.cpu().contiguous().numpy().data).hexdigest()
    return {"image": pixels, "size": image.shape[-2:], "subject": prompt.text, "opencv": cv2.__version__}


def _found(image: Tensor, prompt: SubjectPrompt, given: str, flag: str) -> Found:
    key = {**_key(image, prompt), "by": "embedded", "weights": [saliency_hash(), mobile_sam_hash()]}
    held = remember("subject", key, lambda: _search(image, prompt, f"{flag} {given}", flag))
    mask = held["mask"].to(image) / 255
    objects = tuple((float(x), float(y)) for x, y in held["objects"].tolist())
    number = prompt.number
    stays = SubjectPrompt.at_salient(objects[number - 1]) if number else prompt
    return Found(subject_from_mask(image, mask), stays, objects)


def _search(image: Tensor, prompt: SubjectPrompt, given: str, flag: str) -> dict[str, Tensor]:
    """The mask uint8[1,H,W] of what is asked for, and points float32[N,2] of the salient objects that were found."""
    pixels = to_uint8(image)
    picture = Picture(pixels)
    scale = np.array([pixels.shape[1] / picture.size[1], pixels.shape[0] / picture.size[0]])
    objects: list[Region] = []
    if prompt.kind in ("point", "box"):
        regions = [_prompted(picture, prompt, scale, given)]
    else:
        objects = find_objects(picture)
        regions = _chosen(picture, objects, prompt, scale, given, flag)
    drawn = np.max([draw_outline(picture, region) for region in regions], axis=0)
    mask = torch.from_numpy(cv2.convertScaleAbs(drawn, alpha=255))[None]
    points = [(np.array(deepest_point(each)) + 0.5) * scale for each in objects]
    return {"mask": mask, "objects": torch.tensor(np.array(points, np.float32).reshape(-1, 2))}


def _prompted(picture: Picture, prompt: SubjectPrompt, scale: np.ndarray, given: str) -> Region:
    """The object at a point or in a box. `scale` (x, y): pixels of the picture over those of its small grid."""
    numbers = [number / scale[index % 2] for index, number in enumerate(prompt.numbers)]
    if prompt.kind == "box":
        region = object_in(picture, (round(numbers[0]), round(numbers[1]), round(numbers[2]), round(numbers[3])))
        if region is None:
            raise InputError(f"{given}: nothing stands out in this box; draw it round the whole object")
        return region
    region = object_at(picture, numbers[0], numbers[1])
    if region is None:
        nearest = nearest_object_point(picture, numbers[0], numbers[1])
        where = "" if nearest is None else "; the nearest object is at {:.0f},{:.0f}".format(*(nearest * scale))
        raise InputError(f"{given}: plain ground there, no object{where}")
    return region


def _chosen(
    picture: Picture, objects: list[Region], prompt: SubjectPrompt, scale: np.ndarray, given: str, flag: str
) -> list[Region]:
    """Those of the salient objects that are asked for."""
    if not objects:
        guess = save_guess(picture)
        shown = "" if guess is None else f" (see {guess})"
        raise InputError(f"{given}: no clear subject found; point at it with {flag} x,y or a box{shown}")
    if prompt.text == "all-salient":
        return objects
    number = prompt.number or 1
    if number > len(objects):
        raise InputError(f"{given}: {len(objects)} found; give a number up to that, or a point {flag} x,y")
    if prompt.kind == "salient_at":
        column, row = (np.array(prompt.numbers) / scale).astype(int)
        holding = [each for each in objects if each[min(row, each.shape[0] - 1), min(column, each.shape[1] - 1)]]
        if not holding:
            raise InputError(f"{given}: no salient object is found there any more; point at it with {flag} x,y")
        return holding[:1]
    return [objects[number - 1]]
