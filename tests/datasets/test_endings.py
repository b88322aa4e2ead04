"""Doubt about terminals that may be time limits: when collecting, recording, training and inspecting."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.dataset import read_dataset, write_dataset
from datasets.endings import doubtful_dataset, doubtful_ends
from datasets.report import inspect_file
from loops.collect import card_fields, play, write
from loops.recording import Recording
from tests.command_line import MAIN
from tests.fork_server import run_script
from tests.runners.made import DISCRETE, build

GYMMA = {"env": "gymma", "env_args": {"key": "x", "time_limit": 9}}


@pytest.mark.parametrize(
    ("lengths", "terminal", "environment", "words"),
    [
        ([5, 5, 5], [1, 1, 1], GYMMA, "all 3 episodes end by a terminal after 5 steps"),
        ([1, 1], [1, 1], {"env": "mine"}, "all 2 episodes end by a terminal after 1 steps"),
        ([9, 9, 3], [1, 1, 1], GYMMA, "all 2 episodes that reach the time limit end by a terminal after 9 steps"),
        ([50, 50], [1, 1], {"env": "bridge"}, "a time limit of 49 steps"),
        ([20, 20], [1, 1], {"env": "bridge", "env_args": {"episode_limit": 20}}, "all 2 episodes"),
        ([7] * 6 + [1, 3, 5, 6], [1] * 10, GYMMA, "6 of 10 episodes, which are the longest ones, end by a terminal"),
        ([50] * 5 + [8] * 200, [1] * 205, {"env": "mine"}, "a time limit of 49 steps"),  # solved, or stuck
        ([7] * 6 + [6] * 4, [1] * 10, GYMMA, None),  # true ends come near one another
        ([7] * 4 + [1, 2, 3], [1] * 7, GYMMA, None),  # too few
        ([7] * 6 + [1, 3], [1, 1, 1, 0, 1, 1, 1, 1], GYMMA, None),  # the limit is known
        ([8] * 9 + [3], [1] * 10, {"env": "bridge", "env_args": {}}, None),
        ([5, 5, 5], [1, 0, 1], GYMMA, None),
        ([5, 5, 4], [1, 1, 1], GYMMA, None),
        ([9, 9, 3], [1, 0, 1], GYMMA, None),
        ([9, 3], [1, 1], GYMMA, None),
        ([5], [1], GYMMA, None),
        ([8, 8, 8], [1, 1, 1], {"env": "bridge", "env_args": {}}, None),  # its shortest routes
        ([5, 5], [0, 0], GYMMA, None),
        ([8, 8], [1, 1], {"env": "bridge", "env_args": {"episode_limit": "many"}}, None),
    ],
)
def test_ends_that_look_like_a_limit(lengths: Any, terminal: Any, environment: Any, words: str | None) -> None:
    doubt = doubtful_ends(np.array(lengths), np.array(terminal, bool), environment)
    assert doubt is None if words is None else (doubt is not None and words in doubt and "\n" not in doubt)


def dataset(path: Path, lengths: list[int], terminal: list[int]) -> Path:
    rows = sum(lengths) + len(lengths)
    offsets = np.concatenate([[0], np.cumsum(np.array(lengths) + 1)])
    ends = np.zeros(rows)
    ends[offsets[1:] - 2] = terminal
    arrays = {
        "obs": np.arange(rows * 4, dtype=np.float32).reshape(rows, 2, 2),
        "actions": np.zeros((rows, 2, 1), np.int64),
        "avail_actions": np.ones((rows, 2, 3), np.int64),
        "reward": np.ones((rows, 2), np.float32),
        "terminated": ends,
    }
    arrays["reward"][offsets[1:] - 1] = 0
    fields = {"environment": GYMMA, "action_space": "discrete", "n_actions": 3}
    write_dataset(path, arrays, offsets, fields, last_action_known=True)
    return path


@pytest.mark.parametrize(
    ("lengths", "terminal", "doubted"),
    [([4] * 5, [1] * 5, True), ([4] * 5, [0] * 5, False), ([4, 3, 4], [1, 1, 1], False), ([1, 1], [1, 1], True)],
)
def test_inspect_and_training_doubt_a_dataset(
    lengths: list[int], terminal: list[int], doubted: bool, tmp_path: Path
) -> None:
    path = dataset(tmp_path / "data.h5", lengths, terminal)
    assert (doubtful_dataset(read_dataset(path)) is not None) == doubted
    lines, sound = inspect_file(path)
    assert sound and any(line.startswith("warning: all") for line in lines) == doubted


def test_training_begins_with_the_warning(tmp_path: Path) -> None:
    path = dataset(tmp_path / "data.h5", [4] * 40, [1] * 40)
    words = ["--config=bc_discrete", "--env-config=gymma", "with", "env=None", f"dataset={path}", "t_max=2",
             "hidden_dim=8", "batch_size=4", "use_cuda=False", "save_model=False",
             f"local_results_path={tmp_path}"]  # fmt: skip
    result = run_script(MAIN, words)
    assert result.returncode == 0, result.stderr
    assert "all 40 episodes end by a terminal after 4 steps" in result.stderr


@pytest.mark.parametrize("runner", ["episode", "vector"])
@pytest.mark.parametrize(
    ("key", "env_args", "doubted"),
    [
        ("Nameless-v0", {"time_limit": 9}, True),
        ("Nameless-v0", {"time_limit": 4}, True),
        ("Nameless-v0", {"time_limit": 3}, False),  # as the warning advises
        ("Rware-v0", {"time_limit": 4}, False),  # known to be a limit
        ("Rware-v0", {"time_limit": 500}, False),
    ],
)
def test_collecting_and_playing_online_warn(
    key: str, env_args: dict[str, Any], doubted: bool, runner: str, tmp_path: Path, caplog: Any
) -> None:
    env_args = {"key": f"tests.envs.toy_ends:{key}", "seed": 0, **env_args}
    keys = {"env": "gymma", "env_args": env_args, "name": "x", "collect_quality": None, "seed": 0, **DISCRETE}
    made, args, logger = build(
        runner, **keys, collect_episodes=3, collect=True, collect_to=str(tmp_path / "x.h5"), common_reward=False
    )
    arrays, offsets = play(made, args, logger)
    fields = card_fields(args, made.get_env_info(), "someone")
    with caplog.at_level(logging.WARNING):
        write(tmp_path / "x.h5", arrays, offsets, fields, logging.getLogger("test"), tmp_path)
    assert ("all 3 episodes end by a terminal after 4 steps" in caplog.text) == doubted
    assert int(arrays["terminated"].sum()) == 3 * doubted

    caplog.clear()
    online, _, _ = build(runner, **keys, batch_size_run=1)
    for _ in range(12):
        online.run()
    online.close_env()
    assert caplog.text.count("end by a terminal after 4 steps") == doubted  # once


@pytest.mark.parametrize("recorded", [False, True])
def test_a_nameless_limit_among_true_ends_is_warned_of(recorded: bool, tmp_path: Path, caplog: Any) -> None:
    """recorded: by `replay_to`; else by `collect`."""
    path = tmp_path / "x.h5"
    env_args = {"key": "tests.envs.toy_ends:Sometimes-v0", "seed": 0, "time_limit": 9}
    made, args, logger = build(
        "episode", env="gymma", env_args=env_args, name="x", collect_quality=None, seed=0, **DISCRETE,
        collect_episodes=9, collect=True, collect_to=str(path), replay_to=str(path), common_reward=False,
        results=tmp_path,
    )  # fmt: skip
    log = logging.getLogger("test")
    arrays, offsets = play(made, args, logger)
    with caplog.at_level(logging.WARNING):
        if recorded:
            recording = Recording(args)
            recording.parts = [{**arrays, "episode_lengths": np.diff(offsets)}]
            recording.write(made, log)
        else:
            write(path, arrays, offsets, card_fields(args, made.get_env_info(), "someone"), log, tmp_path)
    assert "6 of 9 episodes, which are the longest ones, end by a terminal after 4 steps" in caplog.text


def test_a_few_online_episodes_are_judged_at_the_end(caplog: Any) -> None:
    env_args = {"key": "tests.envs.toy_ends:Nameless-v0", "seed": 0, "time_limit": 9}
    online, _, _ = build("vector", env="gymma", env_args=env_args, **DISCRETE)
    online.run()
    online.run(test_mode=True)
    assert not caplog.text
    online.close_env()
    online.close_env()
    assert caplog.text.count("all 4 episodes end by a terminal after 4 steps") == 1
