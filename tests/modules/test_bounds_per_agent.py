"""Policies and densities with a row of bounds per agent: each agent's part is that of its bounds alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch as th
from torch import Tensor, nn
from torch.func import vmap

from modules.behaviour import REGISTRY as density_REGISTRY
from modules.layers.squash import half_range
from modules.policies import REGISTRY
from tests.modules.policy_samples import CONTINUOUS, F64, outputs_of, random, uniform

N, A = 2, 3
LOW = [[-1.0, 0.5, 0.0], [-3.0, 1.0, 7.0]]  # agent 0 lacks the last dimension; the second of agent 1 is one number
HIGH = [[2.0, 0.75, 0.0], [6.0, 1.0, 7.5]]
HAS = th.tensor([[1, 1, 0], [1, 1, 1]], dtype=th.int)
LEADS: tuple[tuple[int, ...], ...] = ((), (1,), (2,), (5,), (2, 2), (4, 2, 3))  # 2 and 3 are also N and A


def make(kind: str, low: Any = LOW, high: Any = HIGH) -> Any:
    args = SimpleNamespace(n_actions=A, action_low=low, action_high=high, device="cpu")
    policy = REGISTRY[kind](args)
    if kind == "mean":
        policy.noise_std, policy.noise_clip = 0.7, 0.9
    return policy.to(F64)


def inputs(kind: str, lead: tuple[int, ...]) -> dict[str, tuple[Tensor, ...]]:
    """Arguments of a policy's methods for the leading dimensions `lead`."""
    available = HAS.expand(*lead, N, A)
    outputs = outputs_of(kind, available, scale=2.0)
    inside = (th.tensor(LOW) + uniform(*lead, N, A) * (th.tensor(HIGH) - th.tensor(LOW))) * available
    return {
        "mode": (outputs, available),
        "sample": (outputs, available, random(*lead, N, A, seed=1)),
        "log_prob": (outputs, inside, available),
        "entropy": (outputs, available),
        "uniform": (uniform(*lead, N, A),),
        "clip": (10 * random(*lead, N, A, seed=2), available),
    }


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("kind", CONTINUOUS)
def test_each_agent_has_the_policy_of_its_own_bounds(kind: str, lead: tuple[int, ...]) -> None:
    policy, alone = make(kind), [make(kind, LOW[i], HIGH[i]) for i in range(N)]
    axis = len(lead)  # of the agents
    for name, arguments in inputs(kind, lead).items():
        ours = getattr(policy, name)(*arguments)
        assert th.isfinite(ours).all(), name
        for agent in range(N):
            theirs = getattr(alone[agent], name)(*(argument.select(axis, agent) for argument in arguments))
            assert th.equal(ours.select(axis, agent), theirs), name


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_lanes_and_counterfactual_samples_keep_the_agents_axis(kind: str) -> None:
    policy, lanes = make(kind), 2
    for name, arguments in inputs(kind, (lanes, 5)).items():
        mapped = vmap(getattr(policy, name))(*arguments)
        assert th.equal(mapped, getattr(policy, name)(*arguments)), name
    noise = policy.cover_noise((3, 2, N), 4, th.Generator().manual_seed(0))  # of B, T', N and K = 4
    available = HAS.expand(6, N, A)
    cover = policy.cover(random(6, N, A), available, {key: value.to(F64) for key, value in noise.items()})
    assert cover.shape == (6, 4, N, A)
    low, high = policy.low, policy.high
    assert ((cover >= low) & (cover <= high)).all()
    assert (cover.amax((0, 1)) - cover.amin((0, 1)) > 0.7 * (high - low))[high > low].all()


@pytest.mark.parametrize("kind", CONTINUOUS)
@pytest.mark.parametrize("shape", [(A,), (1, A), (6, A), (N, 1, A), (N, 5, A)])
def test_rows_that_are_no_agents_are_refused(kind: str, shape: tuple[int, ...]) -> None:
    """Flattened rows (B * N, A), one agent alone, and agents on another axis."""
    policy, available = make(kind), th.ones(shape)
    outputs = outputs_of(kind, available)
    for call in (
        lambda: policy.mode(outputs, available),
        lambda: policy.sample(outputs, available, th.zeros(shape, dtype=F64)),
        lambda: policy.log_prob(outputs, th.zeros(shape, dtype=F64), available),
        lambda: policy.uniform(th.zeros(shape, dtype=F64)),
        lambda: policy.clip(th.zeros(shape, dtype=F64), available),
    ):
        with pytest.raises(ValueError, match=r"must end in \(agents, dimensions\) \(2, 3\)"):
            call()


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_bounds_that_coincide_have_finite_gradients(kind: str) -> None:
    """A dimension that an agent lacks has the bounds 0 and 0; availability need not be stored for it."""
    policy = make(kind)
    outputs = outputs_of(kind, th.ones(4, N, A), scale=3.0).requires_grad_()
    available, actions = th.ones(4, N, A), policy.uniform(uniform(4, N, A))
    policy.log_prob(outputs, actions, available).sum().backward()
    (gradient,) = th.autograd.grad(policy.mode(outputs, available).sum(), outputs)
    assert outputs.grad is not None and th.isfinite(outputs.grad).all() and th.isfinite(gradient).all()
    assert (half_range(policy.low, policy.high) > 0).all()
    assert (policy.sample(outputs, available, random(4, N, A))[:, 0, 2] == 0).all()


def test_a_mixture_judges_each_agents_actions_in_its_own_half_ranges() -> None:
    def density(low: Any, high: Any) -> Any:
        keys = {"n_agents": N, "n_actions": A, "hidden_dim": 8, "device": "cpu", "action_low": low, "action_high": high}
        th.manual_seed(0)
        return density_REGISTRY["mixture"]({"obs": {"vshape": 4}}, SimpleNamespace(**keys))

    ours = density(LOW, HIGH)
    obs, has = th.randn(2, N, 4), HAS.expand(2, N, A)
    actions = (th.tensor(LOW) + th.rand(2, 3, N, A) * (th.tensor(HIGH) - th.tensor(LOW))) * HAS  # (R, K, N, A)
    log_mu = ours.log_prob(obs, actions, has)  # (R, K, N)
    assert th.isfinite(log_mu).all() and not ours.state_dict().keys() & {"centre", "half_range"}
    for agent in range(N):
        assert th.equal(log_mu[..., agent], density(LOW[agent], HIGH[agent]).log_prob(obs, actions, has)[..., agent])
    log_mu.sum().backward()
    assert all(th.isfinite(parameter.grad).all() for parameter in ours.parameters() if parameter.grad is not None)


def test_weights_of_before_load_whatever_the_bounds() -> None:
    """Bounds are no part of a checkpoint."""
    for kind in CONTINUOUS:
        module = nn.ModuleDict({"policy": make(kind)})
        module.load_state_dict(nn.ModuleDict({"policy": make(kind, LOW[0], HIGH[0])}).state_dict())
        assert module["policy"].low.shape == (N, A)
