"""The part of a clip's subject that a photo shows: a head alone is moved by a head, not by a person with shoulders."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.subject.picture import Picture
from mtransfer.subject.salient_objects import masks_within
from mtransfer.subject.shape import likeness
from mtransfer.subject.subject import Subject, subject_from_mask

ALIKE, GAIN = 0.75, 0.15  # overlap of the silhouettes of part and photo, and what it gains over that of the whole
LEAST_PART, MOST_PART = 0.1, 0.8  # of the whole


def shared_part(whole: Subject, photo_mask: Float[Tensor, "1 h w"]) -> Subject | None:
    """The part of a subject whose silhouette is like the photo's subject; None where the whole is about as like it.

    Of several the one that is most alike. Masks in [0,1]; the part's is on the whole's picture.
    """
    pixels = (255 * whole.image.clamp(0, 1)).round().byte().permute(1, 2, 0).cpu().numpy()
    picture = Picture(np.ascontiguousarray(pixels))
    region = picture.on_small_grid(whole.mask[0].cpu().numpy())
    least = likeness(whole.mask, photo_mask) + GAIN
    best, found = max(ALIKE, least), None
    for each in masks_within(picture.embedding, region):
        if not LEAST_PART < each.sum() / region.sum() < MOST_PART:
            continue
        mask = torch.from_numpy(picture.on_full_grid(each & region))[None].to(whole.mask)
        alike = likeness(mask, photo_mask)
        if alike > best:
            best, found = alike, subject_from_mask(whole.image, mask)
    return found
