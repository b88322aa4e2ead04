"""A training run's own episodes as a dataset: the "replay" kind (`replay_to`)."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np

from components.episode_buffer import EpisodeBatch
from components.scheme import Scheme
from loops.collect import card_fields, check_destination, exploration, flat_rows, join, write
from utils.errors import ConfigError


class Recording:
    """Keeps every training episode in memory and writes them, in the order played, when training is over.

    Raises ConfigError where the destination exists or cannot be written, and for runners that do not report every
    agent's reward, which datasets keep.
    """

    def __init__(self, args: SimpleNamespace) -> None:
        if args.runner not in ("vector", "parallel"):
            raise ConfigError(f"replay_to={args.replay_to}: recording needs runner=vector or runner=parallel")
        if args.checkpoint_path:
            raise ConfigError("replay_to records a training run from its first step: leave out checkpoint_path")
        self.args = args
        self.path = check_destination(args.replay_to, "replay_to")
        self.parts: list[dict[str, np.ndarray]] = []

    def extend(self, scheme: Scheme) -> Scheme:
        """The runner's scheme with every agent's reward, `agent_rewards`, beside the one learned from."""
        return scheme | {"agent_rewards": {"vshape": (self.args.n_agents,)}}

    def add(self, batch: EpisodeBatch) -> None:
        """Keep a rollout's episodes."""
        self.parts.append(flat_rows(batch, batch.batch_size, reward="agent_rewards"))

    def write(self, runner: Any, log: logging.Logger) -> None:
        """Write what `runner` has played."""
        arrays, offsets = join(self.parts)
        behaviour = (
            f"every training episode of {self.args.name}, {runner.t_env} steps, {exploration(runner)} at the end"
        )
        fields = card_fields(self.args, runner.get_env_info(), behaviour)
        write(self.path, arrays, offsets, fields, log)
