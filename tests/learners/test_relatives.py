"""CFCQL and ICQL-QS are SPaCQL's code with other values; their files set those and nothing else."""

from __future__ import annotations

import pytest
import torch as th

from learners.losses import NEXT, available
from tests.learners.learner_tester import F64, make_batch, make_learner
from utils.config import algorithm, layered_config

DIFFERENT = {
    "cfcql": {"name": "cfcql", "tuned": "spacql", "partial_replacement": "full", "ensemble_size": 2},
    "icql_qs": {"name": "icql_qs", "tuned": "spacql", "partial_replacement": "average_single", "ensemble_size": 2},
}


@pytest.mark.parametrize("alg", DIFFERENT)
def test_the_files_differ_in_what_defines_them_only(alg: str) -> None:
    assert algorithm(alg) == algorithm("spacql") | DIFFERENT[alg]


@pytest.mark.parametrize("alg", DIFFERENT)
@pytest.mark.parametrize("dataset", ["random", "medium-replay", "medium", "expert"])
def test_values_per_dataset_are_shared(alg: str, dataset: str) -> None:
    updates = {"dataset": f"mpe/simple_spread/{dataset}"}
    assert layered_config(alg, "mpe", updates)["t_max"] == 10005
    assert layered_config(alg, "mpe", updates) == layered_config("spacql", "mpe", updates) | DIFFERENT[alg]


def test_each_file_gives_its_target() -> None:
    """CFCQL: min_j Q_j(s', pi(s')); ICQL-QS: min_j mean_i Q_j(s', a'_-i, pi_i); two critics each."""
    for alg in DIFFERENT:
        learner = make_learner(alg, dtype=F64, ensemble_size=2)
        batch = make_batch(learner.args, dtype=F64)
        noise = {k: v.to(F64) if v.is_floating_point() else v for k, v in learner.noise("critic", batch).items()}
        outputs = learner.outputs(learner.target_mac, batch, NEXT)  # (R, N, A)
        policy = learner.policy.sample(outputs, available(batch, NEXT), noise["next"][:, 0])  # (R, N, A)
        state, logged = batch["state"][:, 1], batch["actions"][:, 1]
        if alg == "cfcql":
            value = learner.target_critic(state, policy)  # (E, R)
        else:
            joint = [logged.clone() for _ in range(learner.n_agents)]
            for i, actions in enumerate(joint):
                actions[:, i] = policy[:, i]
            value = th.stack([learner.target_critic(state, actions) for actions in joint]).mean(0)
        expected = batch["reward"][:, 0, 0] + learner.args.gamma * value.amin(0)
        th.testing.assert_close(learner.target(batch, noise)[0], expected, rtol=0, atol=1e-12)
