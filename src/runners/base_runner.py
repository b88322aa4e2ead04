"""What every runner shares: returns and statistics, logged once per evaluation or interval."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from components.episode_buffer import EpisodeBatch
from controllers.basic_controller import BasicMAC
from utils.logging import Logger


class BaseRunner:
    """Plays episodes with a controller and returns them as an `EpisodeBatch`.

    Test episode number i of an evaluation starts from seed `evaluation_seed` + i, in an environment of its own: every
    evaluation plays the same episodes, and neither training nor evaluation disturbs the other's random stream.
    """

    def __init__(self, args: SimpleNamespace, logger: Logger) -> None:
        self.args = args
        self.logger = logger
        self.batch_size = args.batch_size_run
        self.evaluation_seed = getattr(args, "evaluation_seed", 0)
        self.t = 0
        self.t_env = 0
        self.train_returns: list[Any] = []
        self.test_returns: list[Any] = []
        self.train_stats: dict[str, float] = {}
        self.test_stats: dict[str, float] = {}
        self.log_train_stats_t = -1000000  # log the first run
        self.episode_limit = 0

    def setup(self, scheme: dict[str, Any], groups: dict[str, int], preprocess: dict[str, Any], mac: BasicMAC) -> None:
        """Give the runner its controller and the scheme of the batches it returns."""
        self.new_batch = partial(
            EpisodeBatch, scheme, groups, max_seq_length=self.episode_limit + 1, preprocess=preprocess,
            device=self.args.device,
        )  # fmt: skip
        self.mac = mac

    def _finish(self, returns: list[Any], lengths: list[int], infos: list[dict[str, float]], test_mode: bool) -> None:
        """Add finished episodes to the statistics and log them where it is time."""
        all_returns = self.test_returns if test_mode else self.train_returns
        stats = self.test_stats if test_mode else self.train_stats
        for info, length in zip(infos, lengths, strict=True):
            for key, value in (info | {"n_episodes": 1, "ep_length": length}).items():
                stats[key] = stats.get(key, 0) + value
        all_returns.extend(returns)
        if test_mode:
            if len(all_returns) >= self.args.test_nepisode:
                self._log(all_returns, stats, "test_")
            return
        self.t_env += sum(lengths)
        if self.t_env - self.log_train_stats_t >= self.args.runner_log_interval:
            self._log(all_returns, stats, "")
            if hasattr(self.mac.action_selector, "epsilon"):
                self.logger.log_stat("epsilon", self.mac.action_selector.epsilon, self.t_env)
            self.log_train_stats_t = self.t_env

    def _log(self, returns: list[Any], stats: dict[str, float], prefix: str) -> None:
        values = np.array(returns)  # (episodes,) or (episodes, N)
        if self.args.common_reward:
            self._log_mean_std(f"{prefix}return", values)
        else:
            for i in range(self.args.n_agents):
                self._log_mean_std(f"{prefix}agent_{i}_return", values[:, i])
            self._log_mean_std(f"{prefix}total_return", values.sum(axis=-1))
        for key, value in stats.items():
            if key != "n_episodes":
                self.logger.log_stat(f"{prefix}{key}_mean", value / stats["n_episodes"], self.t_env)
        returns.clear()
        stats.clear()

    def _log_mean_std(self, key: str, values: np.ndarray) -> None:
        self.logger.log_stat(f"{key}_mean", values.mean(), self.t_env)
        self.logger.log_stat(f"{key}_std", values.std(), self.t_env)
