"""What names a subject: a word, a point `x,y`, a box `x0,y0,x1,y1` in pixels, a mask file; several parted by `;`."""

import contextlib
from collections.abc import Sequence

from mtransfer.errors import InputError

WORDS = ("auto", "all", "alpha", "salient", "moving")


def specs_of(text: str) -> list[str]:
    """The subjects that `subject` or `clip_subject` names: `--subject a --subject b` is `a;b`."""
    return [spec.strip() for spec in text.split(";")]


def is_file(spec: str) -> bool:
    """Whether a subject is named by a mask file: neither a word nor numbers."""
    with contextlib.suppress(ValueError):
        return not [float(part) for part in spec.split(",")]
    return spec not in WORDS


def resolve_word(spec: str, *, has_alpha: bool) -> str:
    """What `auto` means for a picture, with an alpha channel or without; anything else as it is."""
    return spec if spec != "auto" else "alpha" if has_alpha else "salient"


def parse_numbers(spec: str, flag: str) -> list[float]:
    """The numbers of a point or a box; none for a word or a file. Raises InputError for other counts of numbers."""
    try:
        numbers = [float(part) for part in spec.split(",")]
    except ValueError:
        return []
    if len(numbers) not in (2, 4):
        raise InputError(f"{flag} {spec}: a point is x,y and a box x0,y0,x1,y1")
    return numbers


def require_inside(numbers: Sequence[float], size: Sequence[int], given: str) -> None:
    """Raises InputError, naming what was `given`, for a point or box outside the picture, or an empty box.

    `size` is the picture's (height, width) in pixels.
    """
    height, width = size
    inside = all(0 <= n <= (width, height)[i % 2] for i, n in enumerate(numbers))
    if not inside or (len(numbers) == 4 and not (numbers[0] < numbers[2] and numbers[1] < numbers[3])):
        raise InputError(f"{given}: outside the picture of {width} x {height} pixels, or an empty box")
