"""ICQ: softmaxes, targets and losses against plain loops; what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from tests.learners.learner_tester import F64, N_AGENTS, make_batch, make_learner
from utils.errors import ConfigError

ROWS, STEPS = 6, 4


def case(discrete: bool = False, **updates: Any) -> tuple[Any, EpisodeBatch]:
    """A float64 learner whose targets differ from its networks; one episode ends, one is cut, one action is unknown."""
    keys = {"value_temperature": 0.5, "policy_temperature": 0.2, "td_lambda": 0.6, **updates}
    learner = make_learner("icq", dtype=F64, discrete=discrete, final_init=1.0, **keys)
    th.manual_seed(11)
    with th.no_grad():
        for name, parameter in learner.named_parameters():
            if name.startswith("target_"):
                parameter.add_(0.1 * th.randn_like(parameter))
    batch = make_batch(learner.args, rows=ROWS, steps=STEPS, dtype=F64)
    batch["terminated"][1, 1] = 1
    batch["filled"][2, 2:] = 0  # cut after two steps, of which the second
    batch["next_action_valid"][2, 1] = 0  # has no next action
    batch["next_action_valid"][4, 1] = 0
    return learner, batch


def total(learner: Any, batch: EpisodeBatch, t: int, prefix: str) -> Tensor:
    """sum_i k_i(s) q_i + b(s) of the logged actions of step t, q_i the smallest of four critics': (B,)."""
    q = getattr(learner, f"{prefix}q").taken(batch["obs"][:, t], batch["actions_onehot"][:, t]).amin(0)  # (B, N)
    mixer, state = getattr(learner, f"{prefix}mixer"), learner.normaliser(batch["state"][:, t])
    sums: Tensor = (mixer.hyper_w_final(state).abs() * q).sum(-1) + mixer.hyper_b_final(state).squeeze(-1)
    return sums.detach()


def valid(row: int, t: int) -> bool:
    """Whether there is a transition."""
    return not (row == 1 and t == 2) and not (row == 2 and t == 2)


def known(row: int, t: int) -> bool:
    """Whether its next action is logged."""
    return (row, t) not in ((2, 1), (4, 1))


def ends(row: int, t: int) -> bool:
    return (row, t) == (1, 1)


@pytest.mark.parametrize("discrete", [False, True])
def test_the_critics_target_is_a_softmax_over_the_batch_times_its_size(discrete: bool) -> None:
    learner, batch = case(discrete)
    args = learner.args
    after = th.stack([total(learner, batch, t + 1, "target_") for t in range(STEPS - 1)], dim=1)  # (B, T-1)
    pairs = [(b, t) for b in range(ROWS) for t in range(STEPS - 1)]
    members = [(b, t) for b, t in pairs if valid(b, t) and known(b, t) and not ends(b, t)]
    assert len(members) == 18 - 2 - 2 - 1
    exponentials = {pair: math.exp(float(after[pair]) / args.value_temperature) for pair in members}
    weight = {pair: len(members) * value / sum(exponentials.values()) for pair, value in exponentials.items()}
    assert max(weight.values()) > 1.5 and min(weight.values()) < 0.7

    def target(b: int, t: int) -> float:
        reward = float(batch["reward"][b, t, 0])
        if ends(b, t):
            return reward
        value = weight[b, t] * float(after[b, t])
        longer = t + 1 < STEPS - 1 and valid(b, t + 1) and (known(b, t + 1) or ends(b, t + 1))
        later = target(b, t + 1) if longer else value
        return reward + args.gamma * ((1 - args.td_lambda) * value + args.td_lambda * later)

    taken = th.stack([total(learner, batch, t, "") for t in range(STEPS - 1)], dim=1)
    learned = [(b, t) for b, t in pairs if valid(b, t) and (known(b, t) or ends(b, t))]
    errors = [(float(taken[b, t]) - target(b, t)) ** 2 for b, t in learned]
    n_valid = sum(valid(b, t) for b, t in pairs)
    assert learner("q", batch, {})[0].item() == pytest.approx(sum(errors) / n_valid, rel=1e-9)


@pytest.mark.parametrize("discrete", [False, True])
def test_the_policies_weights_are_a_softmax_over_the_batch_times_its_size(discrete: bool) -> None:
    learner, batch = case(discrete, policy_temperature=0.02)
    outputs = learner.unroll(learner.mac, batch, slice(None, -1)).flatten(0, 1).detach()  # (R, N, A)
    obs, actions = (batch[key][:, :-1].flatten(0, 1) for key in ("obs", "actions_onehot"))
    if discrete:
        own = (learner.q(obs).amin(0) * outputs.transpose(1, 2)).sum(1)  # (R, N), outputs are probabilities
    else:
        low, high = th.tensor([-1.0, -2.0]), th.tensor([1.0, 3.0])
        own = learner.q.taken(obs, low + (outputs.tanh() + 1) * (high - low) / 2).amin(0)
    weights = learner.mixer.hyper_w_final(learner.normaliser(batch["state"][:, :-1].flatten(0, 1))).abs()
    z = (weights * (learner.q.taken(obs, actions).amin(0) - own) / 0.02).detach()  # (R, N)
    rows = [b * (STEPS - 1) + t for b in range(ROWS) for t in range(STEPS - 1) if valid(b, t)]
    cost = learner.imitation(outputs.unflatten(0, (ROWS, -1)), batch)  # (R, N)
    loss = 0.0
    for agent in range(N_AGENTS):
        exponentials = [math.exp(float(z[row, agent])) for row in rows]
        for row, value in zip(rows, exponentials, strict=True):
            loss += len(rows) * value / sum(exponentials) * cost[row, agent].item()
    assert learner("actor", batch, {})[0].item() == pytest.approx(loss / len(rows) / N_AGENTS, rel=1e-6)
    stats = learner("actor", batch, {})[1]
    assert float(stats["weight"][rows].mean()) == pytest.approx(1.0)
    assert float(stats["weight_square"][rows].mean()) > 1.02


def test_one_value_is_learned_whose_smaller_twin_counts() -> None:
    """The gradient reaches a critic only where its value is the smaller one, agent by agent."""
    learner, batch = case(ensemble_size=2)
    with th.no_grad():
        learner.q.fc3.bias[1] += 100.0  # one of two networks, for agents share theirs
    learner("q", batch, {})[0].backward()
    used = learner.q.fc3.weight.grad.abs().flatten(1).sum(-1)
    assert len(used) == 2 and used[0] > 0 and used[1] == 0


def test_a_batch_of_last_steps_has_finite_losses() -> None:
    """No next value at all: the rewards are the targets."""
    learner, batch = case()
    batch = batch[:, :2]
    batch["terminated"][:, 0] = 1
    expected = (total(learner, batch, 0, "") - batch["reward"][:, 0, 0]).square().mean()
    th.testing.assert_close(learner("q", batch, {})[0], expected)


def test_what_is_no_transition_cannot_spoil_the_losses() -> None:
    """Values of padding may be huge; exp of them would be infinite, and infinity times 0 is no number."""
    learner, batch = case(value_temperature=1e-3, policy_temperature=1e-3)
    before = [learner(name, batch, {})[0] for name in ("q", "actor")]
    batch["obs"][2, 3] = batch["obs"][1, 2:] = 1e4
    for loss, other in zip(before, (learner(name, batch, {})[0] for name in ("q", "actor")), strict=True):
        assert loss.isfinite() and th.equal(loss, other)


@pytest.mark.parametrize(
    ("updates", "sentence"),
    [
        ({"mixer": "vdn"}, "^mixer=vdn: choose one of monotone$"),
        ({"mixer_layers": 2}, "^mixer_layers=2: icq_learner needs one weight per agent; set mixer_layers=1$"),
        ({"common_reward": False}, "^mixer=monotone needs one team reward: set common_reward=True$"),
        (
            {"agent_output_type": "tanh_gaussian"},
            "^agent_output_type=tanh_gaussian: for continuous actions icq_learner needs mean$",
        ),
    ],
)
def test_what_it_cannot_handle_is_refused(updates: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_learner("icq", discrete=False, **updates)
