"""Every task's default dataset is bundled, and every offline learner that takes its actions can begin with it."""

from __future__ import annotations

import pytest

from datasets.names import BUNDLED
from learners import REGISTRY
from loops.configured import configured
from loops.rehearsal import attempt
from utils.config import CONFIG, algorithm, config_names, read_yaml

DEFAULTS = {name: read_yaml(CONFIG / "envs" / f"{name}.yaml").get("dataset") for name in config_names("envs")}
GAMES = ("bridge", "matrix_game")


def offline(kind: str) -> list[str]:
    """Algorithms that learn from datasets with such actions; fitted Q evaluation needs a policy to value."""
    found = []
    for name in config_names("algs"):
        content = algorithm(name)
        learner = REGISTRY.get(content.get("learner") or "")
        if content.get("offline") and learner is not None and not getattr(learner, "FIXED_POLICY", False):
            found += [name] if kind in learner.action_types else []
    return found


def test_default_datasets_are_bundled() -> None:
    named = {name: dataset for name, dataset in DEFAULTS.items() if dataset is not None}
    assert set(named.values()) <= set(BUNDLED)
    assert {*GAMES, "simple_tag", "simple_world", "hopper", "ant", "halfcheetah_2x3", "mamujoco"} <= set(named)


@pytest.mark.parametrize("env", GAMES)
def test_every_discrete_learner_begins_in_the_games(env: str) -> None:
    algorithms = offline("discrete")
    assert {"comadice", "bc", "qmix_cql", "iql_cql", "alberdice"} <= set(algorithms)
    for name in algorithms:
        given = {"seed": 0, "hidden_dim": 8, "use_cuda": False}
        assert attempt(configured(name, env, given, False, print, print).final) is not None, name
