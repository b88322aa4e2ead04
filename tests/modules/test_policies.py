"""Every kind of policy: what it may do, its expectations, purity, and how it is chosen."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, kl_divergence
from torch.func import functional_call, vmap

from modules.policies import REGISTRY, build_policy, output_width
from tests.modules.policy_samples import (
    CONTINUOUS,
    DISCRETE,
    EXACT,
    F64,
    GAUSSIANS,
    HALF,
    HIGH,
    KINDS,
    LOW,
    A,
    draw,
    make,
    masks,
    outputs_of,
    random,
)
from utils.errors import ConfigError

# -- where actions lie -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.1, 1.0, 10.0, 300.0]))
def test_actions_are_allowed(kind: str, seed: int, scale: float) -> None:
    """Inside the bounds and 0 where a dimension is missing; one available action where they are discrete."""
    policy, available = make(kind), masks(4, 2, seed=seed)
    if kind == "mean":
        policy.noise_std = 2.0
    outputs = outputs_of(kind, available, seed, scale)
    noise = policy.make_noise((4, 2), th.Generator().manual_seed(seed), "cpu").to(F64)
    for actions in (policy.mode(outputs, available), policy.sample(outputs, available, noise)):
        assert actions.shape == available.shape and actions.dtype == F64
        assert (actions[available == 0] == 0).all()
        if policy.continuous:
            inside = (actions >= LOW - 1e-12) & (actions <= HIGH + 1e-12)
            assert inside[available > 0].all()
        else:
            assert set(actions.unique().tolist()) <= {0.0, 1.0} and (actions.sum(-1) == 1).all()


@pytest.mark.parametrize("kind", DISCRETE)
def test_an_action_of_probability_zero_is_still_an_available_one(kind: str) -> None:
    """Where every available action's probability has vanished in rounding, an unavailable one is no way out."""
    available, outputs = th.tensor([0, 1, 1]), th.tensor([1.0, 0.0, 0.0], dtype=F64)
    assert (draw(make(kind), outputs, available, 20)[:, 0] == 0).all()
    assert make(kind).mode(outputs, available)[0] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_missing_dimensions_and_actions_have_no_influence(kind: str) -> None:
    """Neither outputs nor actions of dimensions that an agent lacks count in densities and entropies."""
    policy, available = make(kind), th.tensor([1, 1, 0])
    outputs = outputs_of(kind, available)
    actions = policy.mode(outputs, available)
    other, other_actions = outputs.clone(), actions.clone()
    if kind != "pi_logits":  # its outputs are 0 there
        other.view(-1, A)[:, 2] += 5.0
    if policy.continuous:
        other_actions[2] = 7.0
    for method, left, right in (
        ("log_prob", (outputs, actions, available), (other, other_actions, available)),
        ("entropy", (outputs, available), (other, available)),
    ):
        assert th.equal(getattr(policy, method)(*left), getattr(policy, method)(*right))
    assert policy.dimensions(available) == (2 if policy.continuous else 1)


# -- expectations over one agent's action ------------------------------------------------------------------------------

R, N, E = 4, 2, 3


def value(actions: Tensor) -> Tensor:
    """Any function of an action, (..., A) -> (...)."""
    return (actions * th.tensor([0.7, -1.3, 2.1], dtype=F64)).sum(-1).sin()


@pytest.mark.parametrize("kind", [*DISCRETE, "mean"])
def test_expectations_equal_brute_force(kind: str) -> None:
    policy, available = make(kind), masks(R, N)
    outputs = policy.read(outputs_of(kind, available), available)
    support = policy.support(outputs, available)  # (R, K, N, A)
    values = th.stack([value(support) * (member + 1) for member in range(E)])  # (E, R, K, N)
    ours = policy.expected(values, outputs)
    assert ours.shape == (E, R, N)
    for row in range(R):
        for agent in range(N):
            if kind == "mean":
                expected = value(policy.mode(outputs[row, agent], available[row, agent]))
            else:
                each = [outputs[row, agent, a] * value(th.eye(A, dtype=F64)[a]) for a in range(A)]
                expected = sum(each[a] for a in range(A) if available[row, agent, a])
            for member in range(E):
                th.testing.assert_close(ours[member, row, agent], expected * (member + 1), **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_cover_holds_every_choice(kind: str) -> None:
    """All discrete actions, or uniform ones inside the bounds; what an agent lacks is marked, or 0."""
    policy, steps, n_samples = make(kind), 2, 500
    available = masks(R * steps, N)
    noise = policy.cover_noise((R, steps, N), n_samples, th.Generator().manual_seed(0))
    assert all(len(value) == R for value in noise.values())  # so that it can be cut into chunks
    noise = {key: value.to(F64) for key, value in noise.items()}
    actions = policy.cover(random(R * steps, N, A), available, noise)  # (R, K, N, A)
    forbidden = policy.forbidden(available)
    if not policy.continuous:
        assert th.equal(actions, th.eye(A, dtype=F64)[None, :, None].expand(R * steps, A, N, A))
        assert forbidden is not None and th.equal(forbidden, (available == 0).transpose(1, 2))
        return
    assert forbidden is None and actions.shape == (R * steps, n_samples, N, A)
    has = available.unsqueeze(1).expand_as(actions) > 0
    assert (actions[~has] == 0).all()
    for dimension in range(A):
        unit = ((actions[..., dimension] - LOW[dimension]) / (2 * HALF[dimension]))[has[..., dimension]]
        counts = unit.histc(10, 0, 1) / len(unit)
        assert unit.min() >= 0 and unit.max() <= 1
        assert (counts - 0.1).abs().max() < 5 * math.sqrt(0.09 / len(unit))


@pytest.mark.parametrize("kind", DISCRETE)
def test_divergence_from_a_behaviour_is_torchs(kind: str) -> None:
    policy, available = make(kind), th.ones(R, N, A, dtype=th.int)
    outputs = policy.read(outputs_of(kind, available), available)
    behaviour = random(R, N, A, seed=3).softmax(-1)
    ours = policy.divergence(behaviour.log().transpose(1, 2), outputs)
    th.testing.assert_close(ours, kl_divergence(Categorical(outputs), Categorical(behaviour)), **EXACT)


def test_divergence_of_a_deterministic_policy_is_minus_log_mu_of_its_action() -> None:
    log_mu = random(R, 1, N)
    assert th.equal(make("mean").divergence(log_mu, random(R, N, A)), -log_mu[:, 0])


# -- purity ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_noise_repeats_from_a_generators_state(kind: str) -> None:
    policy = make(kind)
    first, again = (policy.make_noise((5, 2), th.Generator().manual_seed(3), "cpu") for _ in range(2))
    assert first.shape == (5, 2, A) and th.equal(first, again)
    generator = th.Generator().manual_seed(3)
    assert th.equal(policy.make_noise((5, 2), generator, "cpu"), first)
    assert not th.equal(policy.make_noise((5, 2), generator, "cpu"), first)
    th.manual_seed(4)
    shared = policy.make_noise((5, 2), None, "cpu")
    th.manual_seed(4)
    assert th.equal(policy.make_noise((5, 2), None, "cpu"), shared)


@pytest.mark.parametrize("kind", KINDS)
def test_policies_map_over_lanes(kind: str) -> None:
    """`vmap` over outputs equals a loop, and neither arguments nor buffers change."""
    policy, available, lanes = make(kind), masks(4, 2), 3
    outputs = th.stack([outputs_of(kind, available, seed) for seed in range(lanes)])  # (3, 4, 2, P)
    noise = th.stack([policy.make_noise((4, 2), None, "cpu").to(F64) for _ in range(lanes)])
    actions = policy.mode(outputs[0], available)
    before = [x.clone() for x in (outputs, available, noise, actions, *policy.buffers())]
    calls = {
        "mode": lambda x, _: policy.mode(x, available),
        "sample": lambda x, e: policy.sample(x, available, e),
        "log_prob": lambda x, _: policy.log_prob(x, actions, available),
        "entropy": lambda x, _: policy.entropy(x, available),
        "read": lambda x, _: policy.read(x, available),
    }
    for name, call in calls.items():
        alone = th.stack([call(x, e) for x, e in zip(outputs, noise, strict=True)])
        th.testing.assert_close(vmap(call)(outputs, noise), alone, **EXACT, msg=name)
    for old, new in zip(before, (outputs, available, noise, actions, *policy.buffers()), strict=True):
        assert th.equal(old, new)


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_bounds_are_read_from_buffers(kind: str) -> None:
    """So `functional_call` may give others, and a learner's `.to(device)` moves them."""
    policy, available = make(kind), th.ones(A)
    outputs = outputs_of(kind, available)
    doubled = {name: 2 * buffer for name, buffer in policy.named_buffers()}
    assert set(doubled) == {"low", "high"} and not list(policy.parameters()) and not policy.state_dict()

    class Mode(th.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.policy = policy

        def forward(self, x: Tensor) -> Tensor:
            return policy.mode(x, available)

    ours = functional_call(Mode(), {f"policy.{name}": buffer for name, buffer in doubled.items()}, (outputs,))
    th.testing.assert_close(ours, 2 * policy.mode(outputs, available), **EXACT)


# -- values as logits, and choosing a kind -----------------------------------------------------------------------------


def test_values_are_the_categorical_policy_of_their_softmax() -> None:
    values, available = 3 * random(6, 2, A), masks(6, 2)
    by_value, by_probability = make("q"), make("pi_logits")
    probabilities = values.masked_fill(available == 0, -th.inf).softmax(-1)
    noise = by_value.make_noise((6, 2), None, "cpu").to(F64)
    actions = by_probability.sample(probabilities, available, noise)
    assert th.equal(by_value.sample(values, available, noise), actions)
    assert th.equal(by_value.mode(values, available), by_probability.mode(probabilities, available))
    for ours, theirs in (
        (by_value.read(values, available), by_probability.read(probabilities, available)),
        (by_value.log_prob(values, actions, available), by_probability.log_prob(probabilities, actions, available)),
        (by_value.entropy(values, available), by_probability.entropy(probabilities, available)),
    ):
        th.testing.assert_close(ours, theirs, **EXACT)


def test_probabilities_are_read_over_the_available_actions() -> None:
    """Also where a controller did not mask them, and as zeros where nothing is available (padding)."""
    outputs, available = th.full((2, A), 0.25, dtype=F64), th.tensor([[1, 0, 1], [0, 0, 0]])
    assert make("pi_logits").read(outputs, available).tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("kind", KINDS)
def test_width_of_an_agents_outputs(kind: str) -> None:
    assert output_width(SimpleNamespace(agent_output_type=kind, n_actions=A)) == (6 if kind in GAUSSIANS else 3)
    assert output_width(SimpleNamespace(n_actions=A)) == 3  # stock EPyMARL's configurations may lack the key


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_does_not_suit_is_refused(kind: str) -> None:
    args = SimpleNamespace(agent_output_type=kind, n_actions=A, learner="some_learner", device="cpu")
    args.action_low, args.action_high = [-1.0] * A, [1.0] * A
    continuous = REGISTRY[kind].continuous
    assert type(build_policy(args, continuous)) is REGISTRY[kind]
    with pytest.raises(ConfigError, match=f"^agent_output_type={kind}: for .* some_learner needs [a-z_ ]+$"):
        build_policy(args, not continuous)
    with pytest.raises(ConfigError, match="some_learner needs"):
        build_policy(args, continuous, kinds=tuple(k for k in KINDS if k != kind))
