"""AlberDICE's losses for continuous actions written out, its densities, and a game of two modes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch as th
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from components.episode_buffer import EpisodeBatch
from learners.turn_actions import normal_points
from modules.behaviour.mixture_density import LARGEST_STD, N_COMPONENTS, SMALLEST_STD
from tests.learners.learner_tester import F64, N_AGENTS, make_batch, make_learner, train

ROWS, DIMENSIONS = 6, 2
LOW, HIGH = th.tensor([-1.0, -2.0], dtype=F64), th.tensor([1.0, 3.0], dtype=F64)  # of the shared tester's actions


def case(**updates: Any) -> tuple[Any, EpisodeBatch]:
    """A float64 learner of three agents and a batch in which one row ends."""
    keys = {"discrete": False, "final_init": 0.2, "alpha_start": 0.7} | updates
    learner = make_learner("alberdice", dtype=F64, **keys)
    learner.agent.fc3.bias.data[..., DIMENSIONS:] += 0.4  # policies about as wide as what is logged
    batch = make_batch(learner.args, rows=ROWS, dtype=F64)
    batch["terminated"][1, 0] = 1
    return learner, batch


def outputs_of(learner: Any, batch: EpisodeBatch) -> Tensor:
    """Means and widths before tanh, (B, N, 2A), of the batch's first step."""
    learner.mac.init_hidden(batch.batch_size)
    outputs: Tensor = learner.mac.forward(batch, 0)
    return outputs.view(batch.batch_size, N_AGENTS, -1)


def unit(actions: Tensor) -> Tensor:
    """Actions (..., A) in half ranges from the middle."""
    return (actions - (LOW + HIGH) / 2) / ((HIGH - LOW) / 2)


def given(learner: Any, i: int, batch: EpisodeBatch, actions: Tensor) -> list[MixtureSameFamily]:
    """pi^D_j(. | s, a_i, a_<j) of the others in order, over actions in half ranges; actions (B, N, A)."""
    model = learner.behaviour.given[i]
    outputs = model.outputs(batch["state"][:, 0], unit(actions))  # (B, N-1, M (1 + 2A))
    found = []
    for one in outputs.unbind(1):
        logits, means, widths = one.split([N_COMPONENTS, N_COMPONENTS * DIMENSIONS, N_COMPONENTS * DIMENSIONS], -1)
        std = SMALLEST_STD * (LARGEST_STD / SMALLEST_STD) ** widths.sigmoid()
        shape = (ROWS, N_COMPONENTS, DIMENSIONS)
        parts = Independent(Normal(means.reshape(shape), std.reshape(shape)), 1)
        found.append(MixtureSameFamily(Categorical(logits=logits), parts))
    return found


def kwargs_of(learner: Any, name: str, batch: EpisodeBatch) -> tuple[Any, dict[str, Tensor], dict[str, Tensor]]:
    """A loss's function, noise in float64 and context."""
    noise = {key: value.double() for key, value in learner.noise(name, batch).items()}
    return getattr(learner, f"{name}_loss"), noise, learner.batch_context(name, batch)


@pytest.mark.parametrize("i", range(N_AGENTS))
def test_a_response_written_out(i: int) -> None:
    """Ratios of densities, the others' divergence over the points, and the penalty by uniform actions."""
    learner, batch = case(largest_ratio=3.0, gradient_penalty=0.0, conservative=0.2)
    alpha, gamma, others = 0.7, learner.args.gamma, [j for j in range(N_AGENTS) if j != i]
    state, after, logged = batch["state"][:, 0], batch["state"][:, 1], batch["actions_onehot"][:, 0]
    outputs, has = outputs_of(learner, batch).detach(), batch["avail_actions"][:, 0]
    log_ratio, divergence = th.zeros(ROWS, dtype=F64), th.zeros(ROWS, dtype=F64)
    for j, density in zip(others, given(learner, i, batch, logged), strict=True):
        log_ratio += learner.policy.log_prob(outputs[:, j], logged[:, j], has[:, j])
        log_ratio -= density.log_prob(unit(logged[:, j])).detach()
        chosen = [learner.policy.sample(outputs[:, j], has[:, j], point.expand(ROWS, -1)) for point in learner.points]
        log_mu = th.stack([density.log_prob(unit(actions)).detach() for actions in chosen]).mean(0)
        divergence -= learner.policy.entropy(outputs[:, j], has[:, j]) + log_mu
    assert log_ratio.abs().max() > math.log(3) > log_ratio.abs().min()
    ratio = log_ratio.clamp(-math.log(3), math.log(3)).exp()
    nu, alive = getattr(learner, f"value_{i}"), 1 - batch["terminated"][:, 0, 0].double()
    e = batch["reward"][:, 0, 0] - alpha * divergence + gamma * alive * nu(after)[0] - nu(state)[0]  # (B,)
    n_after = gamma / (1 - gamma)  # steps in the state after the one end, in which e is 0
    z = ((ratio * (e / alpha).exp()).sum() + n_after) / (ROWS + n_after)
    loss, noise, context = kwargs_of(learner, f"response_{i}", batch)
    network = getattr(learner, f"advantage_{i}")
    tried = LOW + (HIGH - LOW) * noise["uniform"][:, 0, :, i]  # (B, K, A)
    own, rare = (network.joint(state, actions.unsqueeze(2))[0] for actions in (logged[:, [i]], tried))
    fit = (ratio * (own[:, 0] - e.detach()).square()).sum() / ratio.sum()
    penalty = (rare.exp().mean(-1).log() - own[:, 0]).mean()
    expected = (1 - gamma) * nu(state)[0].mean() + alpha * z.log() + fit + 0.2 * penalty
    parameters = [*nu.parameters(), *network.parameters()]
    found, _ = loss(batch, noise, context)
    near = {"rtol": 1e-5, "atol": 1e-6}  # alpha comes as float32
    th.testing.assert_close(found, expected, **near)
    th.testing.assert_close(th.autograd.grad(found, parameters), th.autograd.grad(expected, parameters), **near)


@pytest.mark.parametrize("i", range(N_AGENTS))
def test_an_actors_loss_written_out(i: int) -> None:
    """alpha KL(pi_i, pi^D_i) - E[e_i], by the actions that the noise draws; its gradient goes through them."""
    learner, batch = case()
    loss, noise, context = kwargs_of(learner, f"actor_{i}", batch)
    outputs, has = outputs_of(learner, batch), batch["avail_actions"][:, 0]
    mean, log_std = learner.policy.mean_and_log_std(outputs[:, i])
    total = -learner.policy.entropy(outputs[:, i], has[:, i])  # (B,)
    gain = th.zeros(ROWS, dtype=F64)
    for drawn in noise["own"][:, 0, :, i].unbind(1):  # (B, A) each
        actions = LOW + (HIGH - LOW) * ((mean + log_std.exp() * drawn).tanh() + 1) / 2
        everyone = actions.unsqueeze(1).expand(-1, N_AGENTS, -1)
        log_mu = learner.behaviour.alone.log_prob(batch["obs"][:, 0], everyone.unsqueeze(1), has)[:, 0, i]
        total = total - log_mu / len(noise["own"][0, 0])
        gain = gain + getattr(learner, f"advantage_{i}")(batch["state"][:, 0], actions.unsqueeze(1))[0] / len(
            noise["own"][0, 0]
        )
    expected = (0.7 * total - gain).mean()
    found, stats = loss(batch, noise, context)
    th.testing.assert_close(found, expected)
    th.testing.assert_close(stats[f"divergence_{i}"], total.detach())
    parameters = list(learner.agent.parameters())
    th.testing.assert_close(th.autograd.grad(found, parameters), th.autograd.grad(expected, parameters))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_the_points_stand_for_a_gaussian(dimensions: int) -> None:
    """Exactly for squares; nearly for other functions, of two dimensions together too."""
    points = normal_points(64, dimensions).double()
    th.testing.assert_close(points.mean(0), th.zeros(dimensions, dtype=F64), atol=1e-6, rtol=0)
    th.testing.assert_close(points.square().mean(0), th.ones(dimensions, dtype=F64))
    th.testing.assert_close(points.cos().mean(0), th.full((dimensions,), math.exp(-0.5), dtype=F64), atol=0.02, rtol=0)
    for j in range(1, dimensions):
        both = (points[:, 0] + points[:, j]).cos().mean()
        assert both == pytest.approx(math.exp(-1), abs=0.05)


def test_the_others_divergence_is_that_of_a_fine_grid() -> None:
    """Of one dimension: KL(pi_j, pi^D_j) by 20 000 quantiles of the policy."""
    keys: dict[str, Any] = {"n_actions": 1, "action_low": [-1.0], "action_high": [1.0], "n_agents": 2, "state_shape": 8}
    learner = make_learner("alberdice", dtype=F64, discrete=False, final_init=1.0, divergence_points=64, **keys)
    batch = make_batch(learner.args, dtype=F64)
    learner.mac.init_hidden(6)
    outputs = learner.mac.forward(batch, 0).detach().view(6, 2, 2)
    mean, log_std = learner.policy.mean_and_log_std(outputs[:, 1])  # (B, 1) each
    z = th.special.ndtri((th.arange(20_000, dtype=F64) + 0.5) / 20_000)  # (K,)
    x = mean + log_std.exp() * z  # (B, K)
    log_pi = -0.5 * z.square() - log_std - 0.5 * math.log(2 * math.pi) - (1 - x.tanh().square()).log()  # (B, K)
    state, logged, has = batch["state"][:, 0], batch["actions_onehot"][:, 0], batch["avail_actions"][:, 0]
    at = x.tanh()[..., None, None].expand(-1, -1, 2, -1)  # (B, K, N, A)
    log_mu = learner.behaviour.of_others(0, state, logged, has, at)[..., 0]  # (B, K)
    exact = (log_pi - log_mu).mean(-1).detach()
    _, divergence = learner.environment(0, batch)
    assert exact.max() - exact.min() > 0.5
    th.testing.assert_close(divergence, exact, atol=0.03, rtol=0.02)


@pytest.mark.parametrize("i", range(N_AGENTS))
def test_the_behaviour_of_the_others_looks_back_only(i: int) -> None:
    """A density of the others' actions, of which an agent's own and later ones do not matter and i's does."""
    learner, batch = case()
    others, own, has = [j for j in range(N_AGENTS) if j != i], batch["actions_onehot"][:, 0], batch["avail_actions"]
    arguments = (batch["state"][:, 0],)

    def found(actions: Tensor) -> Tensor:
        at = own.unsqueeze(1)  # (B, 1, N, A)
        log_mu: Tensor = learner.behaviour.of_others(i, *arguments, actions, has[:, 0], at)[:, 0]
        return log_mu  # (B, N-1)

    before = found(own)
    for j, density, log_mu in zip(others, given(learner, i, batch, own), before.unbind(1), strict=True):
        th.testing.assert_close(log_mu, density.log_prob(unit(own[:, j])))
    changed = own.clone()
    changed[:, others[-1]] += 0.5
    assert th.equal(before, found(changed))  # the last one is seen by nobody
    changed = own.clone()
    changed[:, others[0]] += 0.5
    after = found(changed)
    assert th.equal(before[:, 0], after[:, 0]) and not th.allclose(before[:, 1], after[:, 1])
    changed = own.clone()
    changed[:, i] += 0.5
    assert not th.isclose(before, found(changed)).any()


def test_a_turn_moves_one_policy() -> None:
    learner = make_learner("alberdice", discrete=False)
    train(learner, 0, 2)
    for index, spec in enumerate(learner.LOSSES):
        if spec.name.startswith("actor"):
            i, before = int(spec.name[-1]), [value.detach().clone() for value in learner.agent.parameters()]
            learner.update(index, make_batch(learner.args))
            for value, old in zip(learner.agent.parameters(), before, strict=True):
                assert (value == old).flatten(1).all(1).tolist() == [j != i for j in range(N_AGENTS)]


def test_gradients_do_not_depend_on_chunks() -> None:
    learner, batch = case(conservative=0.2)
    state = learner.generator.get_state()
    for spec in learner.LOSSES:
        found = []
        for chunk in (None, 4):
            learner.args.loss_chunk = chunk
            learner.generator.set_state(state)
            found.append(learner.gradients(spec, batch, False)[:2])
        th.testing.assert_close(found[0], found[1])


# -- a game of two modes -----------------------------------------------------------------------------------------------

MODES, WIDTH = ((0.7, -0.7), (-0.7, 0.7)), 0.25
GAME: dict[str, Any] = {
    "n_agents": 2, "n_actions": 1, "state_shape": 8, "action_low": [-1.0], "action_high": [1.0], "hidden_dim": 16,
    "input_norm": "none", "discrete": False,
}  # fmt: skip
KEYS: dict[str, Any] = {
    "gamma": 0.5, "value_lr": 0.01, "behaviour_lr": 0.03, "actor_lr": 0.03, "alpha_start": 0.1, "alpha_finish": 0.02,
    "alpha_anneal_time": 75, "gradient_penalty": 0.0, "conservative": 0.0, "final_init": 0.5,
}  # fmt: skip


def paid(actions: Tensor) -> Tensor:
    """1 at the two modes, (0.7, -0.7) and (-0.7, 0.7), about 0 elsewhere: (..., 2) -> (...)."""
    distance = (actions.unsqueeze(-2) - th.tensor(MODES)).square().sum(-1)  # (..., 2)
    return (-distance / (2 * WIDTH**2)).exp().sum(-1)


def game_batch(args: Any, seed: int) -> EpisodeBatch:
    """One state; actions near one of the modes, either as often."""
    generator = th.Generator().manual_seed(seed)
    batch = make_batch(args, rows=64)
    batch["obs"][:], batch["state"][:] = 1.0, 1.0
    centre = th.tensor(MODES)[th.randint(2, (64,), generator=generator)]  # (B, 2)
    actions = (centre + 0.1 * th.randn(64, 2, generator=generator)).clamp(-1, 1)
    for key in ("actions", "actions_onehot"):
        batch[key][:, 0, :, 0] = actions
    batch["reward"][:, 0, 0] = paid(actions)
    return batch


def earned(alg: str, updates: int, **keys: Any) -> float:
    """What the greedy actions are paid after training on the game."""
    learner = make_learner(alg, **GAME, **keys)
    batches = [game_batch(learner.args, seed) for seed in range(8)]
    for step in range(updates):
        learner.train(batches[step % 8], step + 1, 0)
    learner.mac.init_hidden(64)
    return float(paid(learner.mac.select_actions(batches[0], 0, 0, test_mode=True)[0, :, 0]))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
def test_agents_agree_on_one_of_two_modes(seed: int) -> None:
    """Cloning, which each agent does alone, ends between them, where nothing is paid."""
    cloned = {"agent_output_type": "tanh_gaussian", "action_selector": "tanh_gaussian_policy", "actor_lr": 0.03}
    assert earned("bc", 100, seed=seed, **cloned) < 0.1
    # after 150 updates some seeds are at a mode and some are not, by how the processor rounds
    assert earned("alberdice", 300, seed=seed, **KEYS) > 0.9
