"""How long a program has waited for something that is not this machine: a busy machine does not lengthen it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

SAMPLE_S = 0.05
Times = dict[Path, float]


def idle_until_end(process: subprocess.Popen[str], limit: float) -> float:
    """Wait for a process's end; returns the seconds in which nothing of it ran, queued for a processor or a disk.

    Its threads and its child processes count. Fails where it has not ended after `limit` seconds by the clock.
    """
    begin = then = time.monotonic()
    before, idle = _times(process.pid)[0], 0.0
    while process.poll() is None:
        assert time.monotonic() < begin + limit, f"the process has not ended after {limit} s"
        time.sleep(SAMPLE_S)
        after, at_work = _times(process.pid)
        now = time.monotonic()
        # Threads that work side by side may have been busy for longer than the sample took.
        busy = sum(seconds - before.get(thread, 0.0) for thread, seconds in after.items())
        idle += 0.0 if at_work else max(0.0, now - then - busy)
        before, then = after, now
    return idle


def _times(pid: int) -> tuple[Times, bool]:
    """For how long each thread has had a processor or queued for one; and whether one runs, queues or reads a disk now.

    The system counts the time in a queue only when the queue has ended.
    """
    times: Times = {}
    at_work = False
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        try:
            numbers = (thread / "schedstat").read_text().split()
            state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
            children = (thread / "children").read_text().split()
        except OSError:  # it has ended
            continue
        times[thread] = (int(numbers[0]) + int(numbers[1])) / 1e9
        at_work |= state in ("R", "D")
        for child in children:
            theirs, theirs_at_work = _times(int(child))
            times |= theirs
            at_work |= theirs_at_work
    return times, at_work
