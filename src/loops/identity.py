"""What a training run is: a hash of all that decides its result, so that the same run is known again."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from datasets.card import NOT_COMPARED
from datasets.readings import Readings
from datasets.references import prey_checksum
from loops.continuation import FREE_TO_CHANGE
from utils.checkpoint import find_checkpoint
from utils.config import Config
from utils.description import find_description, plain_values, read_description
from utils.errors import CheckpointError
from utils.progress import FILE_VARIABLE
from utils.redact import redacted

# Where records go, how the machine is used, and what only says how to continue: a result is the same with other values.
WITHOUT_EFFECT = frozenset({*FREE_TO_CHANGE, "save_model"}) - {"t_max", "load_weights"}


def identity(config: Config, checksum: str | None) -> str:
    """The hash of a resolved configuration; code, commit, folders, addresses and devices do not change it.

    checksum: the dataset's, which stands for its name; None for a run without one.
    """
    kept = {key: value for key, value in config.items() if key not in WITHOUT_EFFECT}
    kept["env_args"] = {key: value for key, value in config["env_args"].items() if key not in NOT_COMPARED}
    if kept["env_args"].get("prey") is not None and (prey := prey_checksum(config["env_args"])) is not None:
        kept["env_args"]["prey"] = prey  # which stands for the file's name
    text = json.dumps(plain_values(redacted({**kept, "dataset_checksum": checksum})), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def dataset_checksum(config: Config, readings: Readings | None = None) -> str | None:
    """The checksum on the card of the dataset that a run learns from; None online.

    readings: what was read of datasets before. Raises DatasetError where there is no dataset.
    """
    if not config["offline"] or config["dataset"] is None:
        return None
    return str((readings or Readings()).outline(config["dataset"]).card["checksum"])


def run_identity(config: Config) -> str | None:
    """The identity of the training run that this configuration begins or continues; None where it trains nothing.

    A run that continues another one is the same only where that one was of the same identity.
    """
    if config["collect"] or config["evaluate"]:
        return None
    own = identity(config, dataset_checksum(config))
    if not config["checkpoint_path"]:
        return own
    before = _identity_at(config["checkpoint_path"], config["load_step"])
    return own if before == own else hashlib.sha256(f"{own} after {before}".encode()).hexdigest()[:16]


def told(config: Config) -> dict[str, Any]:
    """What a run's record says of it for sweeps: its identity, and whether a sweep has started it."""
    return {"identity": run_identity(config), "in_sweep": FILE_VARIABLE in os.environ}


def _identity_at(checkpoint_path: str, load_step: int) -> str:
    """The identity that the run of a checkpoint has written; its directory where it wrote none."""
    directory = find_checkpoint(checkpoint_path, load_step)
    try:
        path = find_description(directory)
        found = None if path is None else read_description(path).get("identity")
    except CheckpointError:  # a damaged description: the run itself says so where it matters
        found = None
    return str(found or directory)
