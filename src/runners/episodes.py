"""What a runner's episodes came to, and the keys under which that is logged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.logging import Logger


@dataclass(frozen=True, eq=False)
class Episodes:
    """E finished episodes.

    returns: (E,) where agents share a reward, (E, N) where each has its own. lengths: (E,), in steps. infos: for each
    number that the environment reports at an episode's end, its mean over the episodes.
    """

    returns: np.ndarray
    lengths: np.ndarray
    infos: dict[str, float]

    def log(self, logger: Logger, prefix: str, t: int) -> None:
        """Log means and standard deviations over the episodes at step `t`, under stock's keys after `prefix`."""
        if self.returns.ndim == 1:
            _log_mean_std(logger, f"{prefix}return", self.returns, t)
        else:
            for i, own in enumerate(self.returns.T):
                _log_mean_std(logger, f"{prefix}agent_{i}_return", own, t)
            _log_mean_std(logger, f"{prefix}total_return", self.returns.sum(axis=-1), t)
        for key, value in (self.infos | {"ep_length": self.lengths.mean()}).items():
            logger.log_stat(f"{prefix}{key}_mean", value, t)


class EpisodeStore:
    """Collects finished episodes until they are taken."""

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return len(self._lengths)

    def clear(self) -> None:
        """Forget the episodes held."""
        self._returns: list[Any] = []
        self._lengths: list[int] = []
        self._sums: dict[str, float] = {}

    def add(self, returns: list[Any], lengths: list[int], infos: list[dict[str, float]]) -> None:
        """Hold more episodes; what one of them does not report counts as 0 in the means."""
        self._returns.extend(returns)
        self._lengths.extend(lengths)
        for info in infos:
            for key, value in info.items():
                self._sums[key] = self._sums.get(key, 0) + value

    def take(self) -> Episodes:
        """The episodes held, at least one; none are held afterwards."""
        means = {key: value / len(self) for key, value in self._sums.items()}
        episodes = Episodes(np.array(self._returns), np.array(self._lengths), means)
        self.clear()
        return episodes


def _log_mean_std(logger: Logger, key: str, values: np.ndarray, t: int) -> None:
    logger.log_stat(f"{key}_mean", values.mean(), t)
    logger.log_stat(f"{key}_std", values.std(), t)
