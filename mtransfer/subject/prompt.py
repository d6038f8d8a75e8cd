"""What names a subject: a word, a number, a point `x,y`, a box `x0,y0,x1,y1` in pixels, a mask file; several parted
by `;`. A number is stored as `salient@x,y`, the salient object that holds the point, so that its meaning stays."""

import re
from collections.abc import Sequence

from mtransfer.errors import InputError

WORDS = ("auto", "all", "alpha", "salient", "all-salient", "moving")
SALIENT_AT = re.compile(r"salient@(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)")


def specs_of(text: str) -> list[str]:
    """The subjects that `subject` or `clip_subject` names: `--subject a --subject b` is `a;b`."""
    return [spec.strip() for spec in text.split(";")]


def is_file(spec: str) -> bool:
    """Whether a subject is named by a mask file: neither a word nor numbers."""
    if _floats(spec):
        return False
    return spec not in WORDS and salient_point(spec) is None


def object_number(spec: str) -> int | None:
    """The number of a salient object that `spec` is, counted from 1; None for anything else."""
    return int(spec) if spec.isdecimal() and int(spec) > 0 else None


def salient_at(point: Sequence[float]) -> str:
    """The prompt for the salient object that holds a point (x, y) in pixels."""
    return f"salient@{point[0]:.0f},{point[1]:.0f}"


def salient_point(spec: str) -> tuple[float, float] | None:
    """The point (x, y) of `salient@x,y`; None for anything else."""
    found = SALIENT_AT.fullmatch(spec)
    return (float(found[1]), float(found[2])) if found else None


def resolve_word(spec: str, *, has_alpha: bool) -> str:
    """What `auto` means for a picture, with an alpha channel or without; anything else as it is."""
    return spec if spec != "auto" else "alpha" if has_alpha else "salient"


def parse_numbers(spec: str, flag: str) -> list[float]:
    """The numbers of a point or a box; none for a word, an object's number or a file.

    Raises InputError for other counts of numbers.
    """
    numbers = _floats(spec)
    if not numbers or object_number(spec) is not None:
        return []
    if len(numbers) not in (2, 4):
        raise InputError(f"{flag} {spec}: a point is x,y and a box x0,y0,x1,y1")
    return numbers


def _floats(spec: str) -> list[float]:
    try:
        return [float(part) for part in spec.split(",")]
    except ValueError:
        return []


def require_inside(numbers: Sequence[float], size: Sequence[int], given: str) -> None:
    """Raises InputError, naming what was `given`, for a point or box outside the picture, or an empty box.

    `size` is the picture's (height, width) in pixels.
    """
    height, width = size
    inside = all(0 <= n <= (width, height)[i % 2] for i, n in enumerate(numbers))
    if not inside or (len(numbers) == 4 and not (numbers[0] < numbers[2] and numbers[1] < numbers[3])):
        raise InputError(f"{given}: outside the picture of {width} x {height} pixels, or an empty box")
