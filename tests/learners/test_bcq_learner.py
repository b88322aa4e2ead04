"""BCQ: never an action outside the data's support; its losses against plain loops; what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from controllers.one_pass import to_policy
from learners.losses import EVERY, NEXT, NOW
from modules.agents.bcq_ns_agent import NOT_ALLOWED, ROWS_AT_ONCE
from tests.learners.learner_tester import F64, N_AGENTS, OBS, make_batch, make_learner
from tests.learners.test_own_bounds import OWN, padded
from tests.theory import in_sample
from tests.theory.dice import Problem, transitions
from tests.theory.in_sample import N_ACTIONS, N_STATES, incomplete_problem, own_in_sample_values
from tests.theory.tabular import marginals
from tests.theory.tabular_learner import make_rows, minimise
from utils.errors import ConfigError

STATES = th.eye(N_STATES, dtype=F64)


def tabular(problem: Problem, **config: Any) -> tuple[Any, EpisodeBatch]:
    """A learner of discrete actions on a process whose data lack actions, and the batch of all that the data hold."""
    sizes = {"n_agents": 2, "n_actions": N_ACTIONS, "state_shape": N_STATES, "gamma": problem.mdp.gamma}
    fixed = {"input_norm": "none", "grad_norm_clip": 1e9, "mixer": None}
    learner = make_learner("bcq", dtype=F64, discrete=True, **{**sizes, **fixed, **config})
    rows = transitions(problem)
    batch = make_rows(
        learner,
        states=np.stack([rows.state, rows.next_state], axis=1),
        actions=np.stack(np.unravel_index(rows.action, (N_ACTIONS,) * 2), axis=1),
        reward=rows.reward,
        first=rows.state,
        weight=rows.weight,
    )
    return learner, batch


def greedy(learner: Any) -> Tensor:
    """What the controller plays in every state in evaluations, one-hot, (N, S, A)."""
    every = make_rows(learner, np.stack([np.arange(N_STATES)] * 2, 1), np.zeros((N_STATES, 2), int),
                      np.zeros(N_STATES), np.arange(N_STATES), np.ones(N_STATES))  # fmt: skip
    learner.mac.init_hidden(N_STATES)
    chosen = learner.mac.select_actions(every, 0, 0, test_mode=True)  # (S, N)
    return nn.functional.one_hot(chosen, N_ACTIONS).transpose(0, 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_action_outside_the_support_is_played_or_valued(seed: int) -> None:
    """The behaviour's model learned, values drawn at random: what was not logged is neither chosen nor looked at."""
    problem = incomplete_problem(seed, additive=False)
    logged = th.from_numpy(marginals(problem.behaviour, 2) > 0)  # (N, S, A)
    assert not logged[0, 0, 0] and not logged[1, 1, 1]
    learner, batch = tabular(problem, behaviour_lr=0.02, behaviour_threshold=0.1, hidden_dim=16)
    for _ in range(150):
        learner.update(0, batch)
    seen = learner.agent.see(STATES.unsqueeze(1).expand(-1, 2, -1))  # (N, S, S)
    assert not (learner.agent.allowed(seen) & ~logged).any()
    outside = 0
    for draw in range(20):
        th.manual_seed(draw)
        for network in (learner.agent, learner.target_agent):
            for parameter in network.q.parameters():
                parameter.data.normal_()
        assert not (greedy(learner) & ~logged).any()
        learner.args.behaviour_threshold = 0.0  # control: plain Q-learning plays what nobody logged
        outside += int((greedy(learner) & ~logged).sum())
        learner.args.behaviour_threshold = 0.1
    assert outside > 10
    before = learner("q", batch, {})[0]
    for network in (learner.agent, learner.target_agent):
        network.q[0] = Lifted(network.q[0], ~logged)
    assert th.equal(greedy(learner).bool() & ~logged, th.zeros_like(logged))
    th.testing.assert_close(learner("q", batch, {})[0], before, rtol=1e-12, atol=0)
    learner.args.behaviour_threshold = 0.0
    assert learner("q", batch, {})[0] > 100 * before


class Lifted(nn.Module):
    """Values with 1e4 added to actions that nobody logged, (N, S, A) bool."""

    def __init__(self, network: nn.Module, where: Tensor) -> None:
        super().__init__()
        self.network, self.where = network, where

    def forward(self, seen: Tensor) -> Tensor:
        added = th.einsum("nrs,nsa->nra", seen, self.where.to(F64))
        values: Tensor = self.network(seen) + 1e4 * added
        return values


class Table(nn.Module):
    """Numbers per agent, state and action in a network's place, (N, S, A)."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, seen: Tensor) -> Tensor:
        return th.einsum("nrs,nsa->nra", seen, self.table)


@pytest.mark.parametrize("seed", [1])
def test_values_are_those_of_the_best_logged_actions(seed: int) -> None:
    """An exact model and a small threshold: each agent's fixed point is value iteration over its logged actions."""
    problem = incomplete_problem(seed, additive=False)
    learner, batch = tabular(problem, behaviour_threshold=1e-6)
    shares = th.from_numpy(marginals(problem.behaviour, 2))  # (N, S, A)
    learner.agent.behaviour[0] = Table(shares.clamp_min(1e-30).log())
    for network in (learner.agent, learner.target_agent):
        network.q[0] = Table(th.zeros(2, N_STATES, N_ACTIONS, dtype=F64))
    for _ in range(10):
        minimise(learner, batch, "q", "q")
        learner.target_agent.q.load_state_dict(learner.agent.q.state_dict())
    found = learner.q[0].table.detach().masked_fill(shares == 0, -th.inf).amax(-1)  # (N, S)
    for agent in range(2):
        np.testing.assert_allclose(found[agent].numpy(), own_in_sample_values(problem, agent), atol=1e-4)
    assert np.abs(found[0].numpy() - in_sample.optimal_values(problem)).max() > 0.05


def test_the_threshold_goes_from_q_learning_to_the_likeliest_action() -> None:
    learner = make_learner("bcq", dtype=F64, discrete=True, n_actions=5, hidden_dim=16)
    seen = learner.agent.see(th.randn(50, N_AGENTS, OBS, dtype=F64))  # (N, R, O)
    share = learner.behaviour[0](seen).softmax(-1)
    share = share / share.amax(-1, keepdim=True)
    for threshold in (0.0, 0.4, 0.9, 1.0):
        learner.args.behaviour_threshold = threshold
        assert th.equal(learner.agent.allowed(seen), share >= threshold)
    assert (learner.agent.allowed(seen).sum(-1) == 1).all()
    learner.args.behaviour_threshold = 0.4
    can = th.ones(N_AGENTS, 50, 5, dtype=th.int)
    can[..., 2] = 0
    allowed = learner.agent.allowed(seen, can)
    assert not allowed[..., 2].any() and allowed.any(-1).all()  # the likeliest of those there are counts


def case(discrete: bool, **updates: Any) -> tuple[Any, EpisodeBatch, dict[str, Tensor]]:
    """A float64 learner whose targets differ from its networks; one episode ends, one is cut."""
    learner = make_learner("bcq", dtype=F64, discrete=discrete, **updates)
    th.manual_seed(3)
    for parameter in (*learner.target_agent.parameters(), *learner.target_mixer.parameters()):
        parameter.data.add_(0.1 * th.randn_like(parameter))
    batch = make_batch(learner.args, steps=3, dtype=F64)
    batch["terminated"][1, 0] = 1
    batch["filled"][2, 1:] = 0
    return learner, batch, {key: value.double() for key, value in learner.noise("q", batch).items()}


def mixed(mixer: Any, values: list[Tensor], state: Tensor) -> Tensor:
    """sum_i k_i(s) q_i + b(s) of one row."""
    weights, bias = mixer.hyper_w_final(state).abs(), mixer.hyper_b_final(state)
    return (weights * th.stack(values)).sum() + bias.squeeze()


@pytest.mark.parametrize("discrete", [False, True])
def test_the_critics_loss_row_by_row(discrete: bool) -> None:
    learner, batch, noise = case(discrete, behaviour_threshold=0.99, target_candidates=4)
    agent, target, args = learner.agent, learner.target_agent, learner.args
    losses = []
    for b in range(6):
        for t in range(2):
            if (b, t) in ((1, 1), (2, 1)):
                continue
            here, there = (agent.see(batch["obs"][b, step].unsqueeze(0)) for step in (t, t + 1))  # (N, 1, O)
            if discrete:
                probability = agent.behaviour[0](there).softmax(-1).squeeze(1)  # (N, A)
                can = probability >= 0.99 * probability.amax(-1, keepdim=True)
                best = agent.q[0](there).squeeze(1).masked_fill(~can, -1e9).argmax(-1)
                after = [target.q[0](there)[i, 0, best[i]] for i in range(N_AGENTS)]
                logged = batch["actions"][b, t, :, 0]
                taken = [[agent.q[0](here)[i, 0, logged[i]] for i in range(N_AGENTS)]]
            else:
                low, high = th.tensor([-1.0, -2.0], dtype=F64), th.tensor([1.0, 3.0], dtype=F64)
                unit = (2 * (batch["actions"][b, t] - low) / (high - low) - 1)[:, None, None]  # (N, 1, 1, A)
                taken = [list(agent.values(j, here, unit).flatten()) for j in range(2)]
                after = []
                for i in range(N_AGENTS):
                    values = []
                    for latent in noise["latents"][b, t, :, i]:  # (L,)
                        alike = latent.expand(N_AGENTS, 1, 1, -1)
                        action = target.perturb(there, agent.decode(there, alike))
                        both = [target.values(j, there, action)[i].item() for j in range(2)]
                        values.append(0.75 * min(both) + 0.25 * max(both))
                    after.append(th.tensor(max(values), dtype=F64))
            states = [learner.normaliser(batch["state"][b, step]) for step in (t, t + 1)]
            future = 0.0 if (b, t) == (1, 0) else float(mixed(learner.target_mixer, after, states[1]))
            y = float(batch["reward"][b, t]) + args.gamma * future
            losses.append(sum((mixed(learner.mixer, values, states[0]).item() - y) ** 2 for values in taken))
    assert learner("q", batch, noise)[0].item() == pytest.approx(sum(losses) / len(losses), rel=1e-9)


def test_behaviour_losses() -> None:
    learner, batch, _ = case(True)
    log_mu = learner.behaviour[0](learner.agent.see(batch["obs"][:, NOW].flatten(0, 1))).log_softmax(-1)  # (N, R, A)
    taken = -log_mu.transpose(0, 1).gather(-1, batch["actions"][:, NOW].flatten(0, 1)).squeeze(-1)  # (R, N)
    valid = [row for row in range(12) if row not in (3, 5)]
    th.testing.assert_close(learner("behaviour", batch, {})[0], taken[valid].mean())
    learner, batch, _ = case(False)
    noise = {key: value.double() for key, value in learner.noise("behaviour", batch).items()}
    agent, seen = learner.agent, learner.agent.see(batch["obs"][:, NOW].flatten(0, 1))  # (N, R, O)
    mean, log_std = agent.encode(seen, learner.logged(batch))
    density = th.distributions.Normal(mean, log_std.exp())
    kl = th.distributions.kl_divergence(density, th.distributions.Normal(0.0, 1.0)).mean(-1)  # (N, R)
    latents = mean + log_std.exp() * noise["latents"].flatten(0, 1)[:, 0].transpose(0, 1)
    error = (agent.decode(seen, latents.unsqueeze(2)).squeeze(2) - learner.logged(batch)).square().mean(-1)
    expected = (error + 0.5 * kl).mean(0)[valid].mean()
    th.testing.assert_close(learner("behaviour", batch, noise)[0], expected, rtol=1e-9, atol=0)


# -- continuous actions ------------------------------------------------------------------------------------------------

CENTRES = th.tensor([[[-0.8], [0.7]], [[0.2], [-0.5]], [[0.6], [0.0]], [[-0.3], [0.9]]], dtype=F64)  # (S, N, 1)
SPREAD = 0.1


def logged_near_centres(learner: Any, seed: int) -> EpisodeBatch:
    """States one-hot, in each of which an agent's action is its centre there, more or less."""
    generator = th.Generator().manual_seed(seed)
    batch = make_batch(learner.args, rows=64, seed=seed, dtype=F64)
    state = th.randint(N_STATES, (64, 2), generator=generator)
    batch["obs"][:] = STATES[state].unsqueeze(2)
    noise = 2 * th.rand(64, 2, 2, 1, generator=generator, dtype=F64) - 1
    for key in ("actions", "actions_onehot"):
        batch[key][:] = (CENTRES[state] + SPREAD * noise).clamp(-1, 1)
    return batch


def test_continuous_actions_stay_near_the_data_whatever_the_values_say() -> None:
    """Decoded actions are the state's own: a decoder that is used otherwise than it was trained would miss them."""
    sizes = {"n_agents": 2, "n_actions": 1, "state_shape": 8, "action_low": [-1.0], "action_high": [1.0]}
    learner = make_learner(
        "bcq", dtype=F64, discrete=False, input_norm="none", hidden_dim=32, behaviour_lr=0.01, **sizes
    )
    for step in range(400):
        step_behaviour(learner, logged_near_centres(learner, step))
    seen = learner.agent.see(STATES.unsqueeze(1).expand(-1, 2, -1))  # (N, S, S)

    def farthest() -> float:
        with th.no_grad():
            played = learner.agent.best_candidate(seen).tanh().transpose(0, 1)  # (S, N, A)
        return float((played - CENTRES).abs().max())

    worst = 0.0
    for draw in range(10):
        th.manual_seed(draw)
        for parameter in (*learner.q.parameters(), *learner.perturbation.parameters()):
            parameter.data.normal_()
        worst = max(worst, farthest())
    reach = learner.args.perturbation_reach
    assert worst < SPREAD + reach + 0.1
    learner.args.perturbation_reach = 2.0  # control: changes without bound leave the data
    assert farthest() > 0.6


def step_behaviour(learner: Any, batch: EpisodeBatch) -> None:
    """One update of the behaviour's model, in float64."""
    noise = {key: value.double() for key, value in learner.noise("behaviour", batch).items()}
    loss = learner("behaviour", batch, noise)[0]
    parameters = list(learner.behaviour.parameters())
    for parameter, gradient in zip(parameters, th.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    learner.optimisers["behaviour"].step()


def test_changes_are_small_and_inside_the_bounds_and_of_own_dimensions() -> None:
    learner = make_learner("bcq", dtype=F64, discrete=False, **OWN)
    for parameter in learner.agent.parameters():
        parameter.data.mul_(20)
    batch = padded(make_batch(learner.args, rows=50, dtype=F64))
    seen = learner.agent.see(batch["obs"][:, 0])  # (N, R, O)
    decoded = learner.agent.decode(seen, th.randn(2, 50, 7, 4, dtype=F64))
    changed = learner.agent.perturb(seen, decoded)
    assert (changed - decoded).abs().max() <= 0.05 + 1e-12 and changed.abs().max() <= 1
    assert (changed - decoded).abs().max() > 0.049 and changed.abs().max() == 1
    assert (changed[0, ..., 1] == 0).all() and (learner.logged(batch)[0, ..., 1] == 0).all()
    assert learner.logged(batch).abs().max() <= 1


def test_the_perturbation_climbs_its_own_agents_first_critic() -> None:
    learner, batch, _ = case(False)
    noise = {key: value.double() for key, value in learner.noise("actor", batch).items()}
    seen = learner.agent.see(batch["obs"][:, NOW].flatten(0, 1))
    latents = noise["latents"].flatten(0, 1).permute(2, 0, 1, 3)
    assert latents.abs().max() == 0.5
    value = learner.agent.values(0, seen, learner.agent.perturb(seen, learner.agent.decode(seen, latents)))
    valid = [row for row in range(12) if row not in (3, 5)]
    th.testing.assert_close(learner("actor", batch, noise)[0], -value[:, valid].mean())


@pytest.mark.parametrize("discrete", [False, True])
def test_one_agents_networks_alone_play_its_part(discrete: bool) -> None:
    learner, batch, _ = case(discrete)
    obs = batch["obs"][:, NEXT].flatten(0, 1)  # (R, N, O)
    together = learner.agent(obs.flatten(0, 1), None)[0].view(-1, N_AGENTS, 2)
    for index in range(N_AGENTS):
        alone = learner.agent.alone(index)(obs[:, index], None)[0]
        th.testing.assert_close(alone, together[:, index])


# -- agents that remember ----------------------------------------------------------------------------------------------

MEMORY: dict[str, Any] = {"agent": "bcq_rnn_ns", "hidden_dim": 8}


@pytest.mark.parametrize("rows", [1, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 5])
def test_many_observations_are_taken_in_parts(rows: int) -> None:
    agent = make_learner("bcq", dtype=F64).agent
    seen = th.randn(N_AGENTS, rows, OBS, dtype=F64)
    candidates, values = agent.candidates(seen)
    chosen = candidates.gather(2, values.argmax(-1)[..., None, None].expand(-1, -1, 1, candidates.shape[-1]))
    th.testing.assert_close(agent.best_candidate(seen).tanh(), chosen.squeeze(2))


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


@pytest.mark.parametrize(
    ("updates", "sentence"),
    [
        ({"agent": "mlp_ns"}, "^bcq_learner needs agents that hold its networks: set agent=bcq_ns, .*, not mlp_ns$"),
        ({"agent": "rnn_ns"}, "^bcq_learner needs agents .*, or for discrete actions bcq_rnn_ns, .*, not rnn_ns$"),
        (
            {"agent": "bcq_rnn_ns"},
            "^agent=bcq_rnn_ns is for discrete actions, .* no memory: set agent=bcq_ns window=1$",
        ),
        ({"obs_last_action": True}, "set obs_last_action=False obs_agent_id=False$"),
        ({"learner": "bc_learner"}, "^agent=bcq_ns is BCQ's: use --config=bcq$"),
        ({"common_reward": False}, "^mixer=monotone needs one team reward: set common_reward=True$"),
    ],
)
def test_what_it_cannot_handle_is_refused(updates: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_learner("bcq", discrete=False, **updates)
