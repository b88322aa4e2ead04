"""The machine's cores, and how many of them an update shares."""

import os

from utils.progress import FILE_VARIABLE

LIMIT = "OMP_NUM_THREADS"  # of the environment: what programs take for the most threads that they may start


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def update_threads(threads: int | str) -> int:
    """Threads of an update, or of robots that are moved together, for the value of the key `threads`.

    `auto` is 1 in a sweep, which fills the cores with runs, else all cores, at most OMP_NUM_THREADS where that is set.
    """
    if threads != "auto":
        return int(threads)
    if FILE_VARIABLE in os.environ:
        return 1
    limit = os.environ.get(LIMIT, "").partition(",")[0]  # OpenMP takes a list, one number for each level of nesting
    return min(cores(), int(limit)) if limit.isdecimal() and int(limit) > 0 else cores()
