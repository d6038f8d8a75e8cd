"""The whole object of which a part is known."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.media.quantize import to_uint8
from mtransfer.subject.detection.completion import complete_object
from mtransfer.subject.detection.outline import draw_outline
from mtransfer.subject.detection.picture import Picture


def whole_object(image: Float[Tensor, "3 H W"], part: Float[Tensor, "1 H W"]) -> Float[Tensor, "1 H W"] | None:
    """The mask of the object in `image`, in [0,1], that a part belongs to; None where nothing stands out there.

    Raises ModelError when the weights are missing.
    """
    picture = Picture(to_uint8(image))
    known = picture.on_small_grid(np.ascontiguousarray(part[0].float().cpu().numpy()))
    found = complete_object(picture, known) if known.any() else None
    if found is None:
        return None
    return torch.from_numpy(draw_outline(picture, found))[None].to(part)
