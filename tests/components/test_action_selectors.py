from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st

from components.action_selectors import REGISTRY
from components.epsilon_schedules import DecayThenFlatSchedule

ARGS = SimpleNamespace(
    n_actions=3, device="cpu", epsilon_start=1.0, epsilon_finish=0.05, epsilon_anneal_time=100, evaluation_epsilon=0.0,
    exploration_noise=0.3, action_low=[-2.0, 0.0, -1.0], action_high=[2.0, 1.0, 1.0],
)  # fmt: skip
LOW, HIGH = th.tensor(ARGS.action_low), th.tensor(ARGS.action_high)


def outputs(n: int = 4000) -> th.Tensor:
    return th.randn(n, 2, 3, generator=th.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize("name", ["deterministic", "gaussian", "uniform"])
def test_continuous_actions_stay_inside_their_bounds(name: str) -> None:
    raw = outputs().requires_grad_()
    actions = REGISTRY[name](ARGS).select_action(raw, th.ones(4000, 2, 3), t_env=0)
    assert actions.shape == (4000, 2, 3) and not actions.requires_grad
    assert (actions >= LOW).all() and (actions <= HIGH).all()


def test_gaussian_explores_in_training_only() -> None:
    gaussian, deterministic = REGISTRY["gaussian"](ARGS), REGISTRY["deterministic"](ARGS)
    raw = outputs() * 0.01
    exact = deterministic.select_action(raw, th.ones(1), t_env=0)
    assert th.equal(gaussian.select_action(raw, th.ones(1), t_env=0, test_mode=True), exact)
    noise = (gaussian.select_action(raw, th.ones(1), t_env=0) - exact) / (0.5 * (HIGH - LOW))
    assert noise.std().item() == pytest.approx(0.3, rel=0.05)


def test_gaussian_policy_samples_its_density_and_tests_its_mean() -> None:
    selector = REGISTRY["gaussian_policy"](ARGS)
    mean, deviation = th.tensor([0.2, -0.1, 0.0]), th.tensor([0.05, 0.1, 0.2])
    raw = th.atanh((deviation.log() + 2) / 3)  # log-deviations run from -5 to 1
    out = th.cat([mean, raw]).expand(20000, 2, 6)
    exact = selector.select_action(out, th.ones(20000, 2, 3), t_env=0, test_mode=True)
    assert th.allclose(exact[0, 0], LOW + (th.tanh(mean) + 1) / 2 * (HIGH - LOW))
    sampled = selector.select_action(out.clone().requires_grad_(), th.ones(20000, 2, 3), t_env=0)
    noise = (sampled - exact) / (0.5 * (HIGH - LOW))
    assert th.allclose(noise.flatten(0, 1).std(0), deviation, rtol=0.03) and noise.mean().abs() < 0.01
    wild = th.cat([th.zeros(3), th.full((3,), 9.0)]).expand(4000, 2, 6)  # deviations are limited, samples clipped
    clipped = selector.select_action(wild, th.tensor([1, 1, 0]), t_env=0)
    assert (clipped >= LOW).all() and (clipped <= HIGH).all() and clipped[..., 2].eq(0).all()
    assert not sampled.requires_grad and clipped[..., 0].eq(LOW[0]).any() and clipped[..., 0].eq(HIGH[0]).any()


def test_tanh_gaussian_policy_samples_under_tanh_and_tests_the_mean_of_its_samples() -> None:
    selector = REGISTRY["tanh_gaussian_policy"](ARGS)
    mean, deviation = th.tensor([0.2, -1.5, 0.0]), th.tensor([0.05, 0.5, 2.0])
    out = th.cat([mean, th.atanh((deviation.log() + 1.5) / 3.5)]).expand(20000, 2, 6)  # log-deviations: -5 to 2
    exact = selector.select_action(out, th.ones(20000, 2, 3), t_env=0, test_mode=True)
    sampled = selector.select_action(out.clone().requires_grad_(), th.tensor([1, 1, 0]), t_env=0)
    assert not sampled.requires_grad and sampled[..., 2].eq(0).all()
    th.testing.assert_close(exact[0, 0, :2], sampled[..., :2].flatten(0, 1).mean(0), rtol=0, atol=5e-3)
    assert exact[0, 0, 2].abs() < 1e-6  # wide and centred: in the middle of the range
    squashed_mean = LOW + (th.tanh(mean) + 1) / 2 * (HIGH - LOW)
    assert (exact[0, 0, 1] - squashed_mean[1]).abs() > 0.01
    unit = (2 * (sampled - LOW) / (HIGH - LOW) - 1)[..., :2].double().flatten(0, 1)
    drawn = th.atanh(unit)
    assert th.allclose(drawn.mean(0).float(), mean[:2], atol=0.02)
    assert th.allclose(drawn.std(0).float(), deviation[:2], rtol=0.03)


@pytest.mark.parametrize(("name", "width"), [("multinomial", 3), ("gaussian_policy", 6), ("tanh_gaussian_policy", 6)])
def test_stochastic_policies_are_sampled_in_tests_where_they_are_not_greedy(name: str, width: int) -> None:
    out = th.full((50, 2, width), 0.25)
    everywhere = th.ones(50, 2, 3)
    greedy = REGISTRY[name](ARGS).select_action(out, everywhere, t_env=0, test_mode=True)
    assert greedy.eq(greedy[0, 0]).all()
    sampling = REGISTRY[name](SimpleNamespace(**vars(ARGS), test_greedy=False))
    th.manual_seed(0)
    tested = sampling.select_action(out, everywhere, t_env=0, test_mode=True)
    th.manual_seed(0)
    assert th.equal(tested, sampling.select_action(out, everywhere, t_env=0)) and not tested.eq(tested[0, 0]).all()


def test_uniform_is_uniform() -> None:
    actions = REGISTRY["uniform"](ARGS).select_action(outputs(20000), th.ones(20000, 2, 3), t_env=0)
    unit = ((actions - LOW) / (HIGH - LOW)).flatten(0, 1)
    assert (unit.mean(0) - 0.5).abs().max() < 0.01 and (unit.var(0) - 1 / 12).abs().max() < 0.002


@pytest.mark.parametrize("name", ["epsilon_greedy", "multinomial", "uniform"])
def test_discrete_actions_are_available_ones(name: str) -> None:
    args = SimpleNamespace(**{k: v for k, v in vars(ARGS).items() if not k.startswith("action_")})
    avail = th.tensor([0, 1, 1]).expand(4000, 2, 3)
    probabilities = th.softmax(outputs(), -1)
    actions = REGISTRY[name](args).select_action(probabilities, avail, t_env=0)
    assert actions.dtype == th.long and set(actions.unique().tolist()) == {1, 2}


def test_epsilon_greedy_is_greedy_in_tests_and_anneals() -> None:
    selector = REGISTRY["epsilon_greedy"](ARGS)
    values = outputs()
    greedy = selector.select_action(values, th.ones_like(values), t_env=0, test_mode=True)
    assert th.equal(greedy, values.argmax(-1))
    share = (selector.select_action(values, th.ones_like(values), t_env=100) != greedy).float().mean().item()
    assert share == pytest.approx(0.05 * 2 / 3, abs=0.01) and selector.epsilon == 0.05


def test_multinomial_follows_its_probabilities() -> None:
    probabilities = th.tensor([0.2, 0.5, 0.3]).expand(20000, 1, 3)
    selector = REGISTRY["multinomial"](ARGS)
    drawn = selector.select_action(probabilities, th.ones_like(probabilities), t_env=0)
    frequency = th.bincount(drawn.flatten(), minlength=3) / drawn.numel()
    assert (frequency - th.tensor([0.2, 0.5, 0.3])).abs().max() < 0.02
    assert selector.select_action(probabilities, th.ones_like(probabilities), 0, test_mode=True).eq(1).all()


@given(t=st.integers(0, 500), length=st.integers(0, 200), decay=st.sampled_from(["linear", "exp"]))
def test_schedule_falls_from_start_to_finish(t: int, length: int, decay: str) -> None:
    schedule = DecayThenFlatSchedule(1.0, 0.1, length, decay)
    assert 0.1 <= schedule.eval(t) <= 1.0 and schedule.eval(t) >= schedule.eval(t + 1)
    assert schedule.eval(length) == 0.1


def test_only_a_selector_that_explores_by_epsilon_has_one() -> None:
    assert [name for name, selector in REGISTRY.items() if hasattr(selector(ARGS), "epsilon")] == ["epsilon_greedy"]
