"""In a plugged checkout, an algorithm file and stock's default.yaml hold every key that its components read."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stock import learners, plug, plug_into
from tests.compat.ours_in_stock.stand_in import build
from tests.utils.test_yaml_completeness import NOT_HERE, OF_ONE_LEARNER, reads

# What stock's main.py and run.py put on `args`, and our adapters and the offline runner on their copies of it.
SET_BY_A_RUN = {"n_agents", "n_actions", "state_shape", "device", "seed", "unique_token", *learners.DEFAULTS}
# Of stock's epsilon-greedy selector, which takes action values: ours have probabilities.
NOT_CHOSEN = {"evaluation_epsilon", "action_low", "action_high"}  # bounds: of continuous actions, which stock lacks
# Modules of stock's that ours extend, or that `with` may choose beside ours.
OF_STOCK = {"controllers.basic_controller", "components.action_selectors", "modules.agents.rnn_agent"}


@pytest.fixture(scope="module")
def source(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkout = build(kind, tmp_path_factory.mktemp("plugged"))
    assert plug_into.main([str(checkout)]) == 0
    return checkout / "src"


@pytest.mark.parametrize("name", plug.CONFIGS)
def test_nothing_that_is_read_is_missing(name: str, source: Path) -> None:
    default, own = (load(source / "config" / path) for path in ("default.yaml", f"algs/{name}.yaml"))
    stocks = OF_STOCK | {"modules.mixers.qmix", "stock.mixers"} if "mixer" in own else OF_STOCK
    needed = read_by(plug.import_closure(modules_of(own) | stocks, source) | stocks, source)
    elsewhere = set().union(*(keys for part, keys in NOT_HERE.items() if part in name))
    if own["agent"] != "bcq_ns":
        elsewhere |= OF_ONE_LEARNER  # it refuses all other learners
    missing = needed - own.keys() - default.keys() - SET_BY_A_RUN - NOT_CHOSEN - elsewhere
    assert not missing, f"{name}.yaml lacks {sorted(missing)}"
    assert {
        "actor_lr",
        "dataset",
        "evaluation_runner",
        "use_rnn",
        "epsilon_start",
    } <= needed  # the check sees what it should
    assert ("mixer" in own) == ({"mixer_nonneg", "mixing_embed_dim"} <= needed)


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def modules_of(config: dict[str, Any]) -> set[str]:
    """The modules of ours that a configuration names, with every controller and agent that it may be given instead.

    All adapters share a file: the learner's modules are those of its adapter's base classes.
    """
    entries = []
    if "critic_type" in config:
        entries.append(plug.ENTRIES["modules/critics"][config["critic_type"]])
    for name in ("controllers", "modules/agents", "runners"):
        entries.extend(plug.ENTRIES[name].values())
    adapter = getattr(learners, plug.ENTRIES["learners"][config["learner"]][1])
    bases = {base.__module__ for base in adapter.__mro__ if base.__module__.startswith("learners.")}
    return {module for module, _ in entries} | bases


def read_by(modules: set[str], source: Path) -> set[str]:
    """The keys that modules of the checkout read."""
    files = [plug.module_file(module, source) for module in modules]
    texts = [file.read_text() for file in files if file is not None]
    # The offline runner calls its `args` with defaults `settings`.
    return set().union(*(reads(ast.parse(re.sub(r"\bsettings\b", "args", text))) for text in texts))
