from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th

from loops.evaluator import Evaluator
from tests.runners.made import AT_ONCE, DISCRETE, FORAGING, RUNNERS, build, closed, foraging
from utils.errors import ConfigError

__all__ = ["closed"]


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_batch_has_stocks_layout(runner: str) -> None:
    made, args, _ = build(runner)
    batch = made.run()
    assert batch.batch_size == args.batch_size_run and batch.max_seq_length == 26
    assert batch["filled"].all() and not batch["terminated"].any()  # 25 steps, a final state, no terminal at the limit
    assert batch["reward"][:, :25].ne(0).all() and batch["reward"][:, 25].eq(0).all()  # the last reward is real
    assert batch["actions"][:, 25].ne(0).any()  # the extra action chosen in the final state
    assert th.equal(batch["state"], batch["obs"].flatten(2))
    assert made.t_env == 25 * args.batch_size_run


@pytest.mark.parametrize("runner", RUNNERS)
def test_individual_rewards(runner: str) -> None:
    made, args, logger = build(runner, common_reward=False, test_nepisode=4)
    assert made.run()["reward"].shape[-1] == 3
    evaluation = Evaluator(made, args, None).evaluate(0)
    assert evaluation.episodes.returns.shape == (4, 3)
    evaluation.log(logger)
    total = logger.stats["test_total_return_mean"][0][1]
    agents = [logger.stats[f"test_agent_{i}_return_mean"][0][1] for i in range(3)]
    assert total == pytest.approx(sum(agents)) and evaluation.return_mean == pytest.approx(total / 3)
    assert evaluation.return_std == pytest.approx(logger.stats["test_total_return_std"][0][1] / 3)
    assert "test_return_mean" not in logger.stats


@pytest.mark.parametrize("runner", RUNNERS)
def test_discrete_actions_of_mpe2s_own_environment(runner: str) -> None:
    env_args = {"key": "simple_spread_v3", "seed": 1, "continuous_actions": False}
    made, _, logger = build(runner, env_args=env_args, action_selector="epsilon_greedy", agent_output_type="q")
    batch = made.run()
    assert batch["actions"].dtype == th.long and batch["actions"].max() < 5
    assert th.equal(batch["actions_onehot"].argmax(-1, keepdim=True), batch["actions"])
    assert logger.stats["epsilon"]


def test_training_statistics_follow_their_interval() -> None:
    made, _, logger = build("episode", runner_log_interval=60)
    for _ in range(5):
        made.run()
    assert [t for t, _ in logger.stats["return_mean"]] == [25, 100]  # the first run, then at least 60 steps later


def test_the_episode_runner_plays_one_at_a_time() -> None:
    with pytest.raises(ConfigError, match="set batch_size_run=1 or runner=vector"):
        build("episode", batch_size_run=3)


@pytest.mark.parametrize("runner", RUNNERS)
def test_episodes_that_end_early_are_filled_to_their_end_and_terminated_there(runner: str) -> None:
    made, _, logger = foraging(runner, runner_log_interval=10**6)
    kinds: set[bool] = set()
    steps = 0
    for _ in range(24 // AT_ONCE[runner]):
        batch = made.run()
        assert batch.max_seq_length == 41
        for episode in range(batch.batch_size):
            length = int(batch["filled"][episode].sum()) - 1  # the last filled row is the final state
            terminated = batch["terminated"][episode, :, 0].bool()
            ended = bool(terminated.any())
            assert batch["filled"][episode, : length + 1].all() and not batch["filled"][episode, length + 1 :].any()
            assert terminated.nonzero().flatten().tolist() == ([length - 1] if ended else [])
            assert ended or length == 40
            # The one food gives a reward of 1 in all, on the step that ends the episode.
            assert batch["reward"][episode].sum().item() == pytest.approx(float(ended))
            assert batch["reward"][episode, length - 1].item() == pytest.approx(float(ended))
            assert batch["obs"][episode, length].any() and not batch["obs"][episode, length + 1 :].any()
            kinds.add(ended)
            steps += length
    assert kinds == {True, False} and made.t_env == steps


@pytest.mark.parametrize("env", ["gymma", "mpe"])
def test_parallel_and_vector_return_the_same_batches(env: str) -> None:
    """For `mpe` with one of mpe2's own keys, as both then run the same simulator."""
    key = FORAGING if env == "gymma" else "simple_speaker_listener_v4"
    extra = {"time_limit": 15} if env == "gymma" else {"continuous_actions": False}
    batches: dict[str, list[Any]] = {}
    for runner in ("parallel", "vector"):
        made, _, _ = build(runner, env=env, env_args={"key": key, "seed": 4, **extra}, batch_size_run=2, **DISCRETE)
        th.manual_seed(1)
        batches[runner] = [made.run(), made.run(), made.run(test_mode=True), made.run()]
    for ours, theirs in zip(batches["parallel"], batches["vector"], strict=True):
        assert set(ours.scheme) == set(theirs.scheme)
        for name in theirs.scheme:
            assert th.equal(ours[name], theirs[name]), name


def test_the_parallel_runner_plays_single_episodes() -> None:
    made, _, _ = build("parallel", batch_size_run=1, test_nepisode=2)
    assert made.run().batch_size == 1 and made.run(test_mode=True).batch_size == 1
    assert len(made.test_episodes) == 1 and made.get_env_info()["n_agents"] == 3


@pytest.mark.parametrize("selector", ["deterministic", "gaussian"])
@pytest.mark.parametrize("runner", RUNNERS)
def test_14_4_rollouts_build_no_graph(runner: str, selector: str) -> None:
    """Stock's continuous rollouts hand the simulator actions that require a gradient."""
    made, args, _ = build(runner, action_selector=selector, exploration_noise=0.1)
    for test_mode in (False, True):
        batch = made.run(test_mode=test_mode)
        assert not any(batch[name].requires_grad for name in batch.scheme)
    assert th.is_grad_enabled()
    made.mac.init_hidden(batch.batch_size)
    assert made.mac.forward(batch, t=0, test_mode=False).requires_grad
    assert not made.mac.select_actions(batch, t_ep=0, t_env=0).requires_grad  # outside of no_grad too


class EndsEarly:
    """A stand-in for a vector environment whose episode e lasts e + 1 steps, the even ones ending in a terminal."""

    n_agents, episode_limit, n_envs = 3, 4, 4

    def __init__(self) -> None:
        self.steps = np.zeros(4, dtype=int)

    def reset(self, seeds: Any = None) -> None:
        self.steps = np.zeros(4, dtype=int)

    def step(self, actions: np.ndarray) -> Any:
        alive = self.steps <= np.arange(4)
        self.steps += alive
        over = self.steps > np.arange(4)
        reward = np.where(alive[:, None], 1.0, 0.0) * np.ones((4, 3))
        even = np.arange(4) % 2 == 0
        return reward, over & even, over & ~even, {"episode_limit": (over & ~even).astype(float)}

    def close(self) -> None:
        pass

    def get_obs(self) -> np.ndarray:
        return np.broadcast_to(self.steps[:, None, None], (4, 3, 18)).astype(np.float32)

    def get_state(self) -> np.ndarray:
        return self.get_obs().reshape(4, -1)

    def get_avail_actions(self) -> np.ndarray:
        return np.ones((4, 3, 2), dtype=np.int64)

    def scalarise(self, reward: np.ndarray) -> np.ndarray:
        return np.asarray(reward.mean(1))


def test_episodes_of_different_lengths_keep_their_own_ends() -> None:
    made, _, logger = build("vector")
    made.env = EndsEarly()
    made.episode_limit = 4
    batch = made.run()
    assert batch["filled"][:, :, 0].sum(1).tolist() == [2, 3, 4, 5]
    assert batch["reward"][:, :, 0].sum(1).tolist() == [1, 2, 3, 4]
    assert batch["terminated"][:, :, 0].tolist() == [
        [1, 0, 0, 0, 0] + [0] * 21,
        [0] * 26,
        [0, 0, 1, 0, 0] + [0] * 21,
        [0] * 26,
    ]
    assert [batch["obs"][e, e + 1, 0, 0].item() for e in range(4)] == [1, 2, 3, 4]  # the final states
    assert logger.stats["return_mean"][0][1] == 2.5 and logger.stats["ep_length_mean"][0][1] == 2.5
