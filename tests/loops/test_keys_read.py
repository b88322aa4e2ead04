"""`print_config` against a run: of the keys that learners declare it shows those that a run reads, and no other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from datasets.sources.xor import generate_xor
from learners import REGISTRY as learner_REGISTRY
from loops.build import Parts
from tests.loops.in_process import parts_of, train
from utils import keys
from utils.config import layered_config, merge
from utils.keys import inherited
from utils.settings import Settings
from utils.shown_config import keys_read

CONTINUOUS = ("bc", "spacql", "comadice", "matd3_bc", "cfcql")
DISCRETE = ("bc_discrete", "comadice_discrete", "spacql_discrete", "icql_qs")
ONLINE = ("qmix", "vdn", "iql")
SMALL = {"batch_size": 4, "batch_size_run": 4, "buffer_size": 8, "env_args": {"episode_limit": 5}}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{alg: ("mpe", {"batch_size": 16}) for alg in CONTINUOUS},
    **{alg: ("matrix_game", {"batch_size": 16, "dataset": "XOR"}) for alg in DISCRETE},
    **dict.fromkeys(ONLINE, ("matrix_game", SMALL)),
    "matd3": ("mpe", {**SMALL, "env_args": {"time_limit": 5}}),
}


@pytest.mark.parametrize("alg", CASES)
def test_the_keys_shown_are_the_keys_read(alg: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env, updates = CASES[alg]
    if updates.get("dataset") == "XOR":
        generate_xor("random", tmp_path / "xor.h5", episodes=4)
        updates = {**updates, "dataset": str(tmp_path / "xor.h5")}
    read, used = set(), set()

    def noted(settings: Settings, name: str) -> Any:
        read.add(name)
        if sys._getframe(1).f_globals["__name__"] != keys.__name__:  # which checks the value, whatever it is used for
            used.add(name)
        return object.__getattribute__(settings, name)

    config = merge(layered_config(alg, env, updates), updates)
    own = inherited(learner_REGISTRY[config["learner"]], "KEYS")
    monkeypatch.setattr(Settings, "__getattribute__", noted, raising=False)
    parts = parts_of(alg, env, tmp_path, **updates)
    play(parts)
    train(parts, 2)
    shown = set(keys_read(config, own))
    assert own.keys() & shown and shown & own.keys() <= read | kind_is_open(own, config)
    assert used & own.keys() & config.keys() <= shown


def kind_is_open(own: keys.Keys, config: dict[str, Any]) -> set[str]:
    """What a run reads where actions are continuous, if only its data tell whether they are."""
    if config["agent_output_type"] not in ("auto", "stochastic"):
        return set()
    return {name for name, key in own.items() if key.actions == "continuous"}


def play(parts: Parts) -> None:
    """Fill the buffer of a learner that trains in the environment."""
    if not parts.args.offline:
        parts.buffer.insert_episode_batch(parts.runner.run())
