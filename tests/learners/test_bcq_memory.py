"""BCQ's agents that remember: losses of histories, and what is played, against torch's own GRU cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from controllers.one_pass import to_policy
from learners.losses import EVERY
from modules.agents.bcq_ns_agent import NOT_ALLOWED
from tests.learners.learner_tester import F64, N_AGENTS, make_batch, make_learner

MEMORY: dict[str, Any] = {"agent": "bcq_rnn_ns", "hidden_dim": 8}


def remembering(steps: int = 5, **updates: Any) -> tuple[Any, EpisodeBatch]:
    """A float64 learner with memories whose targets differ from its networks; one episode ends, one is cut."""
    learner = make_learner("bcq", dtype=F64, discrete=True, **MEMORY, **updates)
    th.manual_seed(3)
    for parameter in learner.target_agent.parameters():
        parameter.data.add_(0.1 * th.randn_like(parameter))
    batch = make_batch(learner.args, steps=steps, dtype=F64)
    batch["terminated"][1, 1] = 1
    batch["filled"][1:3, 2:] = 0
    return learner, batch


def by_cells(agent: Any, network: Any, obs: Tensor) -> Tensor:
    """What the network says of histories of observations, (B, T, N, O) -> (B, T, N, A), by torch's own GRU cells."""
    outputs = th.zeros(*obs.shape[:3], agent.args.n_actions, dtype=F64)
    for i in range(N_AGENTS):
        cell = nn.GRUCell(8, 8, dtype=F64)
        cell.weight_ih.data, cell.weight_hh.data = network.seen.weight[i].T, network.kept.weight[i].T
        cell.bias_ih.data, cell.bias_hh.data = network.seen.bias[i, 0], network.kept.bias[i, 0]
        hidden = th.zeros(len(obs), 8, dtype=F64)
        for t in range(obs.shape[1]):
            seen = agent.normaliser(obs[:, t])[:, i]  # (B, O)
            hidden = cell(th.relu(seen @ network.fc1.weight[i] + network.fc1.bias[i, 0]), hidden)
            outputs[:, t, i] = hidden @ network.fc2.weight[i] + network.fc2.bias[i, 0]
    return outputs


def test_losses_of_histories_row_by_row() -> None:
    """The behaviour's model, the allowed actions and both values are of histories, each by a memory of its own."""
    learner, batch = remembering(mixer=None, behaviour_threshold=0.99)
    agent, target, obs = learner.agent, learner.target_agent, batch["obs"]
    log_mu = by_cells(agent, agent.behaviour[0], obs).log_softmax(-1)  # (B, T, N, A)
    values, judged = by_cells(agent, agent.q[0], obs), by_cells(target, target.q[0], obs)
    surprises, errors, masked = [], [], 0
    for b in range(6):
        for t in range({1: 2, 2: 2}.get(b, 4)):
            for i in range(N_AGENTS):
                logged = batch["actions"][b, t, i, 0]
                surprises.append(-log_mu[b, t, i, logged])
                allowed = log_mu[b, t + 1, i] >= log_mu[b, t + 1, i].max() + np.log(0.99)
                best = values[b, t + 1, i].masked_fill(~allowed, -1e9).argmax()
                masked += int(best != values[b, t + 1, i].argmax())
                after = 0.0 if (b, t) == (1, 1) else learner.args.gamma * judged[b, t + 1, i, best]
                errors.append((values[b, t, i, logged] - batch["reward"][b, t, 0] - after) ** 2)
    assert masked
    th.testing.assert_close(learner("behaviour", batch, {})[0], th.stack(surprises).mean())
    th.testing.assert_close(learner("q", batch, {})[0], th.stack(errors).mean())


def test_what_is_played_is_what_is_learned_of_histories() -> None:
    """The controller's step by step: q of allowed actions, NOT_ALLOWED of others; one agent's networks alone too."""
    learner, batch = remembering(behaviour_threshold=0.9)
    with th.no_grad():
        values, logits = (learner.over_time(learner.agent, name, batch, EVERY) for name in ("q", "behaviour"))
        expected = values.masked_fill(~learner.agent.often(logits), NOT_ALLOWED)  # (N, B*T, A)
        assert (expected == NOT_ALLOWED).any() and (expected != NOT_ALLOWED).any(-1).all()
        expected = expected.unflatten(1, (6, 5)).permute(1, 2, 0, 3)  # (B, T, N, A)
        learner.mac.init_hidden(6)
        outputs = learner.unroll(learner.mac, batch, EVERY)
        th.testing.assert_close(outputs, probabilities(learner, expected, batch))
        for i in range(N_AGENTS):
            alone = learner.agent.alone(i)
            hidden = alone.init_hidden()
            for t in range(5):
                single, hidden = alone(batch["obs"][:, t, i], hidden)
                th.testing.assert_close(single, expected[:, t, i])
    shuffled = batch["obs"].clone()
    shuffled[:, 0] = shuffled[:, 0].flip(0)  # another past
    batch.data.transition_data["obs"] = shuffled
    assert not th.allclose(learner.over_time(learner.agent, "q", batch, EVERY), values)


def probabilities(learner: Any, outputs: Tensor, batch: EpisodeBatch) -> Tensor:
    """Outputs as controllers hand them on."""
    return to_policy(learner.mac, outputs, batch["avail_actions"])


def test_no_gradient_comes_through_rows_that_warm_the_memory_up() -> None:
    learner, batch = remembering(steps=6)
    batch["filled"][:], batch["terminated"][:] = 1, 0
    batch.scheme["learned"] = {"vshape": (1,)}
    batch.data.transition_data["learned"] = th.tensor([0, 0, 0, 1, 1, 0], dtype=F64).view(1, 6, 1).repeat(6, 1, 1)
    batch["obs"].requires_grad_()
    for name in ("behaviour", "q"):
        (gradient,) = th.autograd.grad(learner(name, batch, {})[0], batch["obs"])
        assert not gradient[:, :3].any() and gradient[:, 3:5].abs().sum((-2, -1)).min() > 0
    loss = learner("behaviour", batch, {})[0].detach()
    batch.data.transition_data["obs"] = batch["obs"].detach().clone()
    batch["obs"][:, 0] += 1
    assert not th.allclose(learner("behaviour", batch, {})[0], loss)  # but the memory holds them


def test_only_a_memory_tells_behaviours_apart_that_differ_in_the_past() -> None:
    """The logged action is what was seen one step before: the model learns it, without memory it cannot."""
    found = {}
    for agent in ("bcq_ns", "bcq_rnn_ns"):
        learner = make_learner(
            "bcq", discrete=True, agent=agent, hidden_dim=16, behaviour_lr=0.02, mixer=None, input_norm="none"
        )
        batch = make_batch(learner.args, rows=32, steps=4)
        batch["obs"][:] = batch["obs"].sign()
        taken = (batch["obs"][:, :-1, :, :1] > 0).long()  # (B, T-1, N, 1)
        batch["actions"][:, 1:] = taken
        batch["actions_onehot"][:, 1:] = nn.functional.one_hot(taken.squeeze(-1), 2).float()
        batch["filled"][:, 0] = 0  # the first action hangs on nothing that is seen
        for _ in range(80):
            learner.update(0, batch)
        found[agent] = learner("behaviour", batch, {})[0].item()
    assert found["bcq_rnn_ns"] < 0.1 and found["bcq_ns"] > 0.4
