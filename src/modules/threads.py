"""Threads among which the pieces of one update are shared, on a CPU.

A process has one number of them, 1 at first. Which thread does a piece must not change what comes out: pieces write to
places of their own, and sums over pieces are added in the pieces' order.
"""

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch as th

Work = Callable[[Iterator[int]], None]
_M_ARENA_MAX = -8  # of glibc's mallopt


class _Place(threading.local):
    """Whether this thread is at work in a `spread`, whose pieces are not shared once more."""

    busy = False


class _Threads:
    """The number of threads, and those beside the calling one, which start when they are first needed."""

    def __init__(self) -> None:
        self.number = 1
        self._pool: ThreadPoolExecutor | None = None
        self._owner = (0, 0)  # process and number that the pool is for

    def pool(self) -> ThreadPoolExecutor:
        """The other threads; new ones in a process that was forked, for threads stay behind."""
        owner = os.getpid(), self.number
        if self._pool is None or self._owner != owner:
            if self._pool is not None and self._owner[0] == owner[0]:
                self._pool.shutdown()
            _share_freed_memory()
            self._pool = ThreadPoolExecutor(self.number - 1, "update", initializer=th.set_num_threads, initargs=(1,))
            self._owner = owner
        return self._pool


_place, _threads = _Place(), _Threads()


def use_threads(number: int) -> None:
    """Share updates of this process among `number` threads from now on."""
    _threads.number = number


def number_of_threads() -> int:
    """Among how many threads `spread` shares its pieces here; 1: the calling one does all."""
    return 1 if _place.busy else _threads.number


def enough_for_all(n_pieces: int) -> bool:
    """Whether several threads are there and each would have a piece."""
    return 1 < number_of_threads() <= n_pieces


def spread(work: Work, n_pieces: int) -> None:
    """Have every piece 0 .. n_pieces - 1 done once, by the calling thread and others at the same time.

    work: is called once in each thread, with an iterator over the pieces that are left for it to do; gradients are
    recorded there as in the calling thread. Returns when all is done. Raises what `work` raised first; no piece is
    begun after that.
    """
    number = min(number_of_threads(), n_pieces)
    pieces = iter(range(n_pieces))  # CPython gives each number to one thread only
    if number <= 1:
        work(pieces)
        return
    pool, recorded = _threads.pool(), th.is_grad_enabled()
    others: list[Future[None]] = [pool.submit(_part, work, pieces, recorded) for _ in range(number - 1)]
    try:
        _part(work, pieces, recorded)
    finally:
        wait(others)
    for other in others:
        other.result()


def _part(work: Work, pieces: Iterator[int], recorded: bool) -> None:
    """One thread's part of the work."""
    _place.busy = True
    try:
        with th.set_grad_enabled(recorded):
            work(pieces)
    except BaseException:
        for _ in pieces:  # nobody begins another one
            pass
        raise
    finally:
        _place.busy = False


def _share_freed_memory() -> None:
    """Let glibc serve all threads from one arena, whose freed memory it keeps (`learners.optimisation`).

    It gives each thread an arena of its own otherwise, and those give large blocks back to the kernel.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)
