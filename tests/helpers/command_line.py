"""The command inside this process, so that a table of cases does not import torch once a case."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from mtransfer.ui.cli.main import app


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The one line on stderr."""
        (line,) = self.err.splitlines()
        return line


def command(capsys: pytest.CaptureFixture[str], *words: str | Path | int | float) -> Ended:
    """Run `mtransfer *words` to its end."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        app([str(word) for word in words])
    written = capsys.readouterr()
    return Ended(int(end.value.code or 0), written.out, written.err)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path below `folder`, hidden ones too, with the bytes of the files."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}
