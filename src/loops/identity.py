"""What a training run is: a hash of all that decides its result, so that the same run is known again."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from datasets.card import NOT_COMPARED
from datasets.readings import Readings
from datasets.references import prey_checksum
from learners import REGISTRY as learner_REGISTRY
from loops.continuation import FREE_TO_CHANGE
from loops.described import POLICY_KEYS
from loops.earlier import EarlierRun, earlier_run, recorded_config, with_outputs
from utils.checkpoint import STATE_FILE, SUFFIX, find_checkpoint
from utils.config import Config
from utils.description import plain_values
from utils.errors import CheckpointError, one_line
from utils.manifest import Damage, fingerprint
from utils.old_names import OldNames, old_names
from utils.progress import FILE_VARIABLE
from utils.redact import redacted

# Where records go, how the machine is used, and what only says how to continue: a result is the same with other values.
WITHOUT_EFFECT = frozenset({*FREE_TO_CHANGE, "save_model"}) - {"t_max", "load_weights"}


def identity(config: Config, checksum: str | None) -> str:
    """The hash of a resolved configuration; code, commit, folders, addresses and devices do not change it.

    checksum: the dataset's, which stands for its name; None for a run without one. Weights that the run begins with,
    and the policy that it values, count by their content. Raises CheckpointError where they are not there.
    """
    kept = {key: value for key, value in config.items() if key not in WITHOUT_EFFECT}
    kept["env_args"] = {key: value for key, value in config["env_args"].items() if key not in NOT_COMPARED}
    if kept["env_args"].get("prey") is not None and (prey := prey_checksum(config["env_args"])) is not None:
        kept["env_args"]["prey"] = prey  # which stands for the file's name
    if kept.get("policy_path"):
        step = kept.pop("policy_step", 0)
        kept["policy_path"] = _content(find_checkpoint(config["policy_path"], step, "policy_path"))
    if kept.get("load_weights") and not config["checkpoint_path"]:  # a continued run loads them no more
        kept["load_weights"] = _content(find_checkpoint(config["load_weights"], config["load_step"], "load_weights"))
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

    A run that continues another one is the same where that one was of the same identity, and where nothing that
    matters has changed since: then it has the identity that is recorded of that one.
    """
    if config["collect"] or config["evaluate"]:
        return None
    checksum = dataset_checksum(config)
    own = identity(config, checksum)
    if not config["checkpoint_path"]:
        return own
    directory, earlier = _continued(config)
    recorded = None if earlier is None else earlier.content.get("identity")
    if earlier is not None and recorded and (recorded == own or _unchanged(earlier, config, checksum)):
        return str(recorded)
    before = recorded or directory
    return hashlib.sha256(f"{own} after {before}".encode()).hexdigest()[:16]


def told(config: Config) -> dict[str, Any]:
    """What a run's record says of it for sweeps: its identity, and whether a sweep has started it."""
    return {"identity": run_identity(config), "in_sweep": FILE_VARIABLE in os.environ}


def _continued(config: Config) -> tuple[Path, EarlierRun | None]:
    """The step directory that a configuration continues, and its run; None where that has no sound description."""
    directory = find_checkpoint(config["checkpoint_path"], config["load_step"])
    try:
        return directory, earlier_run({"checkpoint_path": str(directory)}, config["name"])
    except CheckpointError:  # a damaged description: the run itself says so where it matters
        return directory, None


def _unchanged(earlier: EarlierRun, config: Config, checksum: str | None) -> bool:
    """Whether a configuration is that of the run that it continues, but for what has no effect.

    `auto` is compared by what it stands for, as earlier commits of 0.2.0 kept nothing else. False for a description
    that is no configuration of today: with flags, such a run is continued all the same.
    """
    try:
        before = recorded_config(earlier, earlier.as_given, _names_of)
    except CheckpointError:
        return False
    # What a command asks for once, and is part of what the run is.
    once = {key: earlier.config[key] for key in ("load_weights", "replay_to") if key in earlier.config}
    both: list[Config] = [with_outputs(earlier, each) for each in (config, before | once)]
    if config.get("policy_path"):  # what that sets is the policy's, which counts by its content
        both = [{key: value for key, value in each.items() if key not in POLICY_KEYS} for each in both]
    now, then = (each | {"checkpoint_path": config["checkpoint_path"]} for each in both)
    return identity(now, checksum) == identity(then, (earlier.content["dataset"] or {}).get("checksum"))


def _names_of(learner: Any) -> OldNames:
    return old_names(learner_REGISTRY.get(str(learner)))


def _content(directory: Path) -> str:
    """The hash of a checkpoint's model files. Raises CheckpointError where they cannot be read."""
    files = [file for file in sorted(directory.iterdir()) if file.suffix == SUFFIX and file.name != STATE_FILE]
    try:
        listed = "".join(f"{file.name} {fingerprint(file)['sha256']}\n" for file in files)
    except (Damage, OSError) as error:
        raise CheckpointError(f"{directory} cannot be read ({one_line(error)}); name another checkpoint") from error
    return hashlib.sha256(listed.encode()).hexdigest()[:16]
