"""What is said on the way: to stderr, or to who listens."""

import threading

from mtransfer.log import lines_to, say, silence, tell, warn


def test_lines_go_to_the_listener_and_not_to_stderr(capsys) -> None:
    heard: list[str] = []
    with lines_to(heard.append):
        say("chosen")
        warn("not as\nthought")
        tell("found")
        with silence():
            tell("unheard")
    say("after")
    assert heard == ["chosen", "warning: not as\\nthought", "found"]
    assert capsys.readouterr() == ("", "after\n")


def test_another_threads_lines_are_not_heard(capsys) -> None:
    heard: list[str] = []
    with lines_to(heard.append):
        other = threading.Thread(target=say, args=("elsewhere",))
        other.start()
        other.join()
    assert heard == []
    assert capsys.readouterr().err == "elsewhere\n"
