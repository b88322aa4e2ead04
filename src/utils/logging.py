"""The logger of statistics: to the console, to Sacred and, where configured, to TensorBoard."""

from __future__ import annotations

import importlib.util
import logging
import sys
import textwrap
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import ConfigError
from utils.files import output_error
from utils.progress import clear_bars, on_terminal
from utils.redact import redacted

if TYPE_CHECKING:
    from sacred.run import Run

    from utils.weights_biases import WeightsAndBiases

# Their debug output would fill the console and, with MongoDB, the run's captured output.
QUIET_LIBRARIES = ("git", "pymongo", "matplotlib", "PIL", "h5py", "urllib3", "tensorboard")

COLUMNS = 100  # of a console line
GAP = "   "
Statistics = dict[str, list[tuple[int, float]]]


class Logger:
    """A collection of statistics that passes each value on. `stats[key]` is the list of (t, value) so far."""

    def __init__(self, console_logger: logging.Logger) -> None:
        self.console_logger = console_logger
        self.stats: Statistics = defaultdict(list)
        self.clock = "t_env"  # what counts the time
        self.note = ""  # what a reader of the printed values must know
        self.use_tb = False
        self.use_sacred = False
        self._writer: Any = None
        self._run: Run | None = None
        self.use_wandb = False
        self._wandb: WeightsAndBiases | None = None

    def setup_tb(self, directory_name: str) -> None:
        """Also write TensorBoard events. Raises ConfigError where TensorBoard is not installed."""
        check_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        try:
            self._writer = SummaryWriter(directory_name)
        except OSError as error:
            raise output_error(Path(directory_name), error) from error
        self.use_tb = True

    def setup_wandb(self, record: WeightsAndBiases) -> None:
        """Also write to Weights & Biases."""
        self._wandb = record
        self.use_wandb = True

    def setup_sacred(self, run: Run) -> None:
        """Also write to a Sacred run: its `info` (key and key_T) and its metrics."""
        self._run = run
        self.use_sacred = True

    def log_stat(self, key: str, value: float, t: int, to_sacred: bool = True) -> None:
        """Record one value at step `t`, as a Python float, because Sacred would pickle numpy scalars into its JSON."""
        value = float(value)
        self.stats[key].append((t, value))
        self._to_tb(lambda writer: writer.add_scalar(key, value, t))
        if self._wandb is not None:
            self._wandb.log(key, value, t)
        if self._run is not None and to_sacred:
            self._run.info.setdefault(f"{key}_T", []).append(t)
            self._run.info.setdefault(key, []).append(value)
            self._run.log_scalar(key, value, t)

    def replay(self, statistics: dict[str, Any]) -> None:
        """Log an earlier run's statistics again, so that a resumed run shows the whole curve."""
        for key, series in statistics.items():
            for t, value in series:
                self.log_stat(key, value, int(t))

    def last(self, key: str) -> float | None:
        """Newest value of a key, None where there is none."""
        return self.stats[key][-1][1] if self.stats.get(key) else None

    def print_recent_stats(self) -> None:
        """Print the newest value of every key to the console, without any averaging, and `note`.

        Episodes are shown where `clock` is environment steps.
        """
        t = max((series[-1][0] for series in self.stats.values()), default=0)
        episode = self.last("episode")
        counted = "" if episode is None or self.clock != "t_env" else f" | Episode: {int(episode):>8}"
        items = [(key, series[-1][1]) for key, series in sorted(self.stats.items()) if series and key != "episode"]
        width = max((len(key) for key, _ in items), default=0) + 1
        cells = [f"{key + ':':<{width}}{value:>12.4f}" for key, value in items]
        columns = max(1, (COLUMNS + len(GAP) - 2) // (width + 12 + len(GAP)))
        lines = [GAP.join(cells[start : start + columns]) for start in range(0, len(cells), columns)]
        notes = textwrap.wrap(self.note, COLUMNS - 2)
        body = "".join(f"\n  {line}" for line in [*lines, *notes])
        self.console_logger.info(f"Recent Stats (newest values) | {self.clock}: {t:>10}{counted}{body}")

    def finish(self, well: bool = True) -> None:
        """Close the TensorBoard writer and the run of Weights & Biases, which is told whether all went well."""
        self._to_tb(lambda writer: writer.close())
        if self._wandb is not None:
            self._wandb.finish(well)

    def _to_tb(self, action: Callable[[Any], object]) -> None:
        """Use the TensorBoard writer if there is one; a run does not fail for these files, a second copy of its record.

        The writer raises here what has failed in its thread.
        """
        if self._writer is None:
            return
        try:
            action(self._writer)
        except OSError as error:
            self.console_logger.warning(
                f"The TensorBoard files are incomplete from here on: {output_error(Path(self._writer.log_dir), error)}"
            )
            self._writer, self.use_tb = None, False


def check_tensorboard() -> None:
    """Raise ConfigError where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("use_tensorboard=True needs TensorBoard: pip install -c constraints.txt -e '.[tensorboard]'")


class ConsoleHandler(logging.StreamHandler[Any]):
    """A handler whose lines do not run into a progress bar.

    It drops lines for which there is no place, as where stderr is a file on a full disk.
    """

    def emit(self, record: logging.LogRecord) -> None:
        clear_bars()
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def quiet_threads(failed: threading.ExceptHookArgs) -> None:
    """A `threading.excepthook` without tracebacks for disks that refuse, of which those who wait for a thread speak."""
    if failed.exc_type is None or not issubclass(failed.exc_type, OSError):
        threading.__excepthook__(failed)


class _ConsoleFormatter(logging.Formatter):
    """A formatter whose lines hold no credentials and are at most `COLUMNS` wide, broken between words.

    A warning or an error stays one line where it does not go to a terminal, so that a search finds its sentence whole.
    A word that is longer than a line, such as a path, stays whole.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = str(redacted(super().format(record)))
        if record.levelno > logging.INFO and not on_terminal():
            return text
        return "\n".join(folded(line) for line in text.split("\n"))


def folded(line: str, width: int = COLUMNS) -> str:
    """A line broken between words, further lines indented, where it is wider than `width`."""
    if len(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False,
        replace_whitespace=False, drop_whitespace=True,
    )  # fmt: skip


def get_logger() -> logging.Logger:
    """The console logger, with time stamps; other libraries log only warnings and errors."""
    logger = logging.getLogger()
    logger.handlers = []
    handler = ConsoleHandler()
    handler.setFormatter(_ConsoleFormatter("[%(levelname)s %(asctime)s] %(name)s %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    return logger
