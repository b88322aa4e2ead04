"""AlberDICE in games whose answers are known: what its policies are expected to earn, exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch as th

from datasets.sources.bridge import generate_bridge
from datasets.sources.xor import generate_xor
from envs.bridge import bridge_tables
from loops.offline import OfflineTraining
from tests.learners.test_comadice_games import earned, probabilities, trained
from tests.test_benchmarks import load
from utils.config import CONFIG, read_yaml

TUNED = CONFIG / "tuned" / "alberdice"
BRIDGE_KEYS = read_yaml(TUNED / "bridge" / "mix.yaml")
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


CASES = [(names, seed) for names in ("AB,BA", "AB", "AA,AB,BA", "random") for seed in range(3)]
SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in CASES[1:]]


@pytest.mark.parametrize(("names", "seed"), [CASES[0], *SLOW])
def test_xor_is_solved(names: str, seed: int, tmp_path: Path) -> None:
    """Also where the data hold both modes, of which factored cloning earns 0, and where they hold the worst pair."""
    generate_xor(names, tmp_path / "xor.h5", episodes=60)
    keys = read_yaml(TUNED / "matrix_game" / "xor" / f"{names.lower().replace(',', '-')}.yaml")
    policies = probabilities(trained(tmp_path, "alberdice", "matrix_game", tmp_path / "xor.h5", **keys, seed=seed))
    assert earned(policies) >= 0.99


@pytest.mark.slow
def test_bridges_optimum_is_reached_from_the_mix(tmp_path: Path) -> None:
    """Greedily, and nearly so by sampled actions: the agents agree on who yields."""
    generate_bridge("mix", tmp_path / "mix.h5", episodes=1000)
    policies = bridge_policies(trained(tmp_path, "alberdice", "bridge", tmp_path / "mix.h5", **BRIDGE_KEYS))
    expected_return = load("games").bridge_return
    assert expected_return(greedy(policies)) == pytest.approx(OPTIMUM, abs=1e-4)
    assert expected_return(policies) > -2
