"""Values of single agents from their own observations."""

from __future__ import annotations

import pytest
import torch as th

from modules.critics.local_critic import LocalCritic
from modules.layers.normaliser import fill_normalisers
from tests.learners.learner_tester import ACTION, F64, N_AGENTS, OBS, make_args

B, T = 5, 4


def make(with_actions: bool, recurrent: bool, discrete: bool, normalise: bool = False) -> LocalCritic:
    args = make_args("comadice", discrete)
    scheme = {"obs": {"vshape": OBS}, "actions": {"dtype": th.long if discrete else th.float32}}
    th.manual_seed(3)
    critic = LocalCritic(scheme, args, with_actions, recurrent)
    if normalise:
        fill_normalisers(critic, {"obs": (th.rand(N_AGENTS, OBS), 1 + th.rand(N_AGENTS, OBS))})
    return critic.to(F64)


def inputs() -> tuple[th.Tensor, th.Tensor]:
    generator = th.Generator().manual_seed(0)
    obs = th.randn(B, T, N_AGENTS, OBS, generator=generator, dtype=F64)
    return obs, th.eye(ACTION, dtype=F64)[th.randint(ACTION, (B, T, N_AGENTS), generator=generator)]


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("with_actions", [False, True])
def test_a_value_depends_on_its_own_agent_and_on_no_later_step(
    with_actions: bool, discrete: bool, recurrent: bool
) -> None:
    critic, (obs, actions) = make(with_actions, recurrent, discrete), inputs()
    obs.requires_grad_()
    values = critic(obs, actions if with_actions else None)
    assert values.shape == (B, T, N_AGENTS)
    (gradient,) = th.autograd.grad(values[:, 2, 1].sum(), obs)  # (B, T, N, O)
    reached = gradient.abs().sum((0, -1)) > 0  # (T, N)
    expected = th.zeros(T, N_AGENTS, dtype=th.bool)
    expected[: 3 if recurrent else 0, 1] = True  # what came before
    expected[2, 1] = True
    assert th.equal(reached, expected)


def test_agents_are_told_apart_and_statistics_are_each_agents_own() -> None:
    critic, (obs, _) = make(False, False, True), inputs()
    same = obs[:, :, :1].expand(-1, -1, N_AGENTS, -1)
    values = critic(same)
    assert (values[..., 0] - values[..., 1]).abs().min() > 1e-6
    scaled = make(False, False, True, normalise=True)
    mean, std = scaled.normaliser.mean, scaled.normaliser.std
    th.testing.assert_close(scaled(obs * std + mean), critic(obs))


@pytest.mark.parametrize("discrete", [False, True])
def test_a_q_reads_the_action_it_is_given(discrete: bool) -> None:
    critic, (obs, actions) = make(True, False, discrete), inputs()
    other = actions.clone()
    other[:, :, 1] = 1 - other[:, :, 1]
    changed = (critic(obs, actions) - critic(obs, other)).abs() > 1e-9
    assert changed[..., 1].all() and not changed[..., [0, 2]].any()
