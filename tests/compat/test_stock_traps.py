"""Stock EPyMARL's silent traps, one test each, numbered as in the list that the project keeps of them.

1 time limits as terminals - 2 evaluations that log early - 3 runs that never end - 4 rollouts with graphs -
5 MADDPG's missing pieces - 6 statistics over padding - 7 simulators imported for nothing - 8 N errors for one reward -
9 samples that are views - 10 controllers that cannot be copied - 11 a missing checkpoint that is no error -
12 progress bars in the record - 13 transitions into padding.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch as th

from components.episode_buffer import EpisodeBatch, ReplayBuffer
from components.scheme import build_scheme
from components.standarize_stream import RunningMeanStd
from envs import REGISTRY as env_REGISTRY
from learners.losses import transition_mask
from loops.evaluator import Evaluator
from tests.command_line import ROOT, CommandLine, status
from tests.components.buffers import make as make_offline_buffer
from tests.learners.learner_tester import assert_same, make_batch, make_learner, train
from tests.runners.made import build

ENV_INFO = {"state_shape": 4, "obs_shape": 3, "n_actions": 5, "n_agents": 2, "episode_limit": 6}


def cut_episode(steps: int) -> EpisodeBatch:
    """An episode of `steps` steps ended by a time limit: steps + 1 filled rows, reward 1 a step, no terminal."""
    scheme, groups, preprocess = build_scheme(ENV_INFO, SimpleNamespace(common_reward=True))
    batch = EpisodeBatch(scheme, groups, 1, ENV_INFO["episode_limit"] + 1, preprocess=preprocess)
    batch.update({"state": th.ones(1, steps + 1, 4)}, ts=slice(0, steps + 1))
    batch.update({"reward": th.ones(1, steps, 1)}, ts=slice(0, steps))
    return batch


def replay_buffer(*episodes: EpisodeBatch) -> ReplayBuffer:
    scheme, groups, preprocess = build_scheme(ENV_INFO, SimpleNamespace(common_reward=True))
    buffer = ReplayBuffer(scheme, groups, len(episodes), ENV_INFO["episode_limit"] + 1, preprocess=preprocess)
    for episode in episodes:
        buffer.insert_episode_batch(episode)
    return buffer


@pytest.mark.parametrize("env", ["gymma", "mpe"])
def test_trap_1_a_time_limit_is_no_terminal_and_the_last_reward_is_kept(env: str) -> None:
    key = {"gymma": "mpe2.simple_spread_v3", "mpe": "simple_spread_v3"}[env]
    made = env_REGISTRY[env](
        key=key, time_limit=25, seed=3, common_reward=True, reward_scalarisation="sum", continuous_actions=False
    )
    made.reset(seed=3)
    for step in range(25):
        _, reward, terminated, truncated, info = made.step(np.array([1, 2, 3]))
        assert reward != 0 and not terminated, step
        assert truncated == bool(info["episode_limit"]) == (step == 24)
    made.close()


@pytest.mark.parametrize("runner", ["episode", "vector"])
def test_trap_2_an_evaluation_logs_once_after_its_last_episode(runner: str) -> None:
    made, args, logger = build(runner, runner_log_interval=1)
    evaluator = Evaluator(made, args, None)
    found = [evaluator.evaluate(t) for t in (100, 200, 300)]
    assert not logger.stats
    for evaluation in found:
        evaluation.log(logger)
        # The same episodes and the same policy: no stale return is left over.
        assert evaluation.episodes.returns.tolist() == found[0].episodes.returns.tolist()
    assert [t for t, _ in logger.stats["test_return_mean"]] == [100, 200, 300]


@pytest.mark.slow
def test_trap_3_a_run_ends_completed_with_its_metrics_and_info(cli: CommandLine) -> None:
    result = cli.run("t_max=10")
    assert result.returncode == 0, result.stderr
    run = cli.runs()[0]
    assert status(run) == "COMPLETED"
    assert json.loads((run / "metrics.json").read_text())["test_return_mean"]["steps"] == [0, 10]
    assert json.loads((run / "info.json").read_text())["test_return_mean_T"] == [0, 10]
    # A second signal ends a process at once, with its record marked; a sweep's fork ends where no run has begun.
    ending = {ROOT / "src" / "utils" / "signals.py", ROOT / "src" / "sweeps" / "child.py"}
    assert not [path for path in (ROOT / "src").rglob("*.py") if "os._exit(" in path.read_text() and path not in ending]


@pytest.mark.parametrize("runner", ["episode", "vector"])
@pytest.mark.parametrize("test_mode", [False, True])
def test_trap_4_rollouts_build_no_graph(runner: str, test_mode: bool) -> None:
    made, _, _ = build(runner)
    assert all(parameter.requires_grad for parameter in made.mac.parameters())
    batch = made.run(test_mode=test_mode)
    assert not any(value.requires_grad for value in batch.data.transition_data.values())
    chosen = made.mac.select_actions(batch, t_ep=0, t_env=0, test_mode=test_mode)
    assert not chosen.requires_grad


def test_trap_5_the_actor_critic_controller_selects_for_some_episodes_only() -> None:
    made, _, _ = build("vector")
    batch = made.run()
    every = made.mac.select_actions(batch, t_ep=3, t_env=0, test_mode=True)
    some = made.mac.select_actions(batch, t_ep=3, t_env=0, bs=[0, 2], test_mode=True)
    assert th.equal(some, every[[0, 2]])


def test_trap_5_a_loaded_actor_critic_has_its_critics_targets_and_optimisers(tmp_path: Path) -> None:
    first, second = make_learner("matd3"), make_learner("matd3", seed=77)
    train(first, 0, 5)
    first.save_models(str(tmp_path))
    second.load_models(str(tmp_path))
    assert_same(first.critic.state_dict(), second.critic.state_dict())
    assert_same(first.critic.state_dict(), second.target_critic.state_dict())
    for name in ("critic", "actor"):
        assert_same(first.optimisers[name].state_dict(), second.optimisers[name].state_dict())


def test_trap_5_an_actor_critic_does_not_train_on_padding() -> None:
    learner = make_learner("matd3")
    batch = make_batch(learner.args, steps=4)
    batch["terminated"][0, 1], batch["filled"][0, 3:] = 1, 0
    losses = []
    for padding in (0.0, 1e4):
        batch["reward"][0, 2:], batch["state"][0, 2:] = padding, padding
        noise = {"target": th.zeros(6, 3, learner.args.n_agents, learner.args.n_actions)}
        losses.append(learner("critic", batch, noise)[0])
    assert th.equal(losses[0], losses[1]) and losses[0].isfinite()


def test_trap_6_reward_statistics_leave_padding_out() -> None:
    reward, mask = th.zeros(1, 10, 1), th.zeros(1, 10, 1)
    reward[:, :2], mask[:, :2] = -10.0, 1.0
    statistics = RunningMeanStd(shape=(1,))
    for _ in range(100):
        statistics.update(reward, mask)
    assert statistics.mean.item() == pytest.approx(-10.0, abs=1e-3)  # stock: -2


def test_trap_7_importing_the_environments_imports_no_simulator() -> None:
    names = "('mpe2', 'pettingzoo', 'gymnasium', 'pygame', 'lbforaging', 'smaclite', 'mujoco')"
    look = f"print([name for name in {names} if name in sys.modules])"
    code = f"import sys; sys.path.insert(0, 'src'); import envs, runners; {look}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


def test_trap_8_one_team_reward_gives_independent_learners_an_error_each() -> None:
    """Stock's loss: N squared errors against the one reward, averaged over agents; kept, so that curves compare."""
    learner = make_learner("iql", standardise_rewards=False, gamma=0.0)
    batch = make_batch(learner.args, steps=3)
    loss, _ = learner("q", batch, {})
    values = learner.unroll(learner.mac, batch, slice(None))[:, :-1]
    taken = values.gather(-1, batch["actions"][:, :-1]).squeeze(-1)  # (B, T-1, N)
    rewards = batch["reward"][:, :-1].expand(-1, -1, learner.args.n_agents)
    assert th.allclose(loss, (taken - rewards).square().mean())


def test_trap_9_a_sample_of_the_whole_buffer_is_a_copy() -> None:
    buffer = replay_buffer(cut_episode(6), cut_episode(6))
    before = copy.deepcopy(buffer.data.transition_data)
    sample = buffer.sample(2)
    for value in sample.data.transition_data.values():
        value.fill_(3)
    assert_same(before, buffer.data.transition_data)


def test_trap_10_a_controller_can_be_copied_after_a_rollout() -> None:
    made, _, _ = build("episode", agent="rnn", mac="basic_mac", use_rnn=True, hidden_dim=8)
    made.run()
    batch = made.batch
    made.mac.init_hidden(1)
    made.mac.forward(batch, 0)  # outside no_grad: the recurrent state hangs in a graph
    assert made.mac.hidden_states.requires_grad
    copied = copy.deepcopy(made.mac)
    assert_same(copied.agent.state_dict(), made.mac.agent.state_dict())


@pytest.mark.parametrize("config", ["spacql", "matd3"])
@pytest.mark.parametrize("mode", ["evaluate=True", "evaluate=False"])
def test_trap_11_a_missing_checkpoint_is_an_error(cli: CommandLine, config: str, mode: str) -> None:
    result = cli.run("checkpoint_path=/nowhere/at/all", mode, config=config)
    assert result.returncode == 1
    assert "error: checkpoint_path=/nowhere/at/all: there is no such directory" in result.stderr


@pytest.mark.slow
def test_trap_12_the_record_does_not_grow_with_every_update(cli: CommandLine) -> None:
    sizes = []
    for updates in (20, 200):  # each run logs, tests and saves once, at its last update
        intervals = [f"{key}={updates}" for key in ("test_interval", "log_interval", "save_model_interval")]
        result = cli.run(f"t_max={updates}", "batch_size=16", *intervals)  # quick: progress is printed by the clock
        assert result.returncode == 0, result.stderr
        sizes.append(len((cli.runs()[-1] / "cout.txt").read_text().splitlines()))
    assert sizes[0] == sizes[1], sizes


def test_trap_13_an_episode_cut_early_has_no_transition_into_the_padding() -> None:
    buffer = replay_buffer(cut_episode(3), cut_episode(5))
    sample = buffer.sample(2)
    sample = sample[:, : int(sample.max_t_filled())]
    masks = sorted(transition_mask(sample)[..., 0].tolist())
    assert masks == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]  # stock: [1, 1, 1, 1, 0]
    assert sample.max_seq_length == 6


def test_trap_13_nor_has_one_from_a_dataset() -> None:
    batch = make_offline_buffer([3, 5], window=None)[0].sample(40)
    masks = {tuple(row) for row in transition_mask(batch)[..., 0].tolist()}
    assert masks == {(1, 1, 1, 0, 0), (1, 1, 1, 1, 1)}
