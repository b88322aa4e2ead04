"""Progress bar on a terminal, progress lines in a log file, and signals that end a run after the current step."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import IO, Any

from tqdm import tqdm

# Sacred captures the process's output streams when a run starts. The bar writes to a copy of the original stream, so
# that its redrawing does not fill the captured output, which Sacred filters at every heartbeat.
_TERMINAL: IO[str] | None = os.fdopen(os.dup(2), "w") if sys.stderr is not None and sys.stderr.isatty() else None


class Progress:
    """Updates per second, time left and the last score: a bar on a terminal, else a line per `line_seconds`."""

    def __init__(self, start: int, total: int, log: Any, unit: str = "update", line_seconds: float = 30.0) -> None:
        self.log, self.unit, self.line_seconds = log, unit, line_seconds
        self.start, self.t, self.total = start, start, total
        self.began = self.last_line = time.monotonic()
        self.score = ""
        self.bar = (
            tqdm(total=total, initial=start, file=_TERMINAL, unit=unit, mininterval=0.5, dynamic_ncols=True)
            if _TERMINAL is not None
            else None
        )

    def advance(self, t: int) -> None:
        """Show that update `t` is done."""
        if self.bar is not None:
            self.bar.update(t - self.t)
        self.t = t
        now = time.monotonic()
        if self.bar is None and now - self.last_line >= self.line_seconds:
            self.last_line = now
            rate = (t - self.start) / (now - self.began)
            left = (self.total - t) / rate
            self.log.info(f"{self.unit} {t}/{self.total} | {rate:.1f} {self.unit}s/s | {left:.0f} s left{self.score}")

    def show_score(self, score: str) -> None:
        """Show the newest score."""
        self.score = f" | {score}"
        if self.bar is not None:
            self.bar.set_postfix_str(score)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class StopSignals:
    """A context in which Ctrl-C and SIGTERM only set `received`; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
