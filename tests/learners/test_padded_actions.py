"""Action dimensions that an agent lacks (padding to the widest): the data hold 0 there, and so do the learners."""

from __future__ import annotations

from typing import Any

import pytest
import torch as th
from torch import Tensor

from tests.learners.learner_tester import F64, make_batch, make_learner

AGENT, DIMENSION = 0, 1  # what is missing
CASES: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("spacql", {"cql_penalty": "policy"}, ("critic", "actor")),
    ("spacql", {"cql_penalty": "logsumexp"}, ("critic", "actor")),
    ("spacql", {"cql_penalty": "logsumexp_policies"}, ("critic", "actor")),
    ("matd3", {}, ("critic", "actor")),
    ("matd3_bc", {}, ("critic", "actor")),
    ("macql", {"penalty_samples": "policies"}, ("critic", "actor")),
    ("omar", {"penalty_samples": "policies"}, ("critic", "actor")),
    ("b3c", {}, ("q", "actor")),
    ("bc", {"agent_output_type": "mean"}, ("bc",)),
    ("bc", {"agent_output_type": "gaussian", "action_selector": "gaussian_policy"}, ("bc",)),
    ("implicit_q", {"mixer": "monotone"}, ("value", "q", "actor")),
    ("optdice", {"advantage": "joint"}, ("joint", "value", "actor")),
    ("comadice", {}, ("value", "actor")),
    ("comadice", {"advantage": "joint"}, ("joint", "value", "actor")),
    ("comadice", {"value_loss": "semi_dataset"}, ("q", "value", "actor")),
]


@pytest.mark.parametrize(("alg", "updates", "losses"), CASES)
def test_losses_do_not_depend_on_what_policies_say_there(
    alg: str, updates: dict[str, Any], losses: tuple[str, ...]
) -> None:
    learner = make_learner(alg, discrete=False, dtype=F64, **updates)
    batch = make_batch(learner.args, dtype=F64)
    batch["avail_actions"][:, :, AGENT, DIMENSION] = 0
    for key in ("actions", "actions_onehot"):
        batch[key][:, :, AGENT, DIMENSION] = 0
    noise = {
        name: {k: v.double() if v.is_floating_point() else v for k, v in learner.noise(name, batch).items()}
        for name in losses
    }

    def values(dimension: int, shift: float) -> list[Tensor]:
        with th.no_grad():
            for agent in (learner.agent, getattr(learner, "target_agent", learner.agent)):
                agent.fc3.bias[AGENT, 0, dimension] += shift
        return [learner(name, batch, noise[name])[0].detach() for name in losses]

    plain = values(DIMENSION, 0.0)
    for before, after in zip(plain, values(DIMENSION, 0.7), strict=True):
        assert th.allclose(before, after, rtol=0, atol=1e-12)
    assert any(not th.allclose(a, b) for a, b in zip(plain, values(1 - DIMENSION, 0.7), strict=True))
