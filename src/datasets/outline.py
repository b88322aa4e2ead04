"""What a dataset says of itself without its rows: enough to see whether a run fits it, in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.card_check import check_card
from datasets.hdf5 import open_container
from datasets.stored import declared
from datasets.validate import check_arrays
from utils.errors import DatasetError


@dataclass(frozen=True)
class Outline:
    """A dataset's card and sizes. has_masks: whether some actions are unavailable, such as padded dimensions."""

    card: dict[str, Any]
    n_agents: int
    n_episodes: int
    max_length: int
    has_masks: bool

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """No rows."""
        return {}

    def env_info(self) -> dict[str, Any]:
        """As `OfflineDataset.env_info`."""
        return env_info_of(self.card, self.n_agents, self.max_length)


def read_outline(path: Path) -> Outline:
    """Read a dataset's card and its episodes' lengths; the checksum and the rows are left to training.

    Raises DatasetError for a file that is missing, truncated, or no dataset.
    """
    with open_container(path) as (entries, card):
        try:
            check_arrays(declared(entries))
            check_card(card)
            offsets = entries["episode_offsets"][...]  # (E + 1,)
            longest = int(np.diff(offsets).max(initial=2)) - 1
            agents = int(declared(entries)["obs"].shape[1])
            return Outline(card, agents, len(offsets) - 1, longest, "avail_actions" in entries)
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from error


def env_info_of(card: Mapping[str, Any], n_agents: int, max_length: int) -> dict[str, Any]:
    """The part of `MultiAgentEnv.get_env_info` that a dataset card tells: enough to train without a simulator."""
    info = {
        "state_shape": card["shapes"]["state"],
        "obs_shape": card["shapes"]["obs"],
        "n_actions": int(card["n_actions"]),
        "n_agents": n_agents,
        "episode_limit": max_length,
        "action_space": card["action_space"],
    }
    if info["action_space"] == "continuous":
        bounds = {key: card[key] for key in ("action_low", "action_high")}
        info |= {"action_dim": info["n_actions"], **bounds}
    return info
