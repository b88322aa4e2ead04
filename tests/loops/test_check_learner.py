"""A learner's class that declares too little is told what to write."""

from types import SimpleNamespace

import pytest

from learners import REGISTRY
from learners.base_learner import BaseLearner
from loops.build import check_learner
from utils.errors import ConfigError


def test_a_learner_without_action_types_is_told_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "unfinished_learner", type("Unfinished", (BaseLearner,), {}))
    args = SimpleNamespace(learner="unfinished_learner", name="unfinished", offline=True)
    with pytest.raises(ConfigError, match=r"unfinished_learner declares no action_types; write .* = frozenset\(\{"):
        check_learner(args, {"action_space": "continuous"})
