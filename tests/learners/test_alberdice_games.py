"""AlberDICE in games whose answers are known: what its policies are expected to earn, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

from datasets.sources.bridge import generate_bridge
from datasets.sources.xor import generate_xor
from envs.bridge import bridge_tables
from loops.offline import OfflineTraining
from tests.learners.test_comadice_games import earned, probabilities, trained
from tests.test_benchmarks import load

# Few and large steps, and an alpha that falls quickly from the payoffs' size on.
XOR_KEYS: dict[str, Any] = {
    "hidden_dim": 16, "gamma": 0.5, "value_lr": 0.03, "behaviour_lr": 0.03, "actor_lr": 0.1, "batch_size": 64,
    "t_max": 250, "alpha_start": 1.0, "alpha_finish": 0.02, "alpha_anneal_time": 100, "gradient_penalty": 0.0,
    "conservative": 0.0,
}  # fmt: skip
BRIDGE_KEYS: dict[str, Any] = {
    "hidden_dim": 64, "gamma": 0.9, "value_lr": 0.005, "behaviour_lr": 0.005, "actor_lr": 0.005, "batch_size": 1024,
    "t_max": 1000, "alpha_start": 0.3, "alpha_finish": 0.03, "alpha_anneal_time": 700, "start_states": "data",
    "gradient_penalty": 0.0, "conservative": 0.0,
}  # fmt: skip
OPTIMUM = -1.23545


def bridge_policies(training: OfflineTraining) -> np.ndarray:
    """The agents' probabilities in each of Bridge's joint states, (196, N, A)."""
    agent = training.learner.mac.agent
    seen = th.tensor(bridge_tables().states).repeat_interleave(2, dim=0)  # (196 * N, 8)
    with th.no_grad():
        outputs, _ = agent(seen, agent.init_hidden())
    policies: np.ndarray = outputs.double().softmax(-1).view(-1, 2, outputs.shape[-1]).numpy()
    return policies


def greedy(policies: np.ndarray) -> np.ndarray:
    return np.eye(policies.shape[-1])[policies.argmax(-1)]


SLOW = [pytest.param(names, marks=pytest.mark.slow) for names in ("AB", "AA,AB,BA", "random")]


@pytest.mark.parametrize("names", ["AB,BA", *SLOW])
def test_xor_is_solved(names: str, tmp_path: Path) -> None:
    """Also where the data hold both modes, of which factored cloning earns 0, and where they hold the worst pair."""
    generate_xor(names, tmp_path / "xor.h5", episodes=60)
    assert earned(probabilities(trained(tmp_path, "alberdice", "matrix_game", tmp_path / "xor.h5", **XOR_KEYS))) >= 0.99


@pytest.mark.slow
def test_bridges_optimum_is_reached_from_the_mix(tmp_path: Path) -> None:
    """Greedily, and nearly so by sampled actions: the agents agree on who yields."""
    generate_bridge("mix", tmp_path / "mix.h5", episodes=1000)
    policies = bridge_policies(trained(tmp_path, "alberdice", "bridge", tmp_path / "mix.h5", **BRIDGE_KEYS))
    expected_return = load("games").bridge_return
    assert expected_return(greedy(policies)) == pytest.approx(OPTIMUM, abs=1e-4)
    assert expected_return(policies) > -2
