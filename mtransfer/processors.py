"""The processors that are free to this process, and how the parallel libraries are to use them.

It must come before torch is loaded: its parallel runtime (OpenMP) reads the environment once.
"""

import os
from pathlib import Path

CGROUP, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def free_processors() -> int:
    """How many this process may keep busy: what it is bound to, and no more than a container's quota."""
    quota = _quota()
    return _bound_to() if quota is None else max(1, min(_bound_to(), int(quota)))


def _bound_to() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota() -> float | None:
    """The tightest share of processor time, in processors, of this process's control groups; None without one."""
    try:
        lines = [line.split(":", 2) for line in MEMBERSHIP.read_text().splitlines()]
    except OSError:  # no Linux
        return None
    groups = [CGROUP / name.lstrip("/") for number, _, name in lines if number == "0"]
    found = [
        _limit(each) for group in groups or [CGROUP] for each in (group, *group.parents) if each.is_relative_to(CGROUP)
    ]
    return min((each for each in found if each is not None), default=None)


def _limit(group: Path) -> float | None:
    try:
        allowed, period = (group / "cpu.max").read_text().split()
        return None if allowed == "max" else int(allowed) / int(period)
    except (OSError, ValueError):
        return None


def settle_threads() -> None:
    """Let waiting threads sleep, and be no more than a quota has room for; what the user has set stays.

    By default they spin while they wait, which beside other work takes the processors from those that work.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if (free := free_processors()) < _bound_to():
        os.environ.setdefault("OMP_NUM_THREADS", str(free))
