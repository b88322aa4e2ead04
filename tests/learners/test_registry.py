"""Learners are found by their file's name, and what each declares holds together."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import learners
from learners import REGISTRY, find_learners
from learners.base_learner import BaseLearner
from learners.optimisation import SHARED_KEYS
from tests.learners.learner_tester import ALGORITHMS
from utils.config import CONFIG
from utils.keys import Key, check_keys, inherited

PACKAGE = CONFIG.parent / "learners"
DEFAULTS = yaml.safe_load((CONFIG / "default.yaml").read_text())

# Stock EPyMARL's algorithm files; those that are also ours run its algorithm, on our learner of the same name.
STOCK = [f"{name}{suffix}" for suffix in ("", "_ns") for name in
         ("coma", "ia2c", "ippo", "iql", "maa2c", "maddpg", "mappo", "pac", "pac_dcg", "qmix", "vdn")]  # fmt: skip
Q_LEARNING = {"iql", "iql_ns", "vdn", "vdn_ns", "qmix", "qmix_ns"}
SAME_AS_STOCK = Q_LEARNING | {"ippo", "mappo"}

LEARNER = """
from learners.base_learner import BaseLearner

class {name}(BaseLearner):
    pass
"""


@pytest.fixture
def extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A second folder of the package `learners`, gone with its modules after the test."""
    monkeypatch.setattr(learners, "__path__", [*learners.__path__, str(tmp_path)])
    before, attributes = set(sys.modules), set(vars(learners))
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]
    for name in set(vars(learners)) - attributes:
        delattr(learners, name)


def arguments(alg: str) -> SimpleNamespace:
    """The keys of an algorithm file over the defaults."""
    return SimpleNamespace(**DEFAULTS | ALGORITHMS[alg])


# -- how learners are found --------------------------------------------------------------------------------------------


def test_every_file_of_a_learner_is_found_under_its_name() -> None:
    files = {path.stem for path in PACKAGE.glob("*_learner.py")} - {"base_learner"}
    assert set(REGISTRY) == files and len(files) >= 6
    for name, learner in REGISTRY.items():
        assert issubclass(learner, BaseLearner) and learner.__module__ == f"learners.{name}"


def test_a_new_file_is_enough(extra: Path) -> None:
    (extra / "dropped_in_learner.py").write_text(LEARNER.format(name="DroppedIn"))
    found = find_learners()
    assert set(found) == {*REGISTRY, "dropped_in_learner"} and found["dropped_in_learner"].__name__ == "DroppedIn"


def test_two_learners_in_one_file_are_refused(extra: Path) -> None:
    (extra / "twin_learner.py").write_text(LEARNER.format(name="One") + LEARNER.format(name="Two"))
    with pytest.raises(TypeError, match="^twin_learner.py has 2 learners; give each a file of its own$"):
        find_learners()


def test_a_learner_that_a_file_imports_is_not_its_own(extra: Path) -> None:
    """A file may build on another file's learner, and help with classes that are none."""
    (extra / "built_on_learner.py").write_text(
        "from learners.bc_learner import BCLearner\n\nclass Helper:\n    pass\n\nclass BuiltOn(BCLearner):\n    pass\n"
    )
    (extra / "helpers.py").write_text(LEARNER.format(name="Unfound"))
    found = find_learners()
    assert found["built_on_learner"].__name__ == "BuiltOn" and set(found) == {*REGISTRY, "built_on_learner"}


# -- names that stock EPyMARL has --------------------------------------------------------------------------------------


def test_no_algorithm_of_ours_takes_a_name_of_stocks() -> None:
    assert set(ALGORITHMS) & set(STOCK) == SAME_AS_STOCK
    for alg in Q_LEARNING:
        assert ALGORITHMS[alg]["learner"] == "q_learner"
        assert ALGORITHMS[alg].get("mixer") == {"iql": None, "vdn": "vdn", "qmix": "qmix"}[alg.removesuffix("_ns")]
    assert {alg: ALGORITHMS[alg]["critic"] for alg in ("ippo", "mappo")} == {"ippo": "local", "mappo": "central"}
    assert {ALGORITHMS[alg]["learner"] for alg in ("ippo", "mappo")} == {"ppo_learner"}


# -- what a learner declares -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_declarations_hold_together(name: str) -> None:
    learner = REGISTRY[name]
    keys = inherited(learner, "KEYS")
    assert learner.KEYS and all(isinstance(key, Key) and key.meaning for key in keys.values())
    own = {"input_norm"} if getattr(learner, "ON_POLICY", False) else set()  # statistics of its own play, not of data
    assert {(key, value) for key, value in SHARED_KEYS.items() if key not in own} <= keys.items()
    assert learner.action_types and learner.action_types <= {"continuous", "discrete"}
    assert set(learner.ALIASES.values()) <= set(keys)
    assert not set(learner.ALIASES) & set(keys)
    for key in keys.values():
        assert key.actions in (None, *learner.action_types)
        assert key.fallback is None or key.fallback in DEFAULTS
    for spec in learner.LOSSES:
        assert spec.lr in keys and (spec.interval is None or spec.interval in keys)
        assert callable(getattr(learner, f"{spec.name}_loss"))


@pytest.mark.parametrize(
    ("name", "kind"), [(n, kind) for n in sorted(REGISTRY) for kind in sorted(REGISTRY[n].action_types)]
)
def test_the_named_algorithm_file_has_all_keys_with_allowed_values(name: str, kind: str) -> None:
    learner = REGISTRY[name]
    alg = learner.CONFIGS[0 if kind == "continuous" else 1]
    assert alg in ALGORITHMS and ALGORITHMS[alg]["learner"] == name
    check_keys(arguments(alg), inherited(learner, "KEYS"), name, alg, kind == "continuous")
