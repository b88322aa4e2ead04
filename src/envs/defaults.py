"""What environments take where an argument is not given, told without making one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from envs import REGISTRY
from utils.config import config_names, environment

OF_ENV = "env_args."  # begins the names of environments' arguments among other settings
# Defaults of constructors that no file in config/envs states.
_UNSTATED: dict[str, dict[str, Any]] = {"mamujoco": {"observe_torso": True}, "mpe": {"dtype": "float64"}}


def is_default(env: str | None, name: str, value: Any) -> bool:
    """Whether `env_args.<name>` with this value is as good as not given.

    That is None, what a file in config/envs gives to environments of this name, and the constructor's own default.
    Those of a simulator's arguments are not known here: such an argument counts, whatever its value is.
    """
    if value is None:
        return True
    layers = [layer for layer in map(environment, config_names("envs")) if layer.get("env") == env]
    known = [_UNSTATED.get(env or "", {}), *(layer.get("env_args") or {} for layer in layers)]
    if env in REGISTRY:  # the factories of this project state none; an environment of the user's may be a class
        known.append({key: parameter.default for key, parameter in inspect.signature(REGISTRY[env]).parameters.items()})
    return any(name in own and own[name] == value for own in known)


def agree(env: str | None, key: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two tables of settings agree in a key; an argument of the environment that one lacks has its default."""
    if one.get(key) == other.get(key):
        return True
    if not key.startswith(OF_ENV) or (key in one and key in other):
        return False
    return is_default(env, key.removeprefix(OF_ENV), {**one, **other}[key])
