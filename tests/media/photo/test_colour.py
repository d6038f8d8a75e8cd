"""Colours of a profile as sRGB."""

import pytest
import torch
from PIL import ImageCms
from profiles import P3_RED, SHOWN_AS_SRGB, display_p3

from mtransfer.media.photo.colour import to_srgb


def flat(*levels: int) -> torch.Tensor:
    return torch.tensor(levels).float().div(255).view(3, 1, 1).expand(3, 8, 12)


def levels(image: torch.Tensor) -> list[int]:
    return (255 * image[:, 4, 6]).round().int().tolist()


@pytest.mark.parametrize(
    ("given", "shown"),
    [(P3_RED, SHOWN_AS_SRGB), ((128, 128, 128), (128, 128, 128)), ((0, 0, 0), (0, 0, 0)), ((255,) * 3, (255,) * 3)],
)
def test_display_p3_is_shown_in_srgb(given, shown) -> None:
    converted = to_srgb(display_p3())(flat(*given))
    assert (converted.shape, converted.dtype) == ((3, 8, 12), torch.float32)
    assert levels(converted) == pytest.approx(shown, abs=1)


def test_what_srgb_has_room_for_comes_back_from_the_other_way() -> None:
    """P3's linear mix of sRGB's primaries (W3C, CSS Color 4), through the shared tone curve."""
    mix = torch.tensor([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])
    given = torch.tensor([150.0, 120.0, 90.0]) / 255
    linear = mix @ ((given + 0.055) / 1.055) ** 2.4
    wanted = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    assert levels(to_srgb(display_p3())(flat(150, 120, 90))) == pytest.approx(wanted.tolist(), abs=1.5)


def test_without_a_profile_or_with_srgbs_nothing_changes() -> None:
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert to_srgb(None)(image) is image
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert (to_srgb(own)(image) - image).abs().max() < 1.6 / 255


def test_a_broken_profile_is_said_to_be(capsys) -> None:
    image = flat(*P3_RED)
    assert to_srgb(b"no profile at all, but long enough to be looked at" * 4)(image) is image
    assert "colour profile is broken" in capsys.readouterr().err
