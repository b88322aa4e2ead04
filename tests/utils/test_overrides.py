from __future__ import annotations

import pytest

from utils import overrides
from utils.errors import ConfigError


def test_overrides_are_read_as_sacred_reads_them() -> None:
    argv = ["main.py", "with", "lr=1e-3", "env_args.key=simple_tag", "mixer=None", "-c", "a comment"]
    assert overrides.with_updates(argv) == {"lr": 0.001, "env_args": {"key": "simple_tag"}, "mixer": None}
    with pytest.raises(ConfigError, match="'lr' after `with` is no override"):
        overrides.with_updates(["with", "lr", "=", "3"])


def test_values_of_another_kind_are_refused() -> None:
    declared = {"lr": 0.1, "flag": True, "name": "x", "args": {"n": 1}, "free": None}
    overrides.check_updates(
        declared, {"lr": 1, "flag": False, "name": "y", "args": {"n": None}, "free": [1], "seed": 3}
    )
    for update in ({"lr": "high"}, {"lr": True}, {"flag": 1}, {"name": 3}, {"args": {"n": "two"}}, {"args": 3}):
        with pytest.raises(ConfigError, match="this is"):
            overrides.check_updates(declared, update)
    with pytest.raises(ConfigError, match="did you mean 'args.n'"):
        overrides.check_updates(declared, {"args": {"m": 1}})


def test_an_option_is_given_once_and_with_an_equals_sign() -> None:
    assert overrides.take_option(["a", "--config=x", "b"], "--config") == ("x", ["a", "b"])
    with pytest.raises(ConfigError, match="2 times"):
        overrides.take_option(["--config=x", "--config=y"], "--config")
