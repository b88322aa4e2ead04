"""What values a configuration's keys may have, checked before a run exists."""

from __future__ import annotations

import re
from typing import Any

from utils.errors import ConfigError
from utils.keys import Keys, inherited
from utils.run_keys import RUN_KEYS


def keys_of(learner: Any) -> Keys:
    """What is declared for runs with a learner's class: the keys of every run, and its own, which may replace some.

    learner: None for runs without one. A class that declares nothing, such as stock EPyMARL's, adds nothing.
    """
    return {**RUN_KEYS, **inherited(learner, "KEYS")}


def check_values(config: dict[str, Any], keys: Keys = RUN_KEYS) -> dict[str, Any]:
    """The configuration with whole numbers as integers (1e4 is 10000). Keys that nobody declares stay as they are.

    keys: what is declared of them (`keys_of`). Raises ConfigError for a value that its key does not take, and for modes
    that exclude each other.
    """
    if not isinstance(config["env_args"], dict):
        raise ConfigError(f"env_args={config['env_args']}: set its entries, such as env_args.key=simple_spread")
    checked = {name: keys[name].check(name, value) if name in keys else value for name, value in config.items()}
    if re.fullmatch(r"\w[\w.+-]*", config["name"]) is None:
        raise ConfigError(f"name={config['name']}: runs are filed under it; use letters, digits, - and _")
    if config["evaluate"] and config["collect"]:
        raise ConfigError("evaluate=True and collect=True exclude each other; choose one")
    if config["render"] and not config["evaluate"]:
        raise ConfigError("render=True draws an episode of an evaluation; add evaluate=True and checkpoint_path=...")
    return checked
