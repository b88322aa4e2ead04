"""Environments that pay one number for the team: every runner takes them, and a dataset says what it holds."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.dataset import read_dataset
from envs import REGISTRY as env_REGISTRY
from envs import VECTOR_REGISTRY, _looped, make_env, make_vector_env
from envs.multiagentenv import MultiAgentEnv
from loops import rehearsal
from loops.collect import TEAM_REWARD, card_fields, flat_rows, join, write
from loops.evaluator import Evaluator
from tests.envs import toy_env
from tests.runners.made import DISCRETE, RUNNERS, build, closed
from utils.config import layered_config, merge
from utils.errors import EnvError

__all__ = ["closed"]

TEAM = {"key": "tests.envs.toy_env:TwoAgents-v0", "seed": 0, "team_reward": True}  # pays 3 in each of 3 steps
TOY = {"env": "gymma", "env_args": TEAM, **DISCRETE}


class Robots(MultiAgentEnv):
    """An environment of a user's own, which returns a number whatever it is told."""

    n_agents, episode_limit, team_reward = 2, 4, True

    def __init__(self, seed: int | None = None, **ours: Any) -> None:
        self.t = 0

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[list[np.ndarray], dict[str, Any]]:
        self.t = 0
        return self.get_obs(), {}

    def step(self, actions: Any) -> tuple[list[np.ndarray], float | list[float], bool, bool, dict[str, Any]]:
        self.t += 1
        return self.get_obs(), 0.5, False, self.t == 4, {"episode_limit": self.t == 4}

    def get_obs(self) -> list[np.ndarray]:
        return [np.full(3, self.t, np.float32)] * 2

    def get_state(self) -> np.ndarray:
        return np.concatenate(self.get_obs())

    def get_avail_actions(self) -> list[list[int]]:
        return [[1, 1]] * 2

    def get_obs_size(self) -> int:
        return 3

    def get_state_size(self) -> int:
        return 6

    def get_total_actions(self) -> int:
        return 2

    def render(self) -> None: ...

    def save_replay(self) -> None: ...

    def close(self) -> None: ...

    def seed(self, seed: int | None = None) -> int | None:
        return seed


class Unsaid(Robots):
    """The same, which does not say beforehand whom it pays."""

    team_reward = False


@pytest.fixture
def robots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Robots, as users register their environments; other processes do not know of them."""
    monkeypatch.setitem(env_REGISTRY, "robots", Robots)
    monkeypatch.setitem(VECTOR_REGISTRY, "robots", _looped(Robots))


# runner, settings of an environment, what each of its steps pays the team, how many an episode has
PAYING = [(runner, TOY, 3.0, 3) for runner in RUNNERS]
PAYING += [(runner, {"env": "robots", "env_args": {"seed": 0}, **DISCRETE}, 0.5, 4) for runner in ("episode", "vector")]


@pytest.mark.usefixtures("robots")
@pytest.mark.parametrize("scalarisation", ["sum", "mean"])
@pytest.mark.parametrize(("runner", "keys", "paid", "steps"), PAYING)
def test_the_teams_number_is_the_reward_and_the_return(
    runner: str, keys: dict[str, Any], paid: float, steps: int, scalarisation: str
) -> None:
    made, args, _ = build(runner, reward_scalarisation=scalarisation, **keys)
    batch = made.run()
    assert batch["reward"].shape[2:] == (1,) and batch["reward"][:, :steps].eq(paid).all()
    evaluation = Evaluator(made, args, None).evaluate(0)
    assert evaluation.episodes.returns.tolist() == [paid * steps] * 5
    assert evaluation.return_mean == paid * steps and made.team_reward


@pytest.mark.parametrize("runner", RUNNERS)
def test_rewards_of_their_own_are_refused(runner: str) -> None:
    made, _, _ = build(runner, common_reward=False, **TOY)
    with pytest.raises(EnvError, match=r"TwoAgents-v0\) pays one reward for the team: set common_reward=True"):
        made.run()


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("team_reward", [True, False])
def test_they_are_refused_before_a_run_exists(runner: str, team_reward: bool) -> None:
    settings = {"env_args": {**TEAM, "team_reward": team_reward}, "runner": runner, "common_reward": False}
    config = merge(layered_config("iql", "gymma", {}), settings | {"batch_size_run": 1})
    if not team_reward:  # nor is anything else
        rehearsal.attempt(config)
        return
    with pytest.raises(EnvError, match=r"TwoAgents-v0\) pays one reward for the team: set common_reward=True"):
        rehearsal.rehearse(config)
    rehearsal.rehearse(config | {"common_reward": True})


def test_continuous_actions_find_out_who_is_paid() -> None:
    own = {"key": "tests.envs.toy_env", "continuous": True, "seed": 0, "time_limit": 4}
    for env in (make_vector_env("gymma", 1, own, False, "sum"), make_env("gymma", own, False, "sum")):
        assert not rehearsal._pays_team(env, env.get_env_info())
    for robots in (Robots(), Unsaid()):
        assert rehearsal._pays_team(robots, robots.get_env_info())


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_dataset_holds_the_teams_reward_for_each_agent(runner: str, tmp_path: Path) -> None:
    made, args, _ = build(runner, common_reward=False, collect=True, **TOY)
    arrays, offsets = join([flat_rows(batch := made.run(), batch.batch_size)])
    args = args.extended(name="random", seed=0, collect_quality=None)
    fields = card_fields(args, made.get_env_info(), "uniform actions", made.team_reward)
    write(tmp_path / "team.h5", arrays, offsets, fields, logging.getLogger("test"), tmp_path)
    dataset = read_dataset(tmp_path / "team.h5")
    assert dataset.arrays["reward"][:3].tolist() == [[3.0, 3.0]] * 3
    assert dataset.card["reward"] == TEAM_REWARD and dataset.card["returns"]["mean"] == 9.0


def test_a_recorded_run_holds_the_teams_reward_for_each_agent() -> None:
    made, _, _ = build("vector", **TOY)
    scheme, groups = made.new_batch.args
    preprocess = made.new_batch.keywords["preprocess"]
    made.setup({**scheme, "agent_rewards": {"vshape": (2,)}}, groups, preprocess, made.mac)
    batch = made.run()
    assert flat_rows(batch, batch.batch_size, reward="agent_rewards")["reward"][:3].tolist() == [[3.0, 3.0]] * 3


def test_each_agents_own_rewards_are_no_team_reward() -> None:
    for runner in RUNNERS:
        made, args, _ = build(runner, reward_scalarisation="sum", **{**TOY, "env_args": {**TEAM, "team_reward": False}})
        evaluation = Evaluator(made, args, None).evaluate(0)
        assert evaluation.episodes.returns.tolist() == [9.0] * 5 and not made.team_reward
        assert evaluation.return_mean == 4.5  # per agent


def test_a_team_reward_that_is_not_finite_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    env = env_REGISTRY["gymma"](**TEAM)
    env.reset()
    step = toy_env.TwoAgents.step
    monkeypatch.setattr(toy_env.TwoAgents, "step", lambda self, a: (step(self, a)[0], np.nan, False, False, {}))
    with pytest.raises(EnvError, match=r"gives nan as reward \(step 1\)"):
        env.step(np.array([0, 1]))
