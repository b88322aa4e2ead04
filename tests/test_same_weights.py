from __future__ import annotations

import torch as th

from tests.learners.learner_tester import ALGORITHMS
from tests.same_weights import CASES, difference, tensors


def test_special_cases_are_of_algorithm_files() -> None:
    assert CASES.keys() <= ALGORITHMS.keys()


def test_what_differs_is_found() -> None:
    old = dict(tensors("agent", {"a": th.ones(2), "list": [th.zeros(1), {"b": th.ones(1)}]}))
    assert old.keys() == {"agent/a", "agent/list/0", "agent/list/1/b"}
    assert difference(old, {key: value.clone() for key, value in old.items()}) == ""
    assert difference(old, old | {"agent/a": th.tensor([1.0, 1.0 + 1e-7])}) == "1 of 3 tensors differ, agent/a first"
    assert difference(old, {}).startswith("other tensors")
