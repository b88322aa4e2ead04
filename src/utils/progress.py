"""Progress bar on a terminal, progress lines in a log file."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

# Sacred captures the process's output streams when a run starts. The bar writes to a copy of the original stream, so
# that its redrawing does not fill the captured output, which Sacred filters at every heartbeat.
_TERMINAL: IO[str] | None = os.fdopen(os.dup(2), "w") if sys.stderr is not None and sys.stderr.isatty() else None

QUIET_SECONDS = 0.3  # without a bar after a log line: Sacred passes lines on through another process
FILE_VARIABLE = "EPYMARL_SWEEP"  # of the environment: where a run in a sweep leaves its progress for others to read
FILE_SECONDS = 1.0
_SHOWN: list[Progress] = []


def on_terminal() -> bool:
    """Whether a person reads stderr."""
    return _TERMINAL is not None


def clear_bars() -> None:
    """Take the bars off the terminal, so that a line can be written there; they come back below it."""
    for progress in _SHOWN:
        progress.make_way()


class Progress:
    """Updates per second, time left and the last score: a bar on a terminal, else a line per `line_seconds`."""

    def __init__(self, start: int, total: int, log: Any, unit: str = "update", line_seconds: float = 30.0) -> None:
        self.log, self.unit, self.line_seconds = log, unit, line_seconds
        self.start, self.t, self.total = start, start, total
        self.began = self.last_line = time.monotonic()
        self.score = ""
        self.quiet_until = self.last_file = 0.0
        self.file = os.environ.get(FILE_VARIABLE)
        self.bar = (
            tqdm(total=total, initial=start, file=_TERMINAL, unit=unit, mininterval=0.5, dynamic_ncols=True)
            if _TERMINAL is not None
            else None
        )
        if self.bar is not None:
            _SHOWN.append(self)

    def advance(self, t: int) -> None:
        """Show that update `t` is done."""
        steps, self.t = t - self.t, t
        if self.bar is not None and time.monotonic() < self.quiet_until:
            self.bar.n += steps
        else:
            self._draw(lambda bar: bar.update(steps))
        now = time.monotonic()
        if self.file is not None and now - self.last_file >= FILE_SECONDS:
            self.last_file = now
            self._tell(Path(self.file), now - self.began)
        if self.bar is None and now - self.last_line >= self.line_seconds:
            self.last_line = now
            rate = (t - self.start) / (now - self.began)
            left = (self.total - t) / rate
            self.log.info(f"{self.unit} {t}/{self.total} | {rate:.1f} {self.unit}s/s | {left:.0f} s left{self.score}")

    def show_score(self, score: str) -> None:
        """Show the newest score."""
        self.score = f" | {score}"
        self._draw(lambda bar: bar.set_postfix_str(score, refresh=time.monotonic() >= self.quiet_until))

    def make_way(self) -> None:
        """Clear the bar; it is drawn again a moment later."""
        self._draw(lambda bar: bar.clear())
        self.quiet_until = time.monotonic() + QUIET_SECONDS

    def close(self) -> None:
        if self in _SHOWN:
            _SHOWN.remove(self)
        time.sleep(max(0.0, self.quiet_until - time.monotonic()) if self.bar is not None else 0.0)
        self._draw(lambda bar: bar.close())

    def _tell(self, file: Path, seconds: float) -> None:
        """Replace the file of progress, at once; where it cannot be written, nobody learns of the progress."""
        rate = (self.t - self.start) / max(seconds, 1e-9)
        content = {"t": self.t, "total": self.total, "rate": rate, "score": self.score.removeprefix(" | ")}
        with suppress(OSError):
            temporary = file.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps(content), encoding="utf-8")
            os.replace(temporary, file)

    def _draw(self, action: Callable[[Any], object]) -> None:
        """Use the bar if there is one, no longer where its terminal is gone."""
        if self.bar is None:
            return
        try:
            action(self.bar)
        except OSError:
            self.bar = None
