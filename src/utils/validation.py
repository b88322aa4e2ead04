"""Checks of a configuration's values before a run starts."""

from __future__ import annotations

import re
from typing import Any

from utils.errors import ConfigError
from utils.keys import Keys, inherited
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
        raise ConfigError(f"env_args={config['env_args']}: set its entries, such as env_args.key=simple_spread")
    checked = {name: keys[name].check(name, value) if name in keys else value for name, value in config.items()}
    if re.fullmatch(r"\w[\w.+-]*", config["name"]) is None:
        raise ConfigError(f"name={config['name']}: runs are filed under it; use letters, digits, - and _")
    if config["evaluate"] and config["collect"]:
        raise ConfigError("evaluate=True and collect=True exclude each other; choose one")
    if config["render"] and not config["evaluate"]:
        raise ConfigError(
            "render=True draws an episode of an evaluation; add evaluate=True and checkpoint_path=DIRECTORY"
        )
    return checked
