"""Colours of a photo's profile as sRGB, for files that carry no profile or whose profile nobody heeds."""

import io
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageCms
from torch import Tensor

from mtransfer.log import warn
from mtransfer.media.quantize import from_uint8, to_uint8

Convert = Callable[[Float[Tensor, "3 H W"]], Float[Tensor, "3 H W"]]


def to_srgb(icc_profile: bytes | None) -> Convert:
    """What turns RGB of this profile, in [0,1], into sRGB of 256 levels; without a profile it is sRGB as it is.

    Colours that sRGB has no room for are cut off at its edges. A broken profile is said to be, and sRGB assumed.
    """
    if icc_profile is None:
        return lambda image: image
    try:
        given, wanted = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile)), ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(given, wanted, "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        warn(f"the photo's colour profile is broken ({error}); films take its colours as sRGB")
        return lambda image: image

    def convert(image: Tensor) -> Tensor:
        shown = ImageCms.applyTransform(Image.fromarray(to_uint8(image)), transform)
        assert shown is not None
        return from_uint8(np.array(shown)).to(image)

    return convert
