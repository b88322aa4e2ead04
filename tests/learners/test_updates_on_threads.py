"""Whole updates on several threads: the same bits, whether chunks or critics are shared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch as th

from learners import chunked
from modules.critics import counterfactual_layers
from modules.threads import spread, use_threads
from tests.learners.learner_tester import make_learner, parameters_of, train


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(counterfactual_layers, "WORTH_SHARING", 0)
    yield
    use_threads(1)


def trained(number: int, alg: str, updates: dict[str, Any]) -> tuple[dict[str, th.Tensor], list[Any]]:
    """Weights and targets after some updates, and all statistics."""
    use_threads(number)
    learner = make_learner(alg, **updates)
    train(learner, 0, 6)
    return parameters_of(learner), learner.logger.stats


CASES: list[tuple[str, dict[str, Any]]] = [
    ("spacql", {}),
    ("spacql", {"loss_chunk": 2}),
    ("spacql", {"loss_chunk": 1, "cql_penalty": "policy"}),
    ("spacql", {"critic_dtype": "bfloat16"}),
    ("cfcql", {"loss_chunk": 4}),
    ("comadice", {"loss_chunk": 2}),
    ("matd3_bc", {"loss_chunk": 2}),
    ("bc", {"loss_chunk": 2, "agent": "rnn_ns", "window": None}),
]


@pytest.mark.parametrize(("alg", "updates"), CASES)
def test_updates_are_the_same_bit_for_bit(alg: str, updates: dict[str, Any]) -> None:
    weights, statistics = trained(1, alg, updates)
    for number in (2, 3):
        again, told = trained(number, alg, updates)
        assert all(th.equal(value, again[name]) for name, value in weights.items())
        assert told == statistics


@pytest.mark.parametrize(
    ("number", "updates", "expected"),
    [
        (2, {"loss_chunk": 2}, {3}),
        (2, {"loss_chunk": 1}, {6}),
        (2, {}, set()),
        (4, {"loss_chunk": 2}, set()),  # fewer chunks than threads: those share the critics
        (2, {"loss_chunk": 2, "agent": "rnn_ns", "window": None}, set()),  # its state is the controller's
    ],
)
def test_chunks_are_shared_where_there_are_enough(
    number: int, updates: dict[str, Any], expected: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()
    monkeypatch.setattr(chunked, "spread", lambda work, n_pieces: (seen.add(n_pieces), spread(work, n_pieces)))
    trained(number, "bc", updates)
    assert seen == expected
