"""Which simulator made a policy or a dataset, and episodes in which the simulation gave up."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.episode_buffer import EpisodeBatch
from components.scheme import build_scheme
from controllers.basic_controller import BasicMAC
from envs.mamujoco.robot_env import RobotEnv
from loops.collect import card_fields, flat_rows, join, play, write
from loops.simulators import StableEpisodes, warn_of_other_simulator
from runners import REGISTRY
from utils.errors import EnvError
from utils.logging import Logger

LOG = logging.getLogger("simulators")
HERE = {"simulator": {"mujoco": "4.0.0", "robot_sha256": "aa"}}


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (HERE, None),
        ({}, None),
        (None, None),
        ({"simulator": "unknown"}, None),
        ({"simulator": {"mujoco": "3.2.0", "robot_sha256": "aa"}}, "mujoco is 3.2.0 there and 4.0.0 here"),
        ({"simulator": {"robot_sha256": "bb"}}, "mujoco is not stated there and 4.0.0 here; robot_sha256 is bb"),
    ],
)
def test_another_simulator_is_warned_of(environment: Any, said: str | None, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_other_simulator("the data", environment, HERE, LOG)
    assert caplog.text == "" if said is None else said in caplog.text and "the data is of another" in caplog.text
    caplog.clear()
    warn_of_other_simulator("the data", environment, {}, LOG)  # an environment that does not know its simulator
    assert caplog.text == ""


def player(**updates: Any) -> tuple[Any, SimpleNamespace]:
    """A runner of three Hoppers with uniform actions, and its settings."""
    env_args = {
        "key": "Hopper",
        "partition": "3x1",
        "time_limit": 12,
        "seed": 0,
        "observations": "local",
        "terminate_when_unhealthy": False,
    }  # episodes that fall are shorter
    args = SimpleNamespace(
        env="mamujoco", env_args=env_args, runner="vector", batch_size_run=3, common_reward=False, device="cpu",
        reward_scalarisation="mean", collect=True, collect_episodes=4, collect_to="x", test_nepisode=2, n_agents=3,
        n_actions=1, action_low=[-1.0], action_high=[1.0], mac="basic_mac", agent="mlp", agent_output_type="mean",
        action_selector="uniform", obs_agent_id=False, obs_last_action=False, hidden_dim=4, runner_log_interval=10**9,
        final_init=None, use_rnn=False, evaluation_seed=5, name="random", seed=0, collect_quality=None,
    )  # fmt: skip
    vars(args).update(updates)
    logger = Logger(LOG)
    runner: Any = REGISTRY["vector"](args, logger)
    scheme, groups, preprocess = build_scheme(runner.get_env_info(), args)
    mac = BasicMAC(EpisodeBatch(scheme, groups, 1, 1, preprocess=preprocess).scheme, groups, args)
    runner.setup(scheme, groups, preprocess, mac)
    return runner, args


def test_a_dataset_says_its_simulator_and_leaves_out_unstable_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("loops.collect.warn_of_little_room", lambda *_: None)
    monkeypatch.setattr("loops.collect.dataset_path", lambda *_: tmp_path / "data.h5")
    runner, args = player()
    advance, broken = RobotEnv.advance, []

    def fragile(self: RobotEnv, joint: np.ndarray) -> Any:
        if self is runner.env.envs[1] and self._t == 4 and len(broken) < 1:
            broken.append(self)
            self.robot.data.qvel[:] = 1e12
        return advance(self, joint)

    monkeypatch.setattr(RobotEnv, "advance", fragile)
    arrays, offsets = play(runner, args, Logger(LOG))
    assert np.diff(offsets).tolist() == [13] * 4 and broken  # the cut one would have 6 rows
    assert "Left out 1 episode in which the simulation became unstable" in caplog.text
    fields = card_fields(args, runner.get_env_info(), "uniform actions", runner.team_reward)
    assert fields["environment"]["simulator"]["robot"] == "hopper.xml"
    assert fields["reward"].startswith("the team's")
    write(tmp_path / "data.h5", arrays, offsets, fields, LOG, tmp_path)
    runner.close_env()


def test_a_hundred_unstable_episodes_in_a_row_stop_a_collection() -> None:
    """Fewer do not, such as the only episode of a rollout."""
    runner, _ = player()
    batch, stable = runner.run(), StableEpisodes(runner, LOG)
    assert stable.of(batch) is batch
    assert len(join([flat_rows(batch, 3)])[1]) == 4
    for _ in range(2):
        runner.unstable = [True] * 3
        assert all(stable.of(batch) is None for _ in range(33))
        runner.unstable = [True, False, True]
        kept = stable.of(batch)
        assert kept is not None and kept.batch_size == 1
    runner.unstable = [True] * 3
    assert all(stable.of(batch) is None for _ in range(33))
    with pytest.raises(EnvError, match="Hopper.* became unstable in 102 episodes in a row: play another"):
        stable.of(batch)
    runner.close_env()
