"""Threads: the order and the errors of what they work out, and that no more is begun than is wanted."""

import threading

import pytest

from mtransfer.parallel import all_of, in_background, in_order, until


def test_what_is_begun_beforehand_is_there_when_asked_for() -> None:
    def fail() -> None:
        raise KeyError("lost")

    assert in_background(lambda: 7).result() == 7
    with pytest.raises(KeyError, match="lost"):
        in_background(fail).result()


def test_items_come_in_their_order_whichever_is_done_first() -> None:
    later = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert later.wait(10)
        elif item == 1:
            later.set()
        return item * item

    assert list(in_order(work, range(5), threads=2)) == [0, 1, 4, 9, 16]


def test_no_item_far_ahead_is_begun() -> None:
    begun = []
    found = in_order(begun.append, range(100), threads=2)
    for _ in range(3):
        next(found)
    found.close()
    assert 3 <= len(begun) <= 3 + 2 + 1


def test_what_an_item_raises_is_raised_in_its_place() -> None:
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        return 6 // (3 - item)

    found = in_order(work, range(100), threads=2)
    assert [next(found) for _ in range(3)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert len(begun) <= 7


def test_a_task_that_fails_ends_the_others() -> None:
    done = []

    def endless(stopped: threading.Event) -> None:
        for _ in until(stopped, iter(int, 1)):
            done.append("looked")

    def fail(stopped: threading.Event) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        all_of([fail, endless], threads=2)
    before = len(done)
    assert not threading.Event().wait(0.05)
    assert len(done) == before


def test_every_task_is_done() -> None:
    done = []
    all_of([lambda stopped, name=name: done.append(name) for name in "abc"], threads=2)
    assert sorted(done) == ["a", "b", "c"]
