"""A training run's own episodes as a dataset: the "replay" kind (`replay_to`)."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np

from components.episode_buffer import EpisodeBatch
from datasets.dataset import NameTakenError
from datasets.names import dataset_path
from loops.collect import card_fields, exploration, flat_rows, join, write
from utils.errors import OutputError


class Recording:
    """Keeps every training episode in memory and writes them, in the order played, when training is over."""

    def __init__(self, args: SimpleNamespace) -> None:
        self.args = args
        self.parts: list[dict[str, np.ndarray]] = []

    def add(self, batch: EpisodeBatch) -> None:
        """Keep a rollout's episodes, whose `agent_rewards` are every agent's rewards."""
        self.parts.append(flat_rows(batch, batch.batch_size, reward="agent_rewards"))

    def write(self, runner: Any, log: logging.Logger) -> None:
        """Write what `runner` has played; where it had to be kept elsewhere, or is lost, the log says so.

        The training is complete then, and its result is not given up for that.
        """
        arrays, offsets = join(self.parts)
        behaviour = (
            f"every training episode of {self.args.name}, {runner.t_env} steps, {exploration(runner)} at the end"
        )
        fields = card_fields(self.args, runner.get_env_info(), behaviour, runner.team_reward)
        try:
            write(dataset_path(self.args.replay_to), arrays, offsets, fields, log, self.args.results)
        except (NameTakenError, OutputError) as error:
            log.error(f"replay_to={self.args.replay_to}: {error}")
