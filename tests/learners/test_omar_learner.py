"""OMAR: its search on functions known, its losses written out, independent CQL at coefficient 0, what it refuses."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch as th
from torch import Tensor

from learners.cross_entropy_search import search
from learners.losses import NEXT, NOW
from tests.learners.learner_tester import F64, N_AGENTS, make_batch, make_learner, setting
from utils.errors import ConfigError

LOW, HIGH = th.tensor([-1.0, -2.0], dtype=F64), th.tensor([1.0, 3.0], dtype=F64)
HALF, MIDDLE = 0.5 * (HIGH - LOW), 0.5 * (HIGH + LOW)
ELITES = pytest.mark.parametrize("n_elites", [None, 5])


# -- the search --------------------------------------------------------------------------------------------------------


def two_hills(best: Tensor) -> Callable[[Tensor], Tensor]:
    """A broad low hill about (0.6, 0.6) and a high narrow one about `best` (R, 1, N, A)."""

    def value(actions: Tensor) -> Tensor:  # (R, K, N, A) -> (R, K, N)
        broad = -(actions - 0.6).square().sum(-1)
        return th.maximum(broad, 40 - 60 * (actions - best).square().sum(-1))

    return value


@ELITES
def test_the_search_finds_the_maximum_where_a_gradient_does_not(n_elites: int | None) -> None:
    """Every row and agent has its own; from the middle of the low hill a gradient leads to 0."""
    generator = th.Generator().manual_seed(0)
    best = -0.9 + 0.6 * th.rand(7, 1, N_AGENTS, 2, generator=generator, dtype=F64)  # (R, 1, N, A), left and below
    value = two_hills(best)
    noise = th.randn(7, 6, 200, N_AGENTS, 2, generator=generator, dtype=F64)
    found, its_value = search(value, noise, 2.0, n_elites and 20)
    assert (found - best[:, 0]).abs().max() < 0.1 and (its_value > 39).all()
    th.testing.assert_close(its_value, value(found.unsqueeze(1))[:, 0])
    stuck = th.full((7, 1, N_AGENTS, 2), 0.5, dtype=F64, requires_grad=True)
    (slope,) = th.autograd.grad(value(stuck).sum(), stuck)
    assert (slope > 0).all()  # towards 0.6, away from the maximum


@ELITES
def test_the_maximum_may_lie_in_a_corner(n_elites: int | None) -> None:
    noise = th.randn(4, 4, 50, 2, 3, generator=th.Generator().manual_seed(1), dtype=F64)
    found, _ = search(lambda actions: 20 * actions.sum(-1), noise, 2.0, n_elites)
    assert (found > 0.95).all() and (found <= 1).all()


@ELITES
def test_the_search_written_out(n_elites: int | None) -> None:
    """For one row and one agent, draw by draw."""
    noise = th.randn(1, 3, 6, 1, 2, generator=th.Generator().manual_seed(2), dtype=F64)

    def value(actions: Tensor) -> Tensor:
        return (3 * actions).sin().sum(-1)

    mean, spread, kept = th.zeros(2, dtype=F64), th.full((2,), 2.0, dtype=F64), th.zeros(0, 2, dtype=F64)
    for draw in range(3):
        drawn = (mean + spread * noise[0, draw, :, 0]).clamp(-1, 1)  # (K, A)
        pool = th.cat([kept, drawn])
        values = value(pool)
        top = pool[values.argmax()]
        if n_elites is None:
            weights = values.exp() / values.exp().sum()
            mean = (weights[:, None] * drawn).sum(0)
            spread = ((drawn - mean) ** 2).mean(0).sqrt()
        else:
            kept = pool[values.argsort(descending=True)[:n_elites]]
            mean, spread = kept.mean(0), kept.std(0)
    th.testing.assert_close(search(value, noise, 2.0, n_elites)[0][0, 0], top)


# -- the losses --------------------------------------------------------------------------------------------------------


def case(**updates: Any) -> tuple[Any, Any]:
    """A float64 learner whose targets differ from its networks, and a batch in which one row ends."""
    learner, batch, _ = setting(alg="omar", **({"final_init": 0.5, "ensemble_size": 2} | updates))
    batch["terminated"][1, 0] = 1
    return learner, batch


def noise_of(learner: Any, name: str, batch: Any) -> dict[str, Tensor]:
    return {key: value.to(F64) for key, value in learner.noise(name, batch).items()}


def own(learner: Any, mac: Any, batch: Any, steps: slice) -> Tensor:
    """The policies' actions, (R, N, A)."""
    return MIDDLE + HALF * th.tanh(learner.unroll(mac, batch, steps).flatten(0, 1))


def q(critic: Any, obs: Tensor, actions: Tensor, member: int, agent: int) -> Tensor:
    """One agent's value by one member, layer by layer: (R, O), (R, A) -> (R,)."""
    place = member * N_AGENTS + agent
    x = th.cat([critic.normaliser(obs)[:, agent], actions[:, agent]], -1)
    for layer in (critic.fc1, critic.fc2):
        x = (x @ layer.weight[place] + layer.bias[place, 0]).relu()
    return (x @ critic.fc3.weight[place] + critic.fc3.bias[place, 0]).squeeze(-1)


@pytest.mark.parametrize("common_reward", [True, False])
@pytest.mark.parametrize("samples", ["uniform", "policies"])
def test_the_critics_loss_written_out(samples: str, common_reward: bool) -> None:
    learner, batch = case(penalty_samples=samples, n_penalty_samples=3, alpha_cql=0.7, common_reward=common_reward)
    noise = noise_of(learner, "critic", batch)
    if not common_reward:
        batch["reward"][:] += th.arange(3.0, dtype=F64)
    obs, after, logged = batch["obs"][:, 0], batch["obs"][:, 1], batch["actions"][:, 0]
    follow = own(learner, learner.target_mac, batch, NEXT)
    alive = th.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 1.0], dtype=F64)
    expected = th.zeros((), dtype=F64)
    for agent in range(N_AGENTS):
        bootstrap = th.stack([q(learner.target_critic, after, follow, j, agent) for j in range(2)]).amin(0)
        reward = batch["reward"][:, 0, 0 if common_reward else agent]
        target = reward + learner.args.gamma * alive * bootstrap
        for j in range(2):
            terms = []
            for k in range(3):
                action = LOW + noise["uniform"][:, 0, k] * (HIGH - LOW)
                terms.append(q(learner.critic, obs, action, j, agent) + 2 * math.log(2))
                if samples == "policies":
                    for key, steps in (("here", NOW), ("after", NEXT)):
                        z = noise[key][:, 0, k]
                        action = (own(learner, learner.mac, batch, steps) + 0.2 * HALF * z).clamp(LOW, HIGH)
                        density = -0.5 * z[:, agent].square().sum(-1) - 2 * math.log(0.2 * math.sqrt(2 * math.pi))
                        terms.append(q(learner.critic, obs, action, j, agent) - density)
            data = q(learner.critic, obs, logged, j, agent)
            penalty = th.stack(terms).exp().mean(0).log() - data
            expected = expected + ((data - target).square() + 0.7 * penalty).mean()
    th.testing.assert_close(learner("critic", batch, noise)[0], expected)


def plain_actor_loss(learner: Any, batch: Any, coefficient: float, best: Tensor) -> Tensor:
    """-(1 - c) Q + c |pi - best|^2 + penalties, summed over agents; best (R, N, A)."""
    actions = own(learner, learner.mac, batch, NOW)
    total = th.zeros((), dtype=F64)
    for agent in range(N_AGENTS):
        value = q(learner.critic, batch["obs"][:, 0], actions, 0, agent).mean()
        unit = (actions[:, agent] - MIDDLE) / HALF
        distance = ((actions - best)[:, agent] / HALF).square().mean()
        total = total - (1 - coefficient) * value + coefficient * distance + 1e-3 * unit.square().mean()
    return total + 0.01 * learner.unroll(learner.mac, batch, NOW).square().mean()


@pytest.mark.parametrize("coefficient", [1.0, 0.7])
def test_the_policies_loss_written_out(coefficient: float) -> None:
    learner, batch = case(omar_coef=coefficient, search_samples=4)
    noise = noise_of(learner, "actor", batch)
    obs, actions = batch["obs"][:, 0], own(learner, learner.mac, batch, NOW).detach()
    best = actions.clone()
    for agent in range(N_AGENTS):

        def value(unit: Tensor, agent: int = agent) -> Tensor:  # (R, K, 1, A) in [-1, 1] -> (R, K, 1)
            columns = [q(learner.critic, obs, (MIDDLE + HALF * unit[:, k]).expand(-1, N_AGENTS, -1), 0, agent)
                       for k in range(unit.shape[1])]  # fmt: skip
            return th.stack(columns, 1).unsqueeze(-1)

        found, its_value = search(value, noise["search"][:, 0, :, :, agent : agent + 1], 2.0)
        better = its_value[:, 0] > q(learner.critic, obs, actions, 0, agent)
        best[better, agent] = (MIDDLE + HALF * found)[better, 0].detach()
    assert (best != actions).any() and (best == actions).all((1, 2)).sum() < 6
    loss, stats = learner("actor", batch, noise)
    th.testing.assert_close(loss, plain_actor_loss(learner, batch, coefficient, best))
    assert (stats["search_gain"] >= 0).all()


def test_coefficient_0_is_independent_cql() -> None:
    """Whatever the search says: the loss and the gradient are those of a policy that climbs its own agent's Q_1."""
    learner, batch = case(omar_coef=0.0)
    parameters = list(learner.agent.parameters())
    plain = plain_actor_loss(learner, batch, 0.0, th.zeros(6, N_AGENTS, 2, dtype=F64))
    expected = th.autograd.grad(plain, parameters)
    for _ in range(2):
        loss = learner("actor", batch, noise_of(learner, "actor", batch))[0]
        th.testing.assert_close(loss, plain)
        for ours, theirs in zip(th.autograd.grad(loss, parameters), expected, strict=True):
            th.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def judged(hills: Callable[[Tensor], Tensor], obs: Tensor, actions: Tensor, members: int) -> Tensor:
    """In the critics' place, asked for one member: (R, K, N, A) -> (1, R, K, N)."""
    return hills((actions - MIDDLE.float()) / HALF.float()).unsqueeze(0)


@ELITES
def test_policies_reach_the_best_action_of_critics_with_two_hills(n_elites: int | None) -> None:
    """From the low hill, on which independent CQL stays."""
    best = th.tensor([-0.6, -1.0])  # in units of actions; (-0.6, -0.6) of half the range
    hills, ends = two_hills(th.full((1, 1, 1, 2), -0.6)), {}
    for coefficient in (0.0, 1.0):
        learner = make_learner(
            "omar", omar_coef=coefficient, search_elites=n_elites, search_samples=40, final_init=0.003, actor_lr=0.05
        )
        learner.critic.forward = functools.partial(judged, hills)
        with th.no_grad():
            learner.agent.fc3.bias += 0.5
        spec = next(index for index, spec in enumerate(learner.LOSSES) if spec.name == "actor")
        for step in range(40):
            learner.update(spec, make_batch(learner.args, rows=8, seed=step))
        batch = make_batch(learner.args, rows=16, seed=999)
        ends[coefficient] = learner.mac.select_actions(batch, 0, 0, test_mode=True)  # (B, N, A)
    assert (ends[1.0] - best).abs().mean() < 0.15
    assert (ends[0.0] > 0).all()


def test_what_it_cannot_handle_is_refused() -> None:
    with pytest.raises(ConfigError, match="^omar_learner has no policies for discrete actions: choose another"):
        make_learner("omar", agent_output_type="pi_logits", action_selector="multinomial")
    with pytest.raises(ConfigError, match="^search_elites=11: this must be at most search_samples$"):
        make_learner("omar", search_elites=11)
