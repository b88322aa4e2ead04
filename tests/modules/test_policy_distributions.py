"""What samples of policies follow, their formulas against torch's distributions, and their gradients."""

from __future__ import annotations

import math

import pytest
import torch as th
from torch import Tensor
from torch.distributions import Categorical, Normal, TanhTransform, TransformedDistribution

from modules.policies.base_policy import Policy
from modules.policies.categorical_policy import SMALLEST_LOGGED
from modules.policies.gaussian_policy import EDGE
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
    gaussian_outputs,
    make,
    masks,
    outputs_of,
    random,
    uniform,
)

# -- what samples follow -----------------------------------------------------------------------------------------------


def share_between(policy: Policy, outputs: Tensor, dimension: int, low: float, high: float) -> float:
    """The mass that `log_prob` gives an interval of one action dimension, by the midpoint rule."""
    n = 20_000
    width = (high - low) / n
    at = low + width * (th.arange(n, dtype=F64) + 0.5)
    own = th.nn.functional.one_hot(th.tensor(dimension), A)
    actions = at.unsqueeze(-1) * own  # (n, A)
    density = policy.log_prob(outputs.expand(n, -1), actions, own.expand(n, -1)).exp()
    return float(density.sum() * width / HALF[dimension])


@pytest.mark.parametrize("kind", GAUSSIANS)
@pytest.mark.parametrize("log_std", [-1.5, -0.5, 0.3])
def test_samples_follow_the_density(kind: str, log_std: float) -> None:
    """Shares of samples in bins inside the bounds; where they are clipped, each bound takes what lies beyond it."""
    policy, n = make(kind), 100_000
    outputs = gaussian_outputs(th.tensor([0.2, -0.4, 0.1], dtype=F64), th.full((A,), log_std, dtype=F64), kind)
    sampled = draw(policy, outputs, th.ones(A), n)
    edges = th.linspace(-1 + EDGE, 1 - EDGE, 9, dtype=F64)  # in half ranges
    for dimension in range(A):
        unit = (sampled[:, dimension] - LOW[dimension]) / HALF[dimension] - 1
        for left, right in zip(edges[:-1], edges[1:], strict=True):
            bounds = [float(LOW[dimension] + HALF[dimension] * (edge + 1)) for edge in (left, right)]
            expected = share_between(policy, outputs, dimension, *bounds)
            share = ((unit >= left) & (unit < right)).double().mean().item()
            assert abs(share - expected) < 4.5 * math.sqrt(expected / n) + 1e-4
        if kind == "gaussian":
            mean, log = policy.mean_and_log_std(outputs)
            beyond = Normal(mean, log.exp() * HALF).cdf(LOW)[dimension].item()
            at_bound = (sampled[:, dimension] == LOW[dimension]).double().mean().item()
            assert abs(at_bound - beyond) < 4.5 * math.sqrt(beyond / n) + 1e-4


@pytest.mark.parametrize("kind", DISCRETE)
def test_samples_follow_the_probabilities(kind: str) -> None:
    policy, available, n = make(kind), th.tensor([[1, 1, 1], [0, 1, 1], [0, 1, 0]]), 100_000
    outputs = outputs_of(kind, available, scale=1.5)
    every = th.eye(A, dtype=F64)
    for row in range(3):
        frequency = draw(policy, outputs[row], available[row], n).mean(0)  # (A,)
        probability = policy.log_prob(outputs[row].expand(A, -1), every, available[row].expand(A, -1)).exp()  # (A,)
        slack = 4.5 * (probability * (1 - probability) / n).sqrt() + 1e-9
        assert ((frequency - probability).abs() < slack).all()
        assert abs(probability.sum() - 1) < 1e-8


def test_samples_of_deterministic_policies_are_their_action_and_clipped_noise() -> None:
    """Standard deviation and largest size in half ranges; both moments of a Gaussian clipped on both sides."""
    policy, n = make("mean", noise_std=0.1, noise_clip=0.15), 100_000
    outputs = th.tensor([0.3, -0.2, 0.0], dtype=F64)
    shift = (draw(policy, outputs, th.ones(A), n) - policy.mode(outputs, th.ones(A))) / HALF  # (n, A)
    cut, normal = 1.5, Normal(th.zeros((), dtype=F64), th.ones((), dtype=F64))
    c = th.tensor(cut, dtype=F64)
    tail, density = 1 - normal.cdf(c), normal.log_prob(c).exp()
    variance = (1 - 2 * tail) - 2 * cut * density + 2 * cut**2 * tail
    th.testing.assert_close(shift.mean(0), th.zeros(A, dtype=F64), rtol=0, atol=0.0015)
    th.testing.assert_close(shift.square().mean(0), (0.01 * variance).expand(A), rtol=0.02, atol=0)
    assert abs(float(shift.abs().max()) - 0.15) < 1e-9
    assert th.equal(draw(make("mean"), outputs, th.ones(A), 3), policy.mode(outputs, th.ones(A)).expand(3, -1))


# -- densities against torch's -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_gaussian_log_prob_is_that_of_a_normal_in_half_ranges(seed: int) -> None:
    policy, available = make("gaussian"), masks(6, 2, seed=seed)
    outputs, actions = outputs_of("gaussian", available, seed, scale=1.5), LOW + 2 * HALF * uniform(6, 2, A)
    raw, log_std = outputs.chunk(2, dim=-1)
    centre = (LOW + HALF) / HALF
    expected = Normal(th.tanh(raw) + centre, (-2 + 3 * th.tanh(log_std)).exp()).log_prob(actions / HALF)
    ours = policy.log_prob(outputs, actions, available)
    th.testing.assert_close(ours, (expected * available).sum(-1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_tanh_gaussian_log_prob_is_that_of_a_transformed_normal(seed: int) -> None:
    """Actions nearer to a bound than EDGE count as EDGE away from it."""
    policy, available = make("tanh_gaussian"), masks(6, 2, seed=seed)
    outputs = outputs_of("tanh_gaussian", available, seed, scale=1.5)
    unit = 2 * uniform(6, 2, A) - 1
    unit[0, 0], unit[1, 0] = 1.0, -1.0  # at the bounds
    mean, log_std = outputs.chunk(2, dim=-1)
    base = Normal(mean, (-1.5 + 3.5 * th.tanh(log_std)).exp())
    expected = TransformedDistribution(base, TanhTransform()).log_prob(unit.clamp(EDGE - 1, 1 - EDGE))
    ours = policy.log_prob(outputs, LOW + HALF * (unit + 1), available)
    th.testing.assert_close(ours, (expected * available).sum(-1), rtol=1e-10, atol=1e-10)


def test_deterministic_log_prob_is_a_normal_of_variance_one_half_without_its_constant() -> None:
    policy, available = make("mean"), masks(6, 2)
    outputs, actions = outputs_of("mean", available), LOW + 2 * HALF * uniform(6, 2, A)
    centre = (LOW + HALF) / HALF
    expected = Normal(th.tanh(outputs) + centre, math.sqrt(0.5)).log_prob(actions / HALF) + 0.5 * math.log(math.pi)
    th.testing.assert_close(policy.log_prob(outputs, actions, available), (expected * available).sum(-1), **EXACT)
    assert (policy.entropy(outputs, available) == 0).all()


@pytest.mark.parametrize("kind", DISCRETE)
def test_discrete_log_prob_and_entropy_are_those_of_a_categorical(kind: str) -> None:
    policy, available = make(kind), masks(6, 2)
    outputs = outputs_of(kind, available)
    if kind == "q":
        expected = Categorical(logits=outputs.masked_fill(available == 0, -1e30))
    else:
        expected = Categorical(probs=outputs)
    for action in range(A):
        chosen = th.eye(A, dtype=F64)[action].expand(6, 2, -1)
        has = available[..., action] > 0
        ours = policy.log_prob(outputs, chosen, available)
        th.testing.assert_close(ours[has], expected.log_prob(th.tensor(action))[has], **EXACT)
        assert (ours[~has] == math.log(SMALLEST_LOGGED)).all()  # a finite price
    entropy = -(expected.probs * expected.probs.clamp_min(1e-300).log()).sum(-1)
    th.testing.assert_close(policy.entropy(outputs, available), entropy, **EXACT)


@pytest.mark.parametrize("gap", [1.0, 24.0, 60.0])
@pytest.mark.parametrize("kind", DISCRETE)
def test_a_logged_action_that_is_all_but_impossible_still_has_a_gradient(kind: str, gap: float) -> None:
    """Of -log p of two logits whose logged one lies `gap` lower: p - 1 and 1 - p, in float32, weighed by 100."""
    policy, available = make(kind), th.ones(2)
    logits = th.tensor([0.0, gap], requires_grad=True)
    outputs = logits if kind == "q" else logits.softmax(-1)
    (-100.0 * policy.log_prob(outputs, th.tensor([1.0, 0.0]), available)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    wrong = float(th.tensor(gap).sigmoid())
    th.testing.assert_close(logits.grad, 100.0 * th.tensor([-wrong, wrong]), rtol=1e-4, atol=0.0)


@pytest.mark.parametrize("log_std", [-3.0, -1.0, 0.5])
def test_tanh_gaussian_density_integrates_to_the_mass_inside(log_std: float) -> None:
    """To 1, up to what the Gaussian has beyond EDGE of the bounds: 1e-3 or less but for the widest of the three."""
    policy = make("tanh_gaussian")
    outputs = gaussian_outputs(th.full((A,), 0.3, dtype=F64), th.full((A,), log_std, dtype=F64), "tanh_gaussian")
    reach = th.atanh(th.tensor(1 - EDGE, dtype=F64))
    gaussian = Normal(th.tensor(0.3, dtype=F64), math.exp(log_std))
    inside = float(gaussian.cdf(reach) - gaussian.cdf(-reach))
    assert (inside > 0.999) == (log_std < 0)
    for dimension in range(A):
        edges = [float(LOW[dimension] + HALF[dimension] * (1 + unit)) for unit in (EDGE - 1, 1 - EDGE)]
        assert abs(share_between(policy, outputs, dimension, *edges) - inside) < 1e-6


@pytest.mark.parametrize("log_std", [-3.0, -1.0])
def test_gaussian_density_integrates_to_1(log_std: float) -> None:
    policy = make("gaussian")
    outputs = gaussian_outputs(th.full((A,), 0.3, dtype=F64), th.full((A,), log_std, dtype=F64), "gaussian")
    for dimension in range(A):
        edges = float(LOW[dimension] - 2 * HALF[dimension]), float(HIGH[dimension] + 2 * HALF[dimension])
        assert abs(share_between(policy, outputs, dimension, *edges) - 1) < 1e-6


@pytest.mark.parametrize("kind", GAUSSIANS)
def test_entropy_is_the_mean_of_minus_log_prob(kind: str) -> None:
    """By 200 000 samples of policies so narrow that neither bounds nor EDGE are met."""
    policy, available = make(kind), th.tensor([1, 1, 0])
    log_std = th.tensor([-1.6, -2.0, -1.0], dtype=F64)
    outputs = gaussian_outputs(th.tensor([0.2, -0.3, 0.0], dtype=F64), log_std, kind)
    sampled = draw(policy, outputs, available, 200_000)
    mean = -policy.log_prob(outputs.expand(len(sampled), -1), sampled, available).mean()
    th.testing.assert_close(policy.entropy(outputs, available), mean, rtol=0, atol=0.01)


def test_gaussian_entropy_is_torchs() -> None:
    policy, available = make("gaussian"), masks(5)
    outputs = outputs_of("gaussian", available)
    expected = Normal(0.0, (-2 + 3 * th.tanh(outputs[..., A:])).exp()).entropy()
    th.testing.assert_close(policy.entropy(outputs, available), (expected * available).sum(-1), **EXACT)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, -1.0), (1.0, 0.0), (-2.0, 0.5), (0.5, 1.0)])
def test_tanh_gaussian_entropy_and_mean_action_are_the_integrals(mean: float, log_std: float) -> None:
    """Wide policies too, against a fine quadrature of the Gaussian before tanh."""
    policy, own = make("tanh_gaussian"), th.tensor([1, 0, 0])
    outputs = gaussian_outputs(th.full((A,), mean, dtype=F64), th.full((A,), log_std, dtype=F64), "tanh_gaussian")
    at = mean + math.exp(log_std) * th.linspace(-9, 9, 20_001, dtype=F64)
    gaussian = Normal(th.tensor(mean, dtype=F64), math.exp(log_std))
    mass = gaussian.log_prob(at).exp() * (at[1] - at[0])  # (20 001,)
    slope = 2 * (math.log(2) - at - th.nn.functional.softplus(-2 * at))  # log(1 - tanh^2)
    entropy = gaussian.entropy() + (mass * slope).sum()
    assert abs(float(policy.entropy(outputs, own) - entropy)) < 0.05
    expected = LOW[0] + HALF[0] * (1 + (mass * th.tanh(at)).sum())
    assert abs(float(policy.mode(outputs, own)[0] - expected)) < 0.005


# -- gradients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_samples_are_reparameterised(kind: str) -> None:
    """The derivative of each sampled action by the outputs, against differences; inside the bounds."""
    policy, available = make(kind), th.tensor([[1, 1, 1], [1, 0, 1]])
    log_std = th.full((2, A), -2.0, dtype=F64)
    outputs = 0.3 * random(2, A) if kind == "mean" else gaussian_outputs(0.3 * random(2, A), log_std, kind)
    noise = random(2, A, seed=1)
    if kind == "mean":
        policy.noise_std = 0.1
    outputs.requires_grad_()
    assert th.autograd.gradcheck(lambda x: policy.sample(x, available, noise), outputs)
    (gradient,) = th.autograd.grad(policy.sample(outputs, available, noise).sum(), outputs)
    reached = gradient.view(2, -1, A).abs() > 0  # (2, 1 or 2, A)
    assert th.equal(reached, (available > 0).unsqueeze(1).expand_as(reached))


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_the_gradient_of_a_mean_over_samples_is_that_of_the_mean(kind: str) -> None:
    """d E[a^2] by the outputs, in closed form of a Gaussian, against the reparameterised one."""
    policy, n, own = make(kind), 200_000, th.tensor([1, 0, 0])
    mean, log_std = th.tensor([0.2, 0.0, 0.0], dtype=F64), th.full((A,), -2.3, dtype=F64)
    outputs = (mean.clone() if kind == "mean" else gaussian_outputs(mean, log_std, kind)).requires_grad_()
    sampled = draw(policy, outputs, own, n)[:, 0]  # half range 1, centre 0
    (ours,) = th.autograd.grad(sampled.square().mean(), outputs)
    if kind == "mean":
        expected = th.tanh(outputs[0]).square()
    elif kind == "gaussian":  # E[a^2] = mean^2 + variance
        expected = th.tanh(outputs[0]).square() + (2 * policy.mean_and_log_std(outputs)[1][0]).exp()
    else:
        at = th.linspace(-9, 9, 20_001, dtype=F64)
        mass = Normal(th.zeros((), dtype=F64), 1.0).log_prob(at).exp() * (at[1] - at[0])
        raw, log = policy.mean_and_log_std(outputs)
        expected = (mass * th.tanh(raw[0] + log[0].exp() * at).square()).sum()
    (theirs,) = th.autograd.grad(expected, outputs)
    th.testing.assert_close(ours, theirs, rtol=0.01, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_log_prob_and_entropy_are_right(kind: str) -> None:
    policy, available = make(kind), th.tensor([[1, 1, 1], [1, 1, 0]])
    outputs = outputs_of(kind, available).requires_grad_()
    actions = policy.mode(outputs, available).detach()
    actions = actions * 0.9 if policy.continuous else actions
    assert th.autograd.gradcheck(lambda x: policy.log_prob(x, actions, available), outputs)
    if kind == "mean":
        assert not policy.entropy(outputs, available).requires_grad
    else:
        rows = outputs.detach() if kind != "pi_logits" else outputs.detach() * available + (1 - available) * 1e-3
        assert th.autograd.gradcheck(lambda x: policy.entropy(x, available), rows.requires_grad_())
