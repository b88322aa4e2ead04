"""What a policy's run has learned to explore with, and what its folder may hold instead of a policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

from deployment.loaded import LoadedPolicy, load_policy
from modules.policies.noisy_policy import NoisyPolicy
from tests.deployment.made import description, make_run
from utils.description import write_description
from utils.errors import CheckpointError

KIND: dict[str, Any] = {"agent": "mlp_ns", "agent_output_type": "mean", "action_selector": "gaussian",
                        "exploration_noise": 0.01}  # fmt: skip


def spread(policy: LoadedPolicy) -> np.ndarray:
    """The standard deviation of sampled actions, in half action ranges, (N, A)."""
    obs = np.zeros((4000, 3, 18))
    assert policy.action_low is not None and policy.action_high is not None
    half = (policy.action_high - policy.action_low) / 2
    found: np.ndarray = (policy.act(obs, sample=True) - policy.act(obs)).std(0) / half
    return found


def test_sampled_actions_have_the_noise_that_training_learned(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", **KIND)
    first = load_policy(folder)
    assert np.allclose(spread(first), 0.01, rtol=0.1), "a checkpoint of agent.th alone"
    learned = NoisyPolicy(first.args, initial_std=0.1)
    with th.no_grad():
        learned.log_std[1] += th.tensor(1.5).log()
    th.save(learned.state_dict(), folder / "10" / "policy.th")
    policy = load_policy(folder)
    assert np.allclose(spread(policy), [[0.1], [0.15], [0.1]], rtol=0.1)
    assert np.array_equal(policy.act(np.zeros((3, 18))), first.act(np.zeros((3, 18))))
    th.save({"log_std": th.zeros(2, 2)}, folder / "10" / "policy.th")
    with pytest.raises(CheckpointError, match="does not fit this run"):
        load_policy(folder)


def test_a_run_that_valued_a_policy_of_other_sizes_points_to_it(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", agent="mlp_ns")
    write_description(folder, description(agent="mlp_ns", hidden_dim=32, policy_path="results/models/mine"))
    with pytest.raises(CheckpointError, match="only valued the policy of results/models/mine.*give that path"):
        load_policy(folder)
