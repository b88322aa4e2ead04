"""The logger of statistics: to the console, to Sacred and, where configured, to TensorBoard."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.errors import ConfigError

if TYPE_CHECKING:
    from sacred.run import Run

    from utils.weights_biases import WeightsAndBiases

# Their debug output would fill the console and, with MongoDB, the run's captured output.
QUIET_LIBRARIES = ("git", "pymongo", "matplotlib", "PIL", "h5py", "urllib3", "tensorboard")

Statistics = dict[str, list[tuple[int, float]]]


class Logger:
    """A collection of statistics that passes each value on. `stats[key]` is the list of (t, value) so far."""

    def __init__(self, console_logger: logging.Logger) -> None:
        self.console_logger = console_logger
        self.stats: Statistics = defaultdict(list)
        self.use_tb = False
        self.use_sacred = False
        self._writer: Any = None
        self._run: Run | None = None
        self.use_wandb = False
        self._wandb: WeightsAndBiases | None = None

    def setup_tb(self, directory_name: str) -> None:
        """Also write TensorBoard events. Raises ConfigError where TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "use_tensorboard=True needs TensorBoard: pip install -c constraints.txt -e '.[tensorboard]'"
            ) from error
        self._writer = SummaryWriter(directory_name)
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
        if self._writer is not None:
            self._writer.add_scalar(key, value, t)
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
        """Print the mean of the last five values of every key to the console."""
        t = max((series[-1][0] for series in self.stats.values()), default=0)
        episode = self.last("episode") or 0
        lines = [f"Recent Stats | t_env: {t:>10} | Episode: {int(episode):>8}"]
        items = []
        for key, series in sorted(self.stats.items()):
            if key != "episode":
                window = 1 if key == "epsilon" else 5
                items.append(f"{key + ':':<25}{np.mean([value for _, value in series[-window:]]):>10.4f}")
        lines += ["   ".join(items[start : start + 4]) for start in range(0, len(items), 4)]
        self.console_logger.info("\n".join(lines))

    def finish(self) -> None:
        """Close the TensorBoard writer and the run of Weights & Biases."""
        if self._writer is not None:
            self._writer.close()
        if self._wandb is not None:
            self._wandb.finish()


def get_logger() -> logging.Logger:
    """The console logger, with time stamps; other libraries log only warnings and errors."""
    logger = logging.getLogger()
    logger.handlers = []
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("[%(levelname)s %(asctime)s] %(name)s %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    return logger
