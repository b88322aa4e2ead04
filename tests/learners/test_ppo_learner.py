"""PPO's policy and losses written out step by step, and what makes it on-policy."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch as th
from scipy.stats import norm
from torch import Tensor

from components.action_selectors import GaussianActionSelector
from learners.advantages import advantages
from learners.losses import transition_mask
from learners.ppo_learner import LEAST_STD
from loops.checks import check_on_policy
from modules.layers.orthogonal import matrices, orthogonal_
from modules.layers.stacked_linear import StackedLinear
from modules.policies.noisy_policy import NoisyPolicy
from tests.learners.learner_tester import F64, N_AGENTS, make_batch, make_learner
from utils.errors import ConfigError

# -- the policy --------------------------------------------------------------------------------------------------------


def noisy(std: float = 0.5) -> NoisyPolicy:
    bounds = {"action_low": [-1.0, -2.0], "action_high": [1.0, 4.0]}
    return NoisyPolicy(SimpleNamespace(n_agents=2, n_actions=2, device="cpu", **bounds), std).double()


def test_log_probabilities_are_densities_inside_and_masses_at_the_bounds() -> None:
    """By scipy, in half action ranges; the density and both masses add up to 1."""
    policy = noisy()
    outputs, available = th.tensor([[[0.3, -0.2], [0.0, 1.0]]], dtype=F64), th.ones(1, 2, 2)
    actions = th.tensor([[[0.1, -2.0], [1.0, 3.0]]], dtype=F64)  # inside, low; high, inside
    mean = np.tanh([[0.3, -0.2], [0.0, 1.0]])
    unit = [[0.1, -1.0], [1.0, (3.0 - 1.0) / 3.0]]
    first = norm.logpdf(unit[0][0], mean[0][0], 0.5) + norm.logcdf(-1, mean[0][1], 0.5)
    second = norm.logsf(1, mean[1][0], 0.5) + norm.logpdf(unit[1][1], mean[1][1], 0.5)
    found = policy.log_prob(outputs, actions, available)
    np.testing.assert_allclose(found.detach(), [[first, second]], rtol=1e-7)  # log_std was float32
    grid = th.linspace(-1, 1, 20001, dtype=F64)
    only = th.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    acts = th.zeros(len(grid), 2, 2, dtype=F64)
    acts[:, 0, 0] = grid
    density = policy.log_prob(outputs.expand(len(grid), -1, -1), acts, only)[:, 0].exp().detach()
    total = th.trapezoid(density[1:-1], grid[1:-1]) + density[0] + density[-1]
    assert float(total) == pytest.approx(1.0, abs=1e-3)


def test_entropy_is_that_of_the_gaussian_over_the_dimensions_that_an_agent_has() -> None:
    available = th.tensor([[[1.0, 1.0], [1.0, 0.0]]])
    found = noisy(0.3).entropy(th.zeros(1, 2, 2), available).detach()
    own = float(norm.entropy(0, 0.3))
    np.testing.assert_allclose(found, [[2 * own, own]], rtol=1e-6)


def test_the_run_plays_the_noise_that_is_learned() -> None:
    learner = make_learner("mappo", discrete=False)
    selector = learner.mac.action_selector
    assert isinstance(selector, GaussianActionSelector) and selector.noise == pytest.approx(0.6)
    with th.no_grad():
        learner.policy.log_std.fill_(math.log(1e-4))
    batch = make_batch(learner.args)
    played, greedy = (learner.mac.select_actions(batch, 0, 0, test_mode=test) for test in (False, True))
    assert selector.noise == pytest.approx(1e-4) and 0 < float((played - greedy).abs().max()) < 2e-3


# -- the losses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("ratio", ["agent", "team"])
def test_the_actor_loss_is_the_clipped_objective_written_out(ratio: str, discrete: bool) -> None:
    learner = make_learner("mappo", dtype=F64, discrete=discrete, ratio=ratio, entropy_coef=0.01, eps_clip=0.2)
    batch = learner.judged(make_batch(learner.args, dtype=F64))
    with th.no_grad():
        for parameter in learner.agent.parameters():
            parameter.add_(0.3 * th.randn_like(parameter))
    loss, stats = learner.actor_loss(batch, {}, {})
    outputs, have = learner.outputs(batch), batch["avail_actions"][:, 0]
    new = learner.policy.log_prob(outputs, batch["actions_onehot"][:, 0], have).detach().numpy()  # (R, N)
    entropy = learner.policy.entropy(outputs, have).detach().numpy()
    old, advantage = batch["old_log_prob"][:, 0, :, 0].numpy(), batch["advantage"][:, 0, 0].numpy()
    total, clipped = 0.0, 0
    for row in range(len(new)):
        changes = new[row] - old[row]
        ratios = [math.exp(changes.sum())] if ratio == "team" else [math.exp(change) for change in changes]
        gains = [min(rho * advantage[row], min(max(rho, 0.8), 1.2) * advantage[row]) for rho in ratios]
        clipped += sum(abs(rho - 1) > 0.2 for rho in ratios) / len(ratios)
        total -= sum(gains) / len(gains) + 0.01 * entropy[row].mean()
    assert float(loss.detach()) == pytest.approx(total / len(new), rel=1e-9)
    assert float(stats["clip_fraction"].mean()) == pytest.approx(clipped / len(new)) and clipped > 0


def test_at_the_policy_that_played_the_gradient_is_the_plain_policy_gradient() -> None:
    learner = make_learner("mappo", dtype=F64, discrete=False)
    batch = learner.judged(make_batch(learner.args, dtype=F64))
    parameters = list(learner.agent.parameters())
    loss, stats = learner.actor_loss(batch, {}, {})
    got = th.autograd.grad(loss, parameters)
    have = batch["avail_actions"][:, 0]
    log_prob = learner.policy.log_prob(learner.outputs(batch), batch["actions_onehot"][:, 0], have)  # (R, N)
    plain = -(batch["advantage"][:, 0] * log_prob).mean()
    for mine, expected in zip(got, th.autograd.grad(plain, parameters), strict=True):
        th.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-12)
    assert float(stats["approx_kl"].abs().max()) < 1e-12


@pytest.mark.parametrize(("alg", "own"), [("mappo", False), ("ippo", True)])
def test_targets_of_values_are_advantages_plus_values(alg: str, own: bool) -> None:
    learner = make_learner(alg, dtype=F64, discrete=False, scale_rewards=False)
    batch = make_batch(learner.args, steps=4, dtype=F64)
    judged = learner.judged(batch)
    with th.no_grad():
        values = learner.values(batch)
    assert values.shape[-1] == (N_AGENTS if own else 1)
    found = advantages(
        batch["reward"][:, :-1], batch["terminated"][:, :-1], transition_mask(batch), values,
        learner.args.gamma, learner.args.gae_lambda,
    )  # fmt: skip
    th.testing.assert_close(judged["value_target"][:, :-1], found + values[:, :-1])
    loss, _ = learner.critic_loss(judged, {}, {})
    th.testing.assert_close(loss, found.square().mean())


def test_a_central_critic_sees_the_state_and_a_local_one_only_its_agents_observation() -> None:
    batch = make_batch(make_learner("mappo", discrete=False).args)
    for alg, field in (("mappo", "state"), ("ippo", "obs")):
        learner = make_learner(alg, discrete=False)
        before = learner.values(batch)
        changed = make_batch(learner.args)
        changed[field][:, :, ..., -1] += 5.0
        if alg == "ippo":  # of the last agent alone
            changed["obs"][:, :, :-1, -1] -= 5.0
        after = learner.values(changed)
        moved = (after - before).abs().amax((0, 1)) > 1e-6
        assert moved.tolist() == ([True] if alg == "mappo" else [False, False, True])


# -- a rollout ---------------------------------------------------------------------------------------------------------


def test_every_transition_is_in_one_minibatch_of_each_pass() -> None:
    learner = make_learner("mappo", discrete=False, epochs=3, minibatch=4)
    batch = make_batch(learner.args, rows=5, steps=4)
    seen: list[Tensor] = []
    update = learner.update

    def spy(index: int, part: Any) -> None:
        if index == 0:
            seen.append(part["obs"][:, 0])
        update(index, part)

    learner.update = spy
    learner.train(batch, 1, 0)
    assert len(seen) == 3 * 4  # 15 transitions in parts of about 4
    rows = batch["obs"][:, :-1].flatten(0, 1).flatten(1)
    for epoch in range(3):
        passed = th.cat(seen[4 * epoch : 4 * epoch + 4]).flatten(1)
        assert len(passed) == 15 and th.equal(passed.sort(0).values, rows.sort(0).values)
        assert not th.equal(passed, rows)


def test_statistics_change_only_after_the_rollout_was_learned_from() -> None:
    learner = make_learner("mappo", discrete=False)
    first, second = (make_batch(learner.args, steps=4, seed=seed) for seed in (1, 2))
    second["obs"][:] = 3.0 * second["obs"] + 1.0
    learner.train(first, 1, 0)
    judged: list[float] = []
    judge = learner.judged

    def spy(batch: Any) -> Any:
        judged.append(float(learner.agent.normaliser.mean.sum()))
        return judge(batch)

    learner.judged = spy
    before = float(learner.agent.normaliser.mean.sum())
    learner.train(second, 2, 0)
    assert judged == [before] and float(learner.agent.normaliser.mean.sum()) != before
    everything = th.cat([first["obs"], second["obs"]]).flatten(0, 1)  # (K, N, O)
    th.testing.assert_close(learner.agent.normaliser.mean, everything.mean(0), rtol=1e-3, atol=1e-4)
    th.testing.assert_close(learner.agent.normaliser.std, everything.std(0, correction=0), rtol=1e-3, atol=1e-4)
    assert th.equal(learner.critic.normaliser.std, learner.state_ms.var.sqrt().clamp_min(LEAST_STD))


def test_rewards_are_divided_by_the_deviation_of_the_discounted_return() -> None:
    learner = make_learner("mappo", discrete=False, gamma=0.5)
    batch = make_batch(learner.args, steps=5)
    learner.train(batch, 1, 0)
    reward = batch["reward"][:, :-1]
    sums = th.zeros_like(reward)
    for t in range(4):
        sums[:, t] = reward[:, t] + (0.5 * sums[:, t - 1] if t else 0.0)
    th.testing.assert_close(learner.scaled(reward), (reward / sums.std(correction=0)).clamp(-10, 10), rtol=1e-3, atol=0)


def test_weights_start_orthogonal_each_network_by_itself() -> None:
    network = th.nn.Sequential(StackedLinear(3, 8, 8), th.nn.ReLU(), StackedLinear(3, 8, 2))
    orthogonal_(network, 0.01)
    for layer, gain in ((network[0], math.sqrt(2)), (network[2], 0.01)):
        assert not layer.bias.any()
        for weight in matrices(layer):
            size = min(weight.shape)
            product = weight.T @ weight if weight.shape[0] >= weight.shape[1] else weight @ weight.T
            th.testing.assert_close(product, gain**2 * th.eye(size), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("agent", ["mlp_ns", "rnn_ns"])
def test_the_last_layer_of_every_agent_starts_small(agent: str) -> None:
    learner = make_learner("mappo", agent=agent)
    layers = [layer for layer in learner.agent.modules() if isinstance(layer, th.nn.Linear | StackedLinear)]
    last = [weight for layer in layers for weight in matrices(layer) if layer.bias.shape[-1] == learner.args.n_actions]
    assert len(last) == learner.args.n_agents
    for weight in last:
        assert float(th.linalg.matrix_norm(weight.detach(), 2)) == pytest.approx(0.01, rel=1e-4)


def test_a_policy_that_played_is_a_policy_of_the_kind_mean_with_gaussian_noise(tmp_path: Path) -> None:
    """What is collected with elsewhere: weights and statistics in agent.th, the noise by `exploration_noise`."""
    learner = make_learner("mappo", discrete=False)
    learner.train(make_batch(learner.args, steps=4), 1, 0)
    learner.save_models(str(tmp_path))
    other = make_learner("matd3", seed=77)
    other.mac.load_models(str(tmp_path))
    batch = make_batch(learner.args, seed=9)
    greedy = [one.mac.select_actions(batch, 0, 0, test_mode=True) for one in (learner, other)]
    assert th.equal(*greedy) and other.mac.action_selector.noise == pytest.approx(other.args.exploration_noise)


@pytest.mark.parametrize(
    ("alg", "updates", "words"),
    [
        ("mappo", {"action_selector": "deterministic"}, "agent_output_type=mean action_selector=gaussian"),
        ("mappo", {"discrete": True, "action_selector": "epsilon_greedy"}, "pi_logits action_selector=multinomial"),
        ("ippo", {"ratio": "team"}, "ratio=team needs one value for the team"),
        ("mappo", {"ratio": "team", "common_reward": False}, "set common_reward=True critic=central"),
        ("mappo", {"input_norm": "dataset"}, "input_norm=dataset: choose one of none, running"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(alg: str, updates: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_learner(alg, **{"discrete": False, **updates})
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("updates", "words"),
    [
        ({"offline": True}, "learner=ppo_learner learns from what its own policies play"),
        ({"buffer_size": 9}, "batch_size_run=8 episodes, and buffer_size=9; set buffer_size=8"),
        ({"batch_size_run": 4}, "and batch_size=8, buffer_size=8; set batch_size=4 buffer_size=4"),
        ({"window": 1}, "and window=1; set window=None"),
        ({"updates_per_run": 2}, "and updates_per_run=2; set updates_per_run=1"),
    ],
)
def test_only_whole_rollouts_of_its_own_are_learned_from(updates: dict[str, Any], words: str) -> None:
    fine = {"learner": "ppo_learner", "offline": False, "window": None, "updates_per_run": 1}
    fine |= dict.fromkeys(("batch_size", "batch_size_run", "buffer_size"), 8)
    check_on_policy(SimpleNamespace(**fine))
    with pytest.raises(ConfigError) as error:
        check_on_policy(SimpleNamespace(**{**fine, **updates}))
    assert words in str(error.value)
