"""Collections and evaluations train nothing: what only training reads is named there, and nothing that they read."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from learners import REGISTRY
from loops import collect, evaluate
from loops.resolve import resolved_outputs
from tests.loops.in_process import LOG, NO_RUN, parts_of, save
from tests.loops.test_unread import warning_of
from utils import keys
from utils.config import algorithm
from utils.keys import inherited
from utils.logging import Logger
from utils.run_keys import OF_EVALUATIONS, OF_TRAINING, RUN_KEYS
from utils.settings import Settings
from utils.shown_config import keys_read

COLLECT = ("collect=True", "collect_episodes=4", "collect_to=/tmp/x.h5")
SHORT: dict[str, Any] = {"env_args": {"key": "simple_spread", "continuous_actions": False, "time_limit": 5},
                         "hidden_dim": 8, "runner": "vector", "batch_size_run": 2, "test_nepisode": 2}  # fmt: skip


def test_keys_that_only_training_reads_are_named_in_a_collection() -> None:
    words = [*COLLECT, "gamma=0.5", "t_max=7", "batch_size=3", "save_model_interval=3", "dataset=foo.h5"]
    assert warning_of("random", words) == (
        "gamma=0.5, t_max=7, batch_size=3, save_model_interval=3 and dataset=foo.h5 are given and not read by this run "
        "of random"
    )
    assert warning_of("random", [*COLLECT, "hidden_dim=8", "label=mine", "runner=vector", "seed=3"]) is None
    assert warning_of("matd3", [*COLLECT, "critic_lr=0.1", "test_nepisode=3", "exploration_noise=0.3"]) == (
        "critic_lr=0.1 and test_nepisode=3 are given and not read by this run of matd3"
    )


def test_keys_of_acting_are_read_in_a_collection() -> None:
    words = ["perturbation_reach=0.3", "acting_candidates=3", "target_candidates=3"]
    assert warning_of("bcq", [*COLLECT, *words]) == ("target_candidates=3 is given and not read by this run of bcq")


def test_keys_of_collections_are_named_in_training() -> None:
    assert warning_of("spacql", ["collect_to=/tmp/x.h5", "gamma=0.5"]) == (
        "collect_to=/tmp/x.h5 is given and not read by this run of spacql"
    )
    assert warning_of("spacql", ["collect_quality=expert"]) == (
        "collect_quality=expert is given and not read by this run of spacql"
    )


def test_the_quality_is_read_by_what_writes_a_dataset() -> None:
    assert warning_of("random", [*COLLECT, "collect_quality=random"]) is None
    assert warning_of("matd3", ["replay_to=/tmp/x.h5", "collect_quality=medium-replay"]) is None


def test_a_dataset_is_named_where_nothing_is_learned_from_it() -> None:
    assert warning_of("matd3", ["dataset=mine.h5"]) == "dataset=mine.h5 is given and not read by this run of matd3"
    assert warning_of("spacql", ["offline=False", "dataset=mine.h5", "memory_map=True"]) == (
        "dataset=mine.h5 and memory_map=True are given and not read by this run of spacql"
    )
    assert warning_of("spacql", ["offline=False", "dataset=None"]) is None
    assert warning_of("spacql", ["memory_map=True"]) is None


def test_sets_of_keys_are_of_keys_that_there_are() -> None:
    assert RUN_KEYS.keys() > OF_TRAINING | OF_EVALUATIONS and not OF_TRAINING & OF_EVALUATIONS


@pytest.mark.parametrize("alg", ["iql", "mappo", "bcq", "spacql"])
@pytest.mark.parametrize("mode", ["collect", "evaluate"])
def test_what_is_named_is_looked_at_by_no_policy_that_plays(
    mode: str, alg: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = {**SHORT, "offline": False, "input_norm": "none"}
    trained = save(parts_of(alg, "mpe", tmp_path, **shape, **on_policy(alg)), tmp_path / "run", 5)
    used: set[str] = set()

    def noted(settings: Settings, name: str) -> Any:
        if sys._getframe(1).f_globals["__name__"] != keys.__name__:
            used.add(name)
        return object.__getattribute__(settings, name)

    own = {"collect": {"collect": True, "collect_episodes": 4, "collect_to": str(tmp_path / "x.h5")},
           "evaluate": {"evaluate": True}}[mode]  # fmt: skip
    monkeypatch.setattr(Settings, "__getattribute__", noted, raising=False)
    parts = parts_of(alg, "mpe", tmp_path, **shape, **own, checkpoint_path=str(trained))
    run: Any = SimpleNamespace(**vars(NO_RUN), info={}, add_artifact=lambda *names, **options: None)
    {"collect": collect, "evaluate": evaluate}[mode].run(parts, Logger(LOG), run)
    monkeypatch.undo()
    declared = {**RUN_KEYS, **inherited(REGISTRY[algorithm(alg)["learner"]], "KEYS")}
    config = {**vars(parts.args)}
    config |= resolved_outputs(config["agent_output_type"], config["action_selector"], False)
    idle = declared.keys() & (OF_TRAINING | OF_EVALUATIONS | (declared.keys() - RUN_KEYS.keys()))
    named = (idle & config.keys()) - set(keys_read(config, declared))
    assert {"gamma", "t_max", "batch_size"} <= named and "batch_size_run" in used
    assert named & used <= OF_EVALUATIONS  # which building looks at, and a collection has no use for


def on_policy(alg: str) -> dict[str, int]:
    """Sizes that the checks of a learner from its own rollouts ask for."""
    return {"batch_size": 2, "buffer_size": 2} if alg == "mappo" else {}
