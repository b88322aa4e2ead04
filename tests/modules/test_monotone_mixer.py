"""Mixers are non-decreasing and convex, and so is what ComaDICE minimises with them; checks that can fail.

Every check returns its worst violation, so that a control asserts how badly a wrong mixer fails it.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch as th
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from modules.mixers import build_mixer
from modules.mixers.monotone import ACTIVATIONS, NONNEG
from tests.learners.learner_tester import check_learns, check_resumes
from utils.config import CONFIG, read_yaml
from utils.errors import ConfigError

N, S, ROWS = 3, 4, 24
GAMMA = 0.9
F64 = th.float64
TOLERANCE = 1e-9  # of convexity, relative to the values compared; slopes need none, they are sums of products >= 0
FAILURE = 1e-3  # the least that a wrong mixer must miss by

Keys = dict[str, Any]
DEFAULTS: Keys = read_yaml(CONFIG / "default.yaml")
LAYERS: list[Keys] = [
    {"mixer_layers": 1},
    *({"mixer_layers": 2, "mixer_activation": name} for name in ACTIVATIONS),
    {"mixer_layers": 2, "mixer_activation": "elu", "mixer_elu_alpha": 0.5},
]
MONOTONE: list[Keys] = [{"mixer": "monotone", "mixer_nonneg": kind, **keys} for kind in NONNEG for keys in LAYERS]
MIXERS: list[Keys] = [{"mixer": "vdn"}, {"mixer": "qmix"}, *MONOTONE]
LINEAR = [k for k in MIXERS if k["mixer"] == "vdn" or k.get("mixer_layers") == 1 or "linear" in k.values()]
RELU: Keys = {"mixer": "monotone", "mixer_layers": 2, "mixer_activation": "relu"}

every_mixer, every_linear_mixer = (
    pytest.mark.parametrize("keys", keys, ids=lambda keys: "-".join(map(str, keys.values())))
    for keys in (MIXERS, LINEAR)
)
some_draws = settings(max_examples=8, deadline=None)
seeds, scales = st.integers(0, 2**31), st.floats(0.01, 30)


def make(mixer: str = "monotone", **keys: Any) -> Any:
    """A float64 mixer with weights and biases larger than at the start; the draws are torch's own."""
    small = {"n_agents": N, "state_shape": (S,), "mixing_embed_dim": 4, "hypernet_embed": 8}
    args = SimpleNamespace(**{**DEFAULTS, **small, **keys})
    built = build_mixer(mixer, args)
    assert built is not None
    for parameter in built.parameters():
        parameter.data.add_(th.randn_like(parameter))
    return built.to(F64)


def flipped(**keys: Any) -> Any:
    """A mixer whose non-negative weights have one of the wrong sign, the first in every layer."""
    mixer, right = make(**keys), NONNEG[keys.get("mixer_nonneg", "abs")]
    signs = {n: th.tensor([-1.0] + [1.0] * (n - 1), dtype=F64) for n in (N, 4, 4 * N)}
    mixer.nonneg = lambda raw: right(raw) * signs[raw.shape[-1]]
    return mixer


def with_activation(function: Any = th.tanh) -> Any:
    mixer = make(**RELU)
    mixer.activation = function
    return mixer


def draw(seed: int, scale: float, *shape: int) -> Tensor:
    return scale * th.randn(*shape, generator=th.Generator().manual_seed(seed), dtype=F64)


# --- the mixer in x ---


def worst_slope(mixer: Any, seed: int, scale: float) -> float:
    """How far the smallest dM/dx_i is below 0, over rows and agents."""
    x = draw(seed, scale, ROWS, 1, N).requires_grad_()  # (B, 1, N)
    total = mixer(x, draw(seed + 1, 1.0, ROWS, 1, S))
    assert total.shape == (ROWS, 1, 1)
    return -th.autograd.grad(total.sum(), x)[0].min().item()


def above_chord(middle: Tensor, left: Tensor, right: Tensor) -> float:
    """How far values at midpoints are above the mean of the ends', relative to these, at worst."""
    return ((middle - (left + right) / 2) / (1 + left.abs() + right.abs())).max().item()


def worst_midpoint(mixer: Any, seed: int, scale: float) -> float:
    """How far M((x + y) / 2) is above (M(x) + M(y)) / 2 at worst, over rows."""
    x, y, states = draw(seed, scale, 2, ROWS, 1, N).unbind() + (draw(seed + 1, 1.0, ROWS, 1, S),)
    return above_chord(*(mixer(z, states) for z in ((x + y) / 2, x, y)))


@every_mixer
@some_draws
@given(seed=seeds, scale=scales)
def test_the_total_never_falls_by_an_agents_gain(keys: Keys, seed: int, scale: float) -> None:
    th.manual_seed(seed)
    assert worst_slope(make(**keys), seed, scale) <= 0


@every_mixer
@some_draws
@given(seed=seeds, scale=scales)
def test_the_total_is_convex(keys: Keys, seed: int, scale: float) -> None:
    th.manual_seed(seed)
    assert worst_midpoint(make(**keys), seed, scale) <= TOLERANCE


# --- the objectives in nu ---


def conjugate(y: Tensor) -> Tensor:
    """f* of soft chi-squared: exp(y) - 1 below 0, y + y^2 / 2 above."""
    return th.where(y < 0, y.clamp(max=0).expm1(), y + y.square() / 2)


def objective(mixer: Any, seed: int, value_loss: str, alpha: float) -> Any:
    """nu (S_n, N), a free table over 6 states -> the loss, on random transitions, states and fixed q."""
    features, q, reward = draw(seed, 1.0, 6, S), draw(seed + 1, 3.0, ROWS, N), draw(seed + 2, 1.0, ROWS)
    now, then, start = th.randint(6, (3, ROWS), generator=th.Generator().manual_seed(seed))  # states, (R,) each

    def mix(local: Tensor, state: Tensor, with_bias: bool = True) -> Tensor:
        return mixer(local.unsqueeze(1), features[state].unsqueeze(1), with_bias=with_bias).flatten()  # (R,)

    def loss(nu: Tensor) -> Tensor:
        if value_loss == "full":
            advantage = reward + GAMMA * mix(nu[then], then) - mix(nu[now], now)  # (R,)
        else:
            advantage = mix(q - nu[now], now, with_bias=False)  # (R,)
        level = mix(nu[now], now) if value_loss == "semi_dataset" else (1 - GAMMA) * mix(nu[start], start)  # (R,)
        return (level + alpha * conjugate(advantage / alpha)).mean()

    return loss


def worst_objective(mixer: Any, seed: int, scale: float, value_loss: str, alpha: float) -> float:
    """How far the loss is above the chord between two random tables of nu, at worst of 10 pairs."""
    loss = objective(mixer, seed, value_loss, alpha)
    pairs = draw(seed + 3, scale, 10, 2, 6, N)
    return max(above_chord(loss((a + b) / 2), loss(a), loss(b)) for a, b in pairs)


@every_mixer
@some_draws
@given(seed=seeds, scale=scales, alpha=st.sampled_from((0.1, 1.0, 10.0)))
def test_semi_gradient_objectives_are_convex_in_nu(keys: Keys, seed: int, scale: float, alpha: float) -> None:
    th.manual_seed(seed)
    mixer = make(**keys)
    for value_loss in ("semi_dataset", "poster"):
        assert worst_objective(mixer, seed, scale, value_loss, alpha) <= TOLERANCE


@every_linear_mixer
@some_draws
@given(seed=seeds, scale=scales, alpha=st.sampled_from((0.1, 1.0, 10.0)))
def test_the_full_objective_is_convex_for_linear_mixers(keys: Keys, seed: int, scale: float, alpha: float) -> None:
    th.manual_seed(seed)
    assert worst_objective(make(**keys), seed, scale, "full", alpha) <= TOLERANCE


# --- what must fail ---


def worst_of(check: Any, build: Any, *rest: Any) -> float:
    """The worst violation over 20 fixed seeds of mixers and values."""
    worst = -float("inf")
    for seed in range(20):
        th.manual_seed(seed)
        worst = max(worst, check(build(), seed, 3.0, *rest))
    return worst


def test_a_flipped_weight_fails() -> None:
    assert worst_of(worst_slope, lambda: flipped(mixer_layers=1)) > FAILURE
    assert worst_of(worst_slope, lambda: flipped(**RELU)) > FAILURE
    assert worst_of(worst_midpoint, lambda: flipped(**RELU)) > FAILURE
    for value_loss in ("semi_dataset", "poster"):
        assert worst_of(worst_objective, lambda: flipped(**RELU), value_loss, 1.0) > FAILURE


def test_tanh_fails_where_convexity_counts() -> None:
    assert worst_of(worst_slope, with_activation) <= 0  # it is non-decreasing
    assert worst_of(worst_midpoint, with_activation) > FAILURE
    for value_loss in ("semi_dataset", "poster"):
        assert worst_of(worst_objective, with_activation, value_loss, 1.0) > FAILURE


def test_elu_above_one_fails() -> None:
    steep = partial(F.elu, alpha=2.0)
    assert worst_of(worst_slope, lambda: with_activation(steep)) <= 0
    assert worst_of(worst_midpoint, lambda: with_activation(steep)) > FAILURE


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_the_full_objective_is_not_convex_for_two_relu_layers(alpha: float) -> None:
    """gamma M[nu(s')] - M[nu(s)] is a difference of convex functions; the same cases pass where it is linear."""
    assert worst_of(worst_objective, lambda: make(**RELU), "full", alpha) > FAILURE
    assert worst_of(worst_objective, lambda: make(**RELU), "semi_dataset", alpha) <= TOLERANCE
    for linear in ({"mixer_layers": 1}, {**RELU, "mixer_activation": "linear"}):
        assert worst_of(worst_objective, lambda keys=linear: make(**keys), "full", alpha) <= TOLERANCE


# --- what is computed ---


@pytest.mark.parametrize("hypernet_layers", [1, 2])
@pytest.mark.parametrize("kind", NONNEG)
def test_it_equals_its_formula_row_by_row(kind: str, hypernet_layers: int) -> None:
    nonneg = {"abs": abs, "softplus": lambda w: (1 + w.exp()).log(), "square": lambda w: w * w}[kind]
    keys = {"mixer_nonneg": kind, "hypernet_layers": hypernet_layers}
    one, two = make(mixer_layers=1, **keys), make(**{**RELU, **keys})
    xs, states = draw(0, 1.0, 5, 2, N), draw(1, 1.0, 5, 2, S)
    with pytest.raises(ConfigError, match="only a mixer of one layer has one weight per agent"):
        two.weights(states)
    for b, t in ((0, 0), (2, 1), (4, 1)):
        x, state = xs[b, t], states[b, t]
        expected = sum(nonneg(k) * x_i for k, x_i in zip(one.hyper_w_final(state), x, strict=True))
        th.testing.assert_close(one(xs, states)[b, t], expected + one.hyper_b_final(state))
        th.testing.assert_close(one(xs, states, with_bias=False)[b, t, 0], expected)
        th.testing.assert_close(one.weights(states)[b, t], nonneg(one.hyper_w_final(state)))
        inner = nonneg(two.hyper_w_1(state)).view(N, 4)
        hidden = [(x @ inner[:, e] + two.hyper_b_1(state)[e]).clamp(min=0) for e in range(4)]
        expected = sum(nonneg(w) * h for w, h in zip(two.hyper_w_final(state), hidden, strict=True))
        th.testing.assert_close(two(xs, states)[b, t], expected + two.hyper_b_final(state))
        th.testing.assert_close(two(xs, states, with_bias=False)[b, t, 0], expected)


@every_mixer
def test_the_bias_that_can_be_left_out_is_the_states_alone(keys: Keys) -> None:
    """M with the bias less M without it does not depend on x; what is left of a linear mixer maps 0 to 0."""
    th.manual_seed(0)
    mixer, states = make(**keys), draw(1, 1.0, ROWS, 2, S)
    zero, x = th.zeros(ROWS, 2, N, dtype=F64), draw(2, 5.0, ROWS, 2, N)
    bias, elsewhere = (mixer(z, states) - mixer(z, states, with_bias=False) for z in (zero, x))
    th.testing.assert_close(bias, elsewhere, rtol=0, atol=1e-9)
    assert bias.ne(0).all() or keys["mixer"] == "vdn"
    if keys["mixer"] == "vdn" or keys.get("mixer_layers") == 1:
        assert mixer(zero, states, with_bias=False).eq(0).all()


def test_two_parameter_sets_at_once_equal_two_calls() -> None:
    mixers = [make(mixer_layers=2) for _ in range(2)]
    stacked, _ = stack_module_state(mixers)
    x, states = draw(0, 1.0, 5, 2, N), draw(1, 1.0, 5, 2, S)
    lanes = vmap(lambda p: functional_call(mixers[0], p, (x, states)))(stacked)
    for lane, mixer in zip(lanes, mixers, strict=True):
        th.testing.assert_close(lane, mixer(x, states))


# --- configuration ---


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"mixer_activation": "tanh"}, "mixer_activation=tanh: this is not convex, as a mixer must be"),
        ({"mixer_activation": "sigmoid"}, "is not convex"),
        ({"mixer_activation": "selu"}, "is not convex"),
        ({"mixer_activation": "gelu"}, "is not non-decreasing"),
        ({"mixer_activation": "silu"}, "is not non-decreasing"),
        (
            {"mixer_activation": "relluu"},
            "not known here to be .* choose one of linear, relu, leaky_relu, softplus, elu",
        ),
        ({"mixer_activation": "elu", "mixer_elu_alpha": 1.01}, "mixer_elu_alpha=1.01: ELU .* is not convex"),
        ({"mixer_activation": "elu", "mixer_elu_alpha": -0.5}, "is not non-decreasing"),
        ({"mixer_activation": "elu", "mixer_elu_alpha": float("nan")}, "choose a number from 0 to 1"),
        ({"mixer_nonneg": "exp"}, "mixer_nonneg=exp: choose one of abs, softplus, square"),
        ({"mixer_layers": 3}, "mixer_layers=3: a monotone mixer has 1 or 2 layers"),
        ({"hypernet_layers": 3}, "hypernet_layers=3"),
    ],
)
def test_other_mixers_are_refused_with_the_reason(keys: Keys, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(**keys)


@pytest.mark.parametrize("keys", [{}, {"mixer_layers": 1, "mixer_nonneg": "softplus"}], ids=str)
@pytest.mark.parametrize("alg", ["qmix", "vdn_ns"])
def test_the_value_learner_trains_with_it(alg: str, keys: Keys) -> None:
    check_learns(alg, mixer="monotone", **keys)


def test_the_value_learner_continues_with_it(tmp_path: Any) -> None:
    check_resumes("qmix", tmp_path, mixer="monotone")
