"""What names a subject: a word, a number, a point `x,y`, a box `x0,y0,x1,y1` in pixels, a mask file; several parted
by `;` (`\\;` in a file's name). A number is stored as `salient@x,y`, the salient object that holds the point, so that
its meaning stays."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from mtransfer.errors import InputError

SUBJECT_FIELDS = ("subject", "clip_subject")  # of a recipe: a mask file, or words; of several each
WORDS = ("auto", "all", "alpha", "salient", "all-salient", "moving")
SALIENT_AT = re.compile(r"salient@(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)")

Kind = Literal["word", "number", "salient_at", "point", "box", "file", "malformed"]
KINDS_BY_COUNT: dict[int, Kind] = {2: "point", 4: "box"}


@dataclass(frozen=True)
class SubjectPrompt:
    """One subject as it is named in `text`.

    `numbers`: of a point, a box or `salient@x,y` pixels; of a number itself, counted from 1. Numbers that are neither
    are malformed; what holds no numbers and is no word is a mask file.
    """

    text: str
    kind: Kind
    numbers: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """What one subject's text names."""
        text = text.strip()
        if text in WORDS:
            return cls(text, "word")
        if found := SALIENT_AT.fullmatch(text):
            return cls(text, "salient_at", (float(found[1]), float(found[2])))
        if text.isdecimal() and int(text) > 0:
            return cls(text, "number", (float(text),))
        try:
            numbers = tuple(float(part) for part in text.split(","))
        except ValueError:
            return cls(text, "file")
        return cls(text, KINDS_BY_COUNT.get(len(numbers), "malformed"), numbers)

    @classmethod
    def at_salient(cls, point: Sequence[float]) -> Self:
        """The salient object that holds a point (x, y) in pixels."""
        return cls.parse(f"salient@{point[0]:.0f},{point[1]:.0f}")

    @property
    def path(self) -> Path:
        """The mask file, with its label where one is named."""
        return Path(self.text)

    @property
    def number(self) -> int | None:
        """The number of a salient object, counted from 1."""
        return int(self.numbers[0]) if self.kind == "number" else None

    def resolved(self, *, has_alpha: bool) -> Self:
        """What `auto` means for a picture, with an alpha channel or without; anything else as it is."""
        return self if self.text != "auto" else type(self)("alpha" if has_alpha else "salient", "word")

    def require_inside(self, size: Sequence[int], flag: str) -> None:
        """Raises InputError, naming the option, for malformed numbers and for a point or box outside the picture or
        empty. `size` is the picture's (height, width) in pixels."""
        if self.kind == "malformed":
            raise InputError(f"{flag} {self.text}: a point is x,y and a box x0,y0,x1,y1")
        if self.kind not in ("point", "box", "salient_at"):
            return
        (height, width), numbers = size, self.numbers
        inside = all(0 <= n <= (width, height)[i % 2] for i, n in enumerate(numbers))
        if not inside or (self.kind == "box" and not (numbers[0] < numbers[2] and numbers[1] < numbers[3])):
            raise InputError(f"{flag} {self.text}: outside the picture of {width} x {height} pixels, or an empty box")


def parse_prompts(text: str) -> list[SubjectPrompt]:
    """The subjects that `subject` or `clip_subject` names: `--subject a --subject b` is `a;b`."""
    return [SubjectPrompt.parse(each) for each in split_prompts(text)]


def split_prompts(text: str) -> list[str]:
    """The text of each subject; of one alone where a file has all of it for its name."""
    if ";" in text and Path(text).is_file():
        return [text]
    return [each.strip().replace("\\;", ";") for each in re.split(r"(?<!\\);", text)]


def joined_options(texts: Sequence[str]) -> str:
    """One text of an option that was given once, naming one subject or several, or again and again."""
    return texts[0] if len(texts) == 1 else join_prompts(each for text in texts for each in split_prompts(text))


def join_prompts(texts: Iterable[str]) -> str:
    """The text that names several subjects, each by one of `texts`."""
    return ";".join(text.replace(";", "\\;") for text in texts)
