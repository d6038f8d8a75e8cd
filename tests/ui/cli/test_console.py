import contextlib
import json
import signal
import time

import pytest

from mtransfer.errors import InputError, ModelError
from mtransfer.ui.cli import console


def failing(error: BaseException):
    def job() -> None:
        raise error

    return job


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("--pair 1: needs two"), 2, "error: --pair 1: needs two"),
        (ModelError("no such model"), 1, "error: no such model"),
        (KeyboardInterrupt(), 130, "error: interrupted; nothing was written"),
        (ValueError("first\nsecond"), 1, "error: ValueError: first (MTRANSFER_DEBUG=1 shows more)"),
        (ZeroDivisionError(), 1, "error: ZeroDivisionError:  (MTRANSFER_DEBUG=1 shows more)"),
        (MemoryError("17 GiB"), 1, "error: MemoryError: 17 GiB (MTRANSFER_DEBUG=1 shows more)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_is_one_line_and_an_exit_code(error, code, line, capsys, monkeypatch) -> None:
    monkeypatch.delenv("MTRANSFER_DEBUG", raising=False)
    with pytest.raises(SystemExit) as end:
        console.run(failing(error))
    assert end.value.code == code
    assert end.value.__suppress_context__
    assert capsys.readouterr() == ("", f"{line}\n")


def test_success_ends_quietly(capsys) -> None:
    done = []
    console.run(lambda: done.append(1))
    assert done == [1]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [InputError("bad"), ValueError("bad"), KeyboardInterrupt()])
def test_debugging_shows_the_error_itself(error, monkeypatch) -> None:
    monkeypatch.setenv("MTRANSFER_DEBUG", "1")
    with pytest.raises(type(error)) as raised:
        console.run(failing(error))
    assert raised.value is error


def test_a_warning_is_one_line_on_stderr(capsys) -> None:
    console.warn("--prompt: has no effect")
    assert capsys.readouterr() == ("", "warning: --prompt: has no effect\n")


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_for_a_terminals_stderr_unless_quiet(quiet, terminal, capsys, monkeypatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")
    with console.progress(quiet=quiet) as report:
        report("sample", 1, 40, 3.14159)
        report("sample", 2, 40, None)
        report("measure", 0, 1, None)
    out, err = capsys.readouterr()
    assert out == ""
    assert (err != "") == (terminal and not quiet)


def test_the_bar_shows_stage_step_and_energy(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with console.progress(quiet=False) as report:
        report("sample", 7, 40, 3.14159)
    shown = capsys.readouterr().err
    assert all(part in shown for part in ("sample", "7/40", "energy 3.14"))


def test_results_are_lines_or_one_strict_object(capsys) -> None:
    figures = {"edited": "out/edited.png", "error": float("nan"), "psnr": [float("inf"), 2.5]}
    console.show(figures, as_json=False)
    assert capsys.readouterr().out.splitlines()[0] == "edited: out/edited.png"
    console.show(figures, as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line, parse_constant=pytest.fail)
    assert found == {"edited": "out/edited.png", "error": None, "psnr": [None, 2.5]}


def test_an_interrupt_that_is_swallowed_comes_again(monkeypatch, capsys) -> None:
    monkeypatch.setattr(console, "REPEAT_S", 0.2)

    def job() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        time.sleep(10)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as ended:
        console.run(job)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "error: interrupted; nothing was written\n"
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize(
    ("name", "shown"), [("a\nb", r"a\nb"), ("\x1b[2J", r"\x1b[2J"), ("\udcff", r"\udcff"), ("é 漢", "é 漢")]
)
def test_what_cannot_be_printed_is_escaped(name, shown, capsys) -> None:
    """A file's name may hold line breaks and a terminal's commands."""

    def job() -> None:
        raise InputError(f"{name}.png: broken")

    with pytest.raises(SystemExit):
        console.run(job)
    console.warn(f"{name}.png: odd")
    assert capsys.readouterr().err == f"error: {shown}.png: broken\nwarning: {shown}.png: odd\n"


def test_what_is_told_on_the_way_is_not_told_by_a_quiet_command(capsys) -> None:
    with console.progress(quiet=True):
        console.tell("frames: 0:5")
    assert capsys.readouterr().err == ""
    console.tell("frames: 0:5")
    assert capsys.readouterr().err == "frames: 0:5\n"
