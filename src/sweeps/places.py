"""Where a sweep keeps what belongs to one run: its lock, its printed lines and its progress, below results/sweeps."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAST_LINES = 12
_MOST_READ = 1 << 16  # bytes at the end of what a run printed


@dataclass(frozen=True)
class Places:
    """The files of one run. identity: the run's, by which they are named."""

    results: Path
    identity: str

    @property
    def lock(self) -> Path:
        return self.results / "sweeps" / "locks" / f"{self.identity}.lock"

    @property
    def output(self) -> Path:
        return self.results / "sweeps" / "output" / f"{self.identity}.txt"

    @property
    def progress(self) -> Path:
        return self.results / "sweeps" / "progress" / f"{self.identity}.json"

    def make(self) -> None:
        """Make the folders. Raises OSError where they cannot be made."""
        for path in (self.lock, self.output, self.progress):
            path.parent.mkdir(parents=True, exist_ok=True)

    def take(self) -> int | None:
        """Lock the run for this process and those that it forks; None where another process has it.

        The lock goes with the last process that holds it, however that ends. Raises OSError where there are no locks.
        """
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def taken(self) -> bool:
        """Whether some process has locked the run at this moment."""
        if not self.lock.exists():
            return False
        descriptor = self.take()
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is None

    def last_lines(self) -> list[str]:
        """The last lines that the run printed, without those that are empty."""
        try:
            with open(self.output, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_READ))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [line.rstrip() for line in text.splitlines() if line.strip()][-LAST_LINES:]

    def read_progress(self) -> dict[str, Any]:
        """What the run last told: `t`, `total`, `rate` a second, `score`; empty before it told anything."""
        try:
            found = json.loads(self.progress.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        known = isinstance(found, dict) and all(
            isinstance(found.get(key), int | float) for key in ("t", "total", "rate")
        )
        return found if known else {}
