"""Colour profiles made on the spot."""

import functools
import struct

from PIL import ImageCms

# Display P3's primaries, adapted to D50, as ICC profiles of it state them.
P3_XYZ = {
    b"rXYZ": (0.51512, 0.24120, -0.00105),
    b"gXYZ": (0.29198, 0.69225, 0.04189),
    b"bXYZ": (0.15710, 0.06657, 0.78407),
}
P3_RED, SHOWN_AS_SRGB = (230, 40, 30), (251, 0, 0)


@functools.cache  # it holds the time at which it was made
def display_p3() -> bytes:
    """Display P3: sRGB's profile with other primaries, for the tone curve is the same."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (tags,) = struct.unpack_from(">I", profile, 128)
    for index in range(tags):
        name, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        if name in P3_XYZ:
            struct.pack_into(">3i", profile, offset + 8, *(round(65536 * value) for value in P3_XYZ[name]))
    return bytes(profile)
