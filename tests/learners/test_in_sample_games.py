"""Learners of logged actions in the XOR game: what each agent clones, exactly; docs/learners say why they fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from datasets.sources.xor import generate_xor
from tests.learners.test_comadice_games import SHARES, XOR, corrected, earned, marginals, probabilities, trained

KEYS: dict[str, Any] = {
    "gamma": 0.5, "q_lr": 0.02, "actor_lr": 0.02, "tau": 0.1, "batch_size": 64, "t_max": 100, "hidden_dim": 16,
}  # fmt: skip


def policies(folder: Path, alg: str, names: str, **keys: Any) -> np.ndarray:
    generate_xor(names, folder / "xor.h5", episodes=60)
    given = {key: value for key, value in {**KEYS, **keys}.items() if value is not None}
    return probabilities(trained(folder, alg, "matrix_game", folder / "xor.h5", **given))


def test_omiga_plays_the_worst_pair(tmp_path: Path) -> None:
    """Each agent's B is the better half of an additive value that fits {AA, AB, BA} exactly; BB was never logged."""
    found = policies(tmp_path, "omiga", "AA,AB,BA", value_lr=0.02, alpha=0.05)
    assert tuple(found.argmax(1)) == (1, 1) and found[:, 1].min() > 0.95
    assert earned(found) < -1.7 and XOR[1, 1] == XOR.min() == -2


def test_implicit_q_plays_it_where_agents_learn_alone(tmp_path: Path) -> None:
    """What B was logged with always paid; what A was logged with did not."""
    keys = {"value_lr": 0.02, "reward_scaling": "none", "inverse_temperature": 20.0}
    alone = policies(tmp_path, "implicit_q", "AA,AB,BA", **keys)
    assert tuple(alone.argmax(1)) == (1, 1) and earned(alone) < -1.5
    mixed = policies(tmp_path, "implicit_q", "AA,AB,BA", mixer="vdn", **keys)
    np.testing.assert_allclose(mixed, 0.5, atol=0.1)  # AB and BA have the same weight, AA next to none


def test_icq_plays_it_too(tmp_path: Path) -> None:
    """Its softmax over the batch prefers B of each agent, as OMIGA's weights do."""
    found = policies(
        tmp_path, "icq_discrete", "AA,AB,BA", target_update_interval=10, tau=1.0, window=1, policy_temperature=0.05
    )
    assert tuple(found.argmax(1)) == (1, 1) and earned(found) < -1.5


def test_optdice_clones_the_marginals_of_the_best_pairs(tmp_path: Path) -> None:
    """A value of the state judges pairs: AA goes, AB and BA stay, and agents that clone them apart mix them."""
    found = policies(tmp_path, "optdice", "AA,AB,BA", value_lr=0.02, alpha=0.1, tau=None)
    expected = marginals(corrected(SHARES["AA,AB,BA"], XOR, alpha=0.1))
    np.testing.assert_allclose(found, expected, atol=0.1)
    assert abs(earned(found)) < 0.1 and earned(expected) < 0.01
