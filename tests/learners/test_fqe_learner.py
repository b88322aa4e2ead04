"""Fitted Q evaluation: whose policy it values, in which units, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch as th

from components.statistics import DataStatistics
from datasets.dataset import write_dataset
from datasets.outline import read_outline
from learners.fqe_learner import ALWAYS_GREEDY, AS_CONFIGURED, NEVER_GREEDY, is_greedy
from loops.describe import statistics_of
from modules.layers.normaliser import Normaliser
from tests.components.buffers import make as make_buffer
from tests.datasets.samples import continuous_arrays, continuous_card, discrete_arrays
from tests.learners.learner_tester import F64, make_batch, make_learner, statistics, train
from tests.loops.in_process import parts_of, save
from tests.loops.in_process import train as train_parts
from utils.errors import CheckpointError, ConfigError
from utils.settings import Settings

TINY = {"hidden_dim": 8, "batch_size": 16, "t_max": 10}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six episodes of three agents that see 4 numbers."""
    card = {**continuous_card(), "environment": None}
    write_dataset(tmp_path / "data.h5", *continuous_arrays([3, 5, 4, 6, 2, 4]), card)
    return tmp_path / "data.h5"


def cloned(tmp_path: Path, data: Path, name: str = "policy", step: int = 3, **updates: Any) -> Path:
    """A cloning run of a few updates."""
    parts = parts_of("bc", "none", tmp_path, dataset=str(data), **{**TINY, **updates})
    train_parts(parts, 3)
    return save(parts, tmp_path / name, step)


def fqe(tmp_path: Path, data: Path, path: Path | str, **updates: Any) -> Any:
    return parts_of("fqe", "none", tmp_path, dataset=str(data), policy_path=str(path), **{**TINY, **updates})


# -- whose policy ------------------------------------------------------------------------------------------------------


def test_the_policy_keeps_the_input_statistics_of_its_own_data(tmp_path: Path, data: Path) -> None:
    arrays, offsets = continuous_arrays([4, 4, 4], seed=1)
    arrays["obs"] = 5 + 3 * arrays["obs"]
    write_dataset(tmp_path / "other.h5", arrays, offsets, {**continuous_card(), "environment": None})
    path = cloned(tmp_path, tmp_path / "other.h5")
    weights = th.load(path / "3" / "agent.th", weights_only=True)
    parts = fqe(tmp_path, data, path)
    train_parts(parts, 3)
    after = parts.learner.agent.state_dict()
    assert weights.keys() == after.keys() and all(th.equal(weights[key], after[key]) for key in weights)
    assert after["normaliser.mean"].mean() > 4
    own, other = (read_outline(path).card["checksum"] for path in (data, tmp_path / "other.h5"))
    assert statistics_of(parts) == f"critics: dataset {own}; the policy keeps its own: dataset {other}"
    inputs = [layer for layer in parts.learner.critic.modules() if isinstance(layer, Normaliser)]
    assert all(layer.filled and layer.mean.abs().max() < 1 for layer in inputs)


def test_settings_say_whose_policy_it_is(tmp_path: Path, data: Path) -> None:
    path = cloned(tmp_path, data, agent_output_type="gaussian", obs_agent_id=True, obs_last_action=True)
    args = fqe(tmp_path, data, path).args
    assert args.policy_step == 3 and args.agent == "mlp_ns" and args.mac == "non_shared_mac"
    assert args.agent_output_type == "gaussian" and args.action_selector == "gaussian_policy"
    assert args.obs_agent_id and args.obs_last_action


@pytest.mark.parametrize("window", [1, None, 2])
def test_the_actions_valued_are_those_that_the_policy_takes(tmp_path: Path, data: Path, window: int | None) -> None:
    """Whatever the windows: also with memory, and with the last action among the inputs."""
    keys: dict[str, Any] = {"obs_last_action": True}
    if window != 1:
        keys |= {"mac": "basic_mac", "agent": "rnn", "window": window, "burn_in": 9 if window else 0}
    path = cloned(tmp_path, data, **keys)
    parts = fqe(tmp_path, data, path, window=window, burn_in=keys.get("burn_in", 0))
    learner, episodes = parts.learner, fqe(tmp_path, data, path, window=None).buffer.batch(th.arange(6))
    mac = learner.mac
    mac.init_hidden(6)
    taken = [learner.policy.mode(mac.forward(episodes, t), episodes["avail_actions"][:, t]) for t in range(7)]
    expected = th.stack(taken, 1)  # (6, T, N, A)
    first = learner.actions(parts.buffer.batch(parts.buffer.first_windows())[:, :1], slice(None, 1), None)  # (6, N, A)
    th.testing.assert_close(first, expected[:, 0])
    batch = parts.buffer.batch(th.arange(parts.buffer.n_windows))
    every = learner.actions(batch, slice(None), None).unflatten(0, (batch.batch_size, -1))  # (W, T, N, A)
    known = {tuple(obs.flatten().tolist()): action for obs, action in zip(
        episodes["obs"].flatten(0, 1), expected.flatten(0, 1), strict=True)}  # fmt: skip
    filled = batch["filled"].squeeze(-1).bool()
    for obs, action in zip(batch["obs"][filled], every[filled], strict=True):
        th.testing.assert_close(action, known[tuple(obs.flatten().tolist())], rtol=1e-4, atol=1e-5)


def test_discrete_policies_are_valued(tmp_path: Path) -> None:
    arrays, offsets, card = discrete_arrays([3, 5, 4])
    write_dataset(tmp_path / "discrete.h5", arrays, offsets, {**card, "environment": {"env": None}})
    path = cloned(tmp_path, tmp_path / "discrete.h5")
    parts = fqe(tmp_path, tmp_path / "discrete.h5", path, test_greedy=False)
    train_parts(parts, 2)
    batch = parts.buffer.batch(th.arange(4))
    actions = parts.learner.actions(batch, slice(1, None), parts.learner.noise("critic", batch)["next"])
    assert actions.sum(-1).eq(1).all() and (actions <= batch["avail_actions"][:, 1:].flatten(0, 1)).all()
    assert parts.learner.assess(parts.buffer).keys() == {"fqe_value", "fqe_spread"}


@pytest.mark.parametrize("selector", [*ALWAYS_GREEDY, *AS_CONFIGURED, *NEVER_GREEDY])
def test_policies_act_as_in_evaluations(selector: str) -> None:
    settings = {"action_selector": selector, "evaluation_epsilon": 0.0}
    greedy = [is_greedy(Settings(**settings, test_greedy=test)) for test in (True, False)]
    assert greedy == [selector not in NEVER_GREEDY, selector in ALWAYS_GREEDY]


def test_random_actions_in_evaluations_are_refused() -> None:
    with pytest.raises(ConfigError, match="evaluation_epsilon=0.1: fqe_learner values .* set it to 0"):
        is_greedy(Settings(action_selector="epsilon_greedy", evaluation_epsilon=0.1, test_greedy=True))


# -- units and spread --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "shift"), [(1000.0, 0.0), (0.001, 0.0), (1.0, 300.0)])
def test_rewards_of_any_size_are_fitted_alike(scale: float, shift: float) -> None:
    """Values of scaled rewards are scaled values; a shift c of every reward moves them by c / (1 - gamma)."""
    values = []
    for factor, offset in ((1.0, 0.0), (scale, shift)):
        learner = make_learner("fqe", dtype=F64, discrete=False, tau=1.0)
        whole = offset / (1 - learner.args.gamma)
        learner.use_statistics(DataStatistics(statistics(learner.args).inputs, 0, 0, 2 * factor + whole, 3 * factor))
        batch = make_batch(learner.args, dtype=F64)
        batch["reward"].mul_(factor).add_(offset)
        for step in range(20):
            learner.train(batch, step + 1, 0)
        actions = batch["actions"][:, 0]
        values.append((learner.values(learner.critic, batch, slice(None, 1), actions).detach() - whole) / factor)
    th.testing.assert_close(values[0], values[1], rtol=1e-6, atol=1e-6)


def test_the_dataset_gives_the_units() -> None:
    buffer = make_buffer([3, 2, 4], window=1)[0]
    episodes = [buffer._rows["reward"][a : b - 1, 0].tolist() for a, b in ((0, 4), (4, 7), (7, 12))]
    sums = [sum(0.9**k * r for k, r in enumerate(rewards[t:])) for rewards in episodes for t in range(len(rewards))]
    largest, mean, std = buffer.to_go_statistics(0.9)
    expected = th.tensor(sums, dtype=F64)
    assert (largest, mean) == pytest.approx((float(expected.max()), float(expected.mean())))
    assert std == pytest.approx(float(expected.std(correction=0))) and largest == buffer.largest_return(0.9)
    assert make_buffer([1, 1], window=1, more={"reward": make_buffer([1, 1], window=1)[1]["reward"] * 0})[
        0
    ].to_go_statistics(0.9) == (0.0, 0.0, 1.0)


def test_critics_that_disagree_have_a_spread() -> None:
    buffer = make_buffer([3, 2, 4], window=1)[0]
    found = []
    for members in (1, 4):
        learner = make_learner("fqe", discrete=False, ensemble_size=members, evaluation_seed=0)
        train(learner, 0, 3)
        found.append(learner.assess(buffer))
        first = buffer.batch(buffer.first_windows())
        actions = learner.actions(first, slice(None, 1), None)
        values = learner.values(learner.critic, first, slice(None, 1), actions).detach().mean(1)  # (E,)
        assert found[-1]["fqe_value"] == pytest.approx(float(values.mean()), rel=1e-5)
        assert found[-1]["fqe_spread"] == pytest.approx(float(values.std(correction=0)), rel=1e-4, abs=1e-5)
    assert found[0]["fqe_spread"] == 0 < found[1]["fqe_spread"]


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "updates", "sentence"),
    [
        ({}, {"reward_scaling": "centre"}, "values are in units of the reward; set it to none"),
        ({}, {"common_reward": False}, "fqe_learner needs one team reward: set common_reward=True"),
        ({}, {"policy_path": ""}, "learner=fqe_learner values a given policy: set policy_path"),
        ({}, {"policy_path": "nowhere"}, "policy_path=nowhere: there is no such directory"),
        ({}, {"offline": False}, "set offline=True and dataset="),
        ({"action_selector": "uniform"}, {}, "acts by action_selector=uniform, whose actions fqe_learner cannot tell"),
        ({"mac": "basic_mac", "agent": "rnn", "window": None}, {}, "is recurrent .* set window=None"),
    ],
)
def test_refused_in_one_sentence(
    tmp_path: Path, data: Path, policy: dict[str, Any], updates: dict[str, Any], sentence: str
) -> None:
    path = cloned(tmp_path, data, **policy)
    env = "mpe" if "offline" in updates else "none"
    keys = {"dataset": str(data), "policy_path": str(path), **TINY, **updates}
    if env == "mpe":
        keys |= {"env": "mpe", "batch_size_run": 1, "buffer_size": 100, "test_nepisode": 1}
    with pytest.raises((ConfigError, CheckpointError), match=sentence) as refusal:
        parts_of("fqe", env, tmp_path, **keys)
    assert "\n" not in str(refusal.value)


def test_policies_of_other_sizes_are_refused(tmp_path: Path, data: Path) -> None:
    arrays = continuous_arrays([3, 3], n_agents=2, obs_size=5)
    write_dataset(tmp_path / "two.h5", *arrays, {**continuous_card(), "environment": None})
    path = cloned(tmp_path, tmp_path / "two.h5")
    with pytest.raises(CheckpointError, match="its policy is for n_agents 2, the dataset has 3; choose data of the"):
        fqe(tmp_path, data, path)


def test_checkpoints_without_a_description_are_refused_with_the_remedy(tmp_path: Path, data: Path) -> None:
    path = cloned(tmp_path, data)
    (path / "run.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no run.json .* make one with python src/policy.py describe"):
        fqe(tmp_path, data, path)


def test_a_run_that_only_values_a_policy_has_none_of_its_own(tmp_path: Path, data: Path) -> None:
    path = cloned(tmp_path, data)
    valued = save(fqe(tmp_path, data, path), tmp_path / "valued", 1)
    with pytest.raises(CheckpointError, match=f"has only valued the policy of {path}; set policy_path to it"):
        fqe(tmp_path, data, valued)


def test_another_algorithms_configuration_is_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match="learner=fqe_learner values a given policy: set policy_path"):
        parts_of("spacql", "none", tmp_path, dataset=str(data), learner="fqe_learner", **TINY)


def test_a_checkpoint_goes_on_with_its_own_policy_only(tmp_path: Path, data: Path) -> None:
    one, other = (cloned(tmp_path, data, name, seed=seed) for name, seed in (("one", 1), ("other", 2)))
    valued = save(fqe(tmp_path, data, one), tmp_path / "valued", 5)
    fqe(tmp_path, data, one).learner.load_models(str(valued / "5"))
    with pytest.raises(CheckpointError, match="values another policy than policy_path=.*other; set policy_path and"):
        fqe(tmp_path, data, other).learner.load_models(str(valued / "5"))
