"""What a sweep shows: one table that is redrawn on a terminal, plain lines elsewhere; at most 100 columns."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from typing import IO

from sweeps.standing import RUNNING, WAITING, Standing
from sweeps.worker import DONE, ELSEWHERE, FAILED, STOPPED
from utils.errors import OutputError, cause, printable
from utils.printing import counted, discard

WIDTH = 100
REDRAW_SECONDS, LINE_SECONDS = 1.0, 60.0
ORDER = (RUNNING, ELSEWHERE, FAILED, STOPPED)  # of the live table; what waits or is done is only counted
# Widths of state, progress, score and time left; narrow terminals have no room for counts of steps.
_COLUMNS, _NARROW = (9, 20, 26, 9), (9, 6, 26, 9)
_ENOUGH = 94  # columns of a terminal that has room


class View:
    """The sweep as it goes on. stream: where it is shown; when that cannot be written any more, nothing is.

    refused: the error for a stream that cannot be written; None while it can, and where its reader has gone.
    """

    def __init__(self, stream: IO[str], workers: int) -> None:
        self.stream, self.workers = stream, workers
        self.live = stream.isatty()
        self.refused: OutputError | None = None
        self.began = time.monotonic()
        self._drawn = 0  # lines of the table on the terminal
        self._last = 0.0
        self._whats: dict[str, str] = {}

    def begin(self, standings: Sequence[Standing]) -> None:
        """Say what there is to do."""
        done = sum(standing.what == DONE for standing in standings)
        self._whats = {standing.cell.identity: standing.what for standing in standings}
        known = f", {done} of them done already" if done else ""
        self._print([f"{counted(len(standings), 'run')}{known}; at most {self.workers} at once"])

    def show(self, standings: Sequence[Standing]) -> None:
        """Show how far the sweep is, if it is time for that."""
        changed = [each for each in standings if self._whats[each.cell.identity] != each.what]
        events, started = [self._event(each) for each in changed], [each for each in changed if each.what == RUNNING]
        self._whats |= {each.cell.identity: each.what for each in standings}
        now = time.monotonic()
        if not self.live:
            if now - self._last >= LINE_SECONDS and any(each.what == RUNNING for each in standings):
                self._last = now
                events.append(self._summary(standings))
            self._print([event for event in events if event])
            return
        if notices := [f"{each.cell.name}: {each.notice}" for each in started if each.notice]:
            self._redraw([])
            self._print(notices)
        if events or now - self._last >= REDRAW_SECONDS:
            self._last = now
            self._redraw(self._lines(standings))

    def end(self, standings: Sequence[Standing]) -> None:
        """Take the live table away and print the whole one, with what failing runs printed last."""
        self._redraw([])
        self._print(["", *final_table(standings)])
        for standing in standings:
            if standing.what == FAILED:
                lines = [f"  | {printable(line)}" for line in standing.lines]
                self._print(["", f"failed: {standing.cell.name} ({standing.why}); it last printed:", *lines])
                self._print([f"  all of it: {standing.places.output}"])

    def _event(self, standing: Standing) -> str:
        """A line on a run that is now something else; empty where that is of no interest."""
        said = {RUNNING: standing.notice or "begun", DONE: "done", ELSEWHERE: "is run by another process",
                FAILED: "FAILED", STOPPED: "stopped"}.get(standing.what)  # fmt: skip
        if said is None:
            return ""
        more = {DONE: standing.score, FAILED: standing.why, STOPPED: standing.why}.get(standing.what, "")
        return f"{standing.cell.name}: {said}{', ' if more else ''}{more}"

    def _lines(self, standings: Sequence[Standing]) -> list[str]:
        size = shutil.get_terminal_size((WIDTH, 24))
        width = min(WIDTH, size.columns - 1)
        shown = sorted((each for each in standings if each.what in ORDER), key=lambda each: ORDER.index(each.what))
        room = max(1, size.lines - 4)
        lines = [
            self._summary(standings),
            row(("run", "state", "done" if width < _ENOUGH else "progress", "score", "time left"), width),
        ]
        lines += [live_row(standing, width) for standing in shown[:room]]
        if len(shown) > room:
            lines.append(f"... and {len(shown) - room} more")
        return [line[:width] for line in lines]

    def _summary(self, standings: Sequence[Standing]) -> str:
        counts = Counter(standing.what for standing in standings)
        kinds = (DONE, RUNNING, WAITING, ELSEWHERE, STOPPED, FAILED)
        told = ", ".join(f"{counts[what]} {what}" for what in kinds if counts[what])
        left = self.seconds_left(standings)
        return f"{told} of {len(standings)}" + ("" if left is None else f"; about {duration(left)} left")

    def seconds_left(self, standings: Sequence[Standing]) -> float | None:
        """Time until all is done, from the speed of the runs so far; None while nothing is known of it."""
        told = ((each, found) for each in standings if (found := each.progress()).get("rate"))
        rates = [each.mates * found["rate"] / found["total"] for each, found in told]
        lengths = [each.seconds / each.mates for each in standings if each.what == DONE and not each.before]
        one = sum(lengths) / len(lengths) if lengths else len(rates) / sum(rates) if rates else None
        if one is None:
            return None
        running = [each for each in standings if each.what == RUNNING]
        waiting = sum(each.what in (WAITING, ELSEWHERE) for each in standings)
        rest = sum(seconds / each.mates if (seconds := left_of(each)) is not None else one for each in running)
        return (rest + one * waiting) / max(1, min(self.workers, len(running) + waiting))

    def _redraw(self, lines: Sequence[str]) -> None:
        if not self.live:
            return
        back = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
        self._write(back + "".join(f"{line}\n" for line in lines))
        self._drawn = len(lines)

    def _print(self, lines: Sequence[str]) -> None:
        self._write("".join(f"{line}\n" for line in lines))

    def _write(self, text: str) -> None:
        """Write and flush. After the first refusal the null device stands behind the stream: the runs go on."""
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.refused = OutputError(
                    f"standard output cannot be written ({cause(error)}); the runs went on, and `search.py status` "
                    "with the same words prints their table"
                )
            discard(self.stream)


def final_table(standings: Sequence[Standing]) -> list[str]:
    """A row per run, in the order of the grid; the same however often the sweep was broken off."""
    counts = Counter(standing.what for standing in standings)
    rows = [(each.cell.name, each.what, each.score or each.why) for each in standings]
    widest = min(58, max(len(name) for name, _, _ in rows))
    lines = [f"{'run':<{widest}}  {'state':<9}  score"]
    for name, what, last in rows:
        lines += [f"{printable(part):<{widest}}" for part in _parts(name, widest)[:-1]]
        lines.append(f"{_parts(name, widest)[-1]:<{widest}}  {what:<9}  {last}".rstrip()[:WIDTH])
    return [*lines, ", ".join(f"{number} {what}" for what, number in counts.items()) + f" of {len(rows)}"]


def live_row(standing: Standing, width: int) -> str:
    """One run of the live table."""
    found = standing.progress()
    counts = f"{found['t']}/{found['total']} " if found and width >= _ENOUGH else ""
    progress = f"{counts}{100 * found['t'] // max(1, found['total'])} %" if found else ""
    left = left_of(standing)
    score = str(found.get("score", "")) if found else standing.score or standing.why
    return row((standing.cell.name, standing.what, progress, score, "" if left is None else duration(left)), width)


def row(cells: Sequence[str], width: int) -> str:
    """Cells in columns of `width` characters in all; what is too long is cut, of names the middle."""
    name, *others = (printable(cell) for cell in cells)
    columns = _COLUMNS if width >= _ENOUGH else _NARROW
    room = max(20, width - sum(columns) - 2 * len(columns))
    if len(name) > room:  # the seed is at the end
        name = f"{name[: room - 13]}...{name[-10:]}"
    cut = (f"{cell[:size]:<{size}}" for cell, size in zip(others, columns, strict=True))
    return "  ".join([f"{name:<{room}}", *cut]).rstrip()


def left_of(standing: Standing) -> float | None:
    """Seconds until a running run ends, None while it has not told."""
    found = standing.progress()
    return (found["total"] - found["t"]) / found["rate"] if found.get("rate") else None


def duration(seconds: float) -> str:
    """A time for people: `40 s`, `12 min`, `3 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _parts(name: str, width: int) -> list[str]:
    return [name[at : at + width] for at in range(0, len(name), width)]
