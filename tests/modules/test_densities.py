"""Estimates of the behaviour's action distributions: they are distributions, and they find known ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch as th
from torch import Tensor

from modules.behaviour import REGISTRY
from modules.behaviour.base_density import BaseDensity

N_AGENTS, OBS, ACTIONS = 2, 3, 2


def make(kind: str, n_actions: int = ACTIONS) -> BaseDensity:
    args: dict[str, Any] = {"n_agents": N_AGENTS, "n_actions": n_actions, "hidden_dim": 16}
    bounds = {"action_low": [-1.0, -2.0][:n_actions], "action_high": [1.0, 4.0][:n_actions], "device": "cpu"}
    th.manual_seed(0)
    return REGISTRY[kind]({"obs": {"vshape": OBS}}, SimpleNamespace(**args, **bounds))


def fit(density: BaseDensity, sample: Any, steps: int) -> None:
    optimiser = th.optim.Adam(density.parameters(), lr=0.01)
    for _ in range(steps):
        obs, actions = sample()
        available = th.ones(len(obs), N_AGENTS, actions.shape[-1])
        loss = -density.log_prob(obs, actions.unsqueeze(1), available).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def test_a_mixture_integrates_to_one() -> None:
    density = make("mixture")
    axis = th.linspace(-12, 12, 301)
    unit = th.cartesian_prod(axis, axis)  # (K, 2), in half ranges about the centre
    actions = th.tensor([0.0, 1.0]) + unit * th.tensor([1.0, 3.0])  # (K, 2)
    obs = th.randn(4, N_AGENTS, OBS)
    rows = actions[None, :, None].expand(4, -1, N_AGENTS, -1)
    density_values = density.log_prob(obs, rows, th.ones(4, N_AGENTS, 2)).exp()  # (4, K, N), per unit area
    area = density_values.sum(1) * float(axis[1] - axis[0]) ** 2
    th.testing.assert_close(area, th.ones(4, N_AGENTS), rtol=1e-3, atol=1e-3)


def test_probabilities_sum_to_one_over_available_actions() -> None:
    density = make("categorical", n_actions=4)
    obs, available = th.randn(5, N_AGENTS, OBS), th.tensor([1.0, 0.0, 1.0, 1.0]).expand(5, N_AGENTS, 4)
    every = th.eye(4)[None, :, None].expand(5, 4, N_AGENTS, 4)
    log_prob = density.log_prob(obs, every, available)  # (5, 4, N)
    th.testing.assert_close(log_prob.exp().sum(1), th.ones(5, N_AGENTS))
    assert (log_prob[:, 1] < -1e9).all()


def test_a_dimension_that_an_agent_lacks_does_not_count() -> None:
    density = make("mixture")
    obs, actions = th.randn(6, N_AGENTS, OBS), th.randn(6, 1, N_AGENTS, 2)
    available = th.ones(6, N_AGENTS, 2)
    available[:, 0, 1] = 0
    moved = actions.clone()
    moved[..., 1] += 1.0
    before, after = density.log_prob(obs, actions, available), density.log_prob(obs, moved, available)
    th.testing.assert_close(before[..., 0], after[..., 0])
    assert (before[..., 1] != after[..., 1]).all()


def test_a_mixture_finds_two_modes_that_depend_on_the_observation() -> None:
    """Agent 0 acts at +-0.6 of its range, agent 1 at its observation's sign: the log-densities are known."""
    density = make("mixture", n_actions=1)
    generator = th.Generator().manual_seed(1)

    def sample() -> tuple[Tensor, Tensor]:
        obs = th.randn(256, N_AGENTS, OBS, generator=generator)
        coin = th.randint(2, (256,), generator=generator) * 2.0 - 1
        actions = th.stack([0.6 * coin, 0.5 * obs[:, 1, 0].sign()], dim=1)
        return obs, (actions + 0.2 * th.randn(256, N_AGENTS, generator=generator)).unsqueeze(-1)

    fit(density, sample, 600)
    obs = th.zeros(2, N_AGENTS, OBS)
    obs[0, 1, 0], obs[1, 1, 0] = 1.0, -1.0
    actions = th.tensor([0.6, -0.6, 0.0, 0.5])[None, :, None, None].expand(2, 4, N_AGENTS, 1)
    found = density.log_prob(obs, actions, th.ones(2, N_AGENTS, 1))  # (2, K, N)
    normal = th.distributions.Normal(0.0, 0.2)
    two = (
        th.stack([normal.log_prob(actions[0, :, 0, 0] - mode) for mode in (0.6, -0.6)]).logsumexp(0)
        - th.tensor(2).log()
    )
    th.testing.assert_close(found[0, :3, 0], two[:3], rtol=0, atol=0.4)
    assert abs(found[0, 3, 1] - normal.log_prob(th.tensor(0.0))) < 0.4  # where its behaviour is
    assert found[1, 3, 1] < found[0, 3, 1] - 3  # and where it is not


def test_frequencies_are_found() -> None:
    density = make("categorical", n_actions=3)
    generator = th.Generator().manual_seed(1)
    shares = th.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])  # by agent

    def sample() -> tuple[Tensor, Tensor]:
        drawn = th.multinomial(shares, 256, replacement=True, generator=generator).T  # (256, N)
        obs = th.randn(256, N_AGENTS, OBS, generator=generator)
        return obs, th.nn.functional.one_hot(drawn, 3).float()

    fit(density, sample, 400)
    every = th.eye(3)[None, :, None].expand(1, 3, N_AGENTS, 3)
    found = density.log_prob(th.zeros(1, N_AGENTS, OBS), every, th.ones(1, N_AGENTS, 3))[0].exp().T  # (N, A)
    th.testing.assert_close(found, shares, rtol=0, atol=0.08)


@pytest.mark.parametrize("kind", sorted(REGISTRY))
def test_a_row_without_any_action_is_finite(kind: str) -> None:
    density = make(kind)
    log_prob = density.log_prob(th.zeros(1, N_AGENTS, OBS), th.zeros(1, 1, N_AGENTS, 2), th.zeros(1, N_AGENTS, 2))
    assert th.isfinite(log_prob).all()
