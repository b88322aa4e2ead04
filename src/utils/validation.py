"""Checks of a configuration's values before a run starts."""

from __future__ import annotations

import re
from typing import Any

from utils.errors import ConfigError, shown
from utils.keys import Keys, inherited
from utils.paths import LONGEST_NAME, results_folder, user_path
from utils.plain_values import plain
from utils.run_keys import RUN_KEYS


def keys_of(learner: Any) -> Keys:
    """Declared keys of runs with a learner's class: those of every run and the learner's own, which take precedence.

    learner: None for runs without one. A class without `KEYS`, such as stock EPyMARL's, adds none.
    """
    return {**RUN_KEYS, **inherited(learner, "KEYS")}


def check_values(config: dict[str, Any], keys: Keys = RUN_KEYS) -> dict[str, Any]:
    """Return the configuration with whole numbers as integers (1e4 is 10000). Undeclared keys are not checked.

    keys: the declarations (`keys_of`). Raises ConfigError for a value that its key does not take, and for modes that
    exclude each other.
    """
    if not isinstance(config["env_args"], dict):
        raise ConfigError(f"env_args={shown(config['env_args'])}: set its entries, such as env_args.key=simple_spread")
    config = {name: plain(value, name) for name, value in config.items()}
    checked = {name: keys[name].check(name, value) if name in keys else value for name, value in config.items()}
    if "name" not in checked:
        raise ConfigError("the algorithm's file has no key `name`; add one, for runs are filed under it")
    if re.fullmatch(r"\w[\w.+-]*", config["name"]) is None or len(config["name"].encode()) > LONGEST_NAME:
        raise ConfigError(
            f"name={shown(config['name'])}: runs are filed under it; use at most {LONGEST_NAME} letters, digits, "
            "- and _"
        )
    if config["evaluate"] and config["collect"]:
        raise ConfigError("evaluate=True and collect=True exclude each other; choose one")
    if config["render"] and not config["evaluate"]:
        raise ConfigError(
            "render=True draws an episode of an evaluation; add evaluate=True and checkpoint_path=DIRECTORY"
        )
    return checked


def check_paths(config: dict[str, Any]) -> None:
    """Raise ConfigError for a path of the configuration that cannot be one, before anything is looked for there."""
    results_folder(config["local_results_path"])
    for key in ("dataset", "collect_to", "replay_to"):
        if config[key] is not None:
            user_path(config[key], key, written=key != "dataset")
    for key in ("checkpoint_path", "load_weights"):
        if config.get(key):
            user_path(config[key], key, folder=True)
    if config["env_args"].get("replay_path") is not None:
        user_path(config["env_args"]["replay_path"], "env_args.replay_path", written=True)
