"""What a runner's episodes came to, and the keys under which that is logged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.logging import Logger

_OURS = {"return", "total_return", "return_per_agent", "ep_length"}  # names that runs log, whoever is paid


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
        """Log means and standard deviations over the episodes at step `t`, under stock's keys after `prefix`.

        What the environment reports under a name of ours, such as `return`, is logged as `env_return`.
        """
        returns = {"return": self.returns}
        if self.returns.ndim > 1:
            returns = {f"agent_{i}_return": own for i, own in enumerate(self.returns.T)}
            returns["total_return"] = self.returns.sum(axis=-1)
        for key, values in returns.items():
            logger.log_stat(f"{prefix}{key}_mean", values.mean(), t)
            logger.log_stat(f"{prefix}{key}_std", values.std(), t)
        taken = _OURS | returns.keys()
        for key, value in self.infos.items():
            logger.log_stat(f"{prefix}{f'env_{key}' if key in taken else key}_mean", value, t)
        logger.log_stat(f"{prefix}ep_length_mean", self.lengths.mean(), t)


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
