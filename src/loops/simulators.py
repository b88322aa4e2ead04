"""Which simulator's numbers a policy, a dataset and a run are of."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.episode_buffer import EpisodeBatch
from datasets.card import prey_of
from utils.description import find_description, plain_values, read_description
from utils.errors import CheckpointError, EnvError, printable
from utils.printing import counted

MOST_UNSTABLE = 100  # episodes in a row


def simulator_of(env_info: Mapping[str, Any]) -> dict[str, Any]:
    """The entry `simulator` of an environment's information, where it says what determines its numbers; else nothing.

    It goes into dataset cards and run descriptions, beside the environment's name and arguments.
    """
    found = env_info.get("simulator")
    return {} if found is None else {"simulator": plain_values(found)}


def warn_of_other_simulator(
    what: str, environment: Mapping[str, Any] | None, env_info: Mapping[str, Any], log: logging.Logger
) -> None:
    """Warn where what was made in one simulator is scored in another.

    environment: the entry of that name in a dataset's card or in a run's description. Nothing is said where either side
    does not know its simulator.
    """
    there, here = (environment or {}).get("simulator"), simulator_of(env_info).get("simulator")
    if not isinstance(there, Mapping) or here is None:
        return
    names = sorted({*there, *here})
    different = [
        f"{name} is {_short(there.get(name))} there and {_short(here.get(name))} here"
        for name in names
        if there.get(name) != here.get(name)
    ]
    if different:
        log.warning(f"{printable(what)} is of another simulator ({'; '.join(different)}): its returns may differ here")


def warn_of_weights(weights: Path, env_info: Mapping[str, Any], log: logging.Logger) -> None:
    """The same of a checkpoint, from its run's description where it has one."""
    path = find_description(weights)
    if path is not None:
        warn_of_other_simulator(str(weights), read_description(path)["environment"], env_info, log)


def check_same_prey(directory: Path, env_info: Mapping[str, Any]) -> None:
    """Raise CheckpointError where a run would be continued against another prey: its curve would mix two tasks."""
    path = find_description(directory)
    there = None if path is None else prey_of(read_description(path)["environment"])
    here = prey_of(env_info)
    if None not in (there, here) and there != here:
        raise CheckpointError(
            f"{directory} was trained against another prey (its checksum is {_short(there)} there and {_short(here)} "
            f"here); set env_args.prey to that one, or start a new run from its weights: load_weights='{directory}'"
        )


class StableEpisodes:
    """A runner's episodes without those in which the simulation became unstable, which warnings count."""

    def __init__(self, runner: Any, log: logging.Logger) -> None:
        self.runner, self.log = runner, log
        self.in_a_row = 0  # left out since the last one that was kept

    def of(self, batch: EpisodeBatch) -> EpisodeBatch | None:
        """Those of a rollout, None where none is left. Raises EnvError after `MOST_UNSTABLE` without one in between."""
        unstable = np.array(getattr(self.runner, "unstable", ()), dtype=bool)  # (E,); stock's runners do not know
        if not unstable.any():
            self.in_a_row = 0
            return batch
        self.in_a_row = self.in_a_row + len(unstable) if unstable.all() else 0
        if self.in_a_row >= MOST_UNSTABLE:
            raise EnvError(
                f"the simulation of {self.runner.environment} became unstable in {self.in_a_row} episodes in a row: "
                "play another policy, or change env_args"
            )
        left_out = counted(int(unstable.sum()), "episode")
        self.log.warning(f"Left out {left_out} in which the simulation became unstable")
        return None if unstable.all() else batch[np.flatnonzero(~unstable)]


def _short(value: Any) -> str:
    return "not stated" if value is None else printable(str(value))[:20]
