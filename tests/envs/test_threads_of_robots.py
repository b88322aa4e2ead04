"""`env_args.threads` says how fast robots move: it is no part of what a run, a score or a dataset is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from datasets.agreement import environment_mismatch
from datasets.references import reference_returns
from envs import REGISTRY
from envs.process_env import ProcessVectorEnv
from loops.configured import configured
from loops.continuation import compared_settings
from loops.identity import run_identity
from reporting.groups import compared
from reporting.sacred_runs import read_sacred
from tests.reporting.made import make_run
from utils.errors import EnvError

pytest.importorskip("gymnasium_robotics")
HOPPER = {"key": "Hopper", "partition": "3x1"}
THREADED = HOPPER | {"threads": 2}


def test_a_single_robot_takes_them_and_moves_as_without() -> None:
    """As runner=episode and runner=parallel make it, and evaluate=True render=True."""
    plain, threaded = (REGISTRY["mamujoco"](**env_args, seed=3) for env_args in (HOPPER, THREADED))
    for env in (plain, threaded):
        env.reset()
        env.step(np.full((3, 1), 0.3))
    np.testing.assert_array_equal(plain.get_state(), threaded.get_state())
    processes = ProcessVectorEnv(1, "mamujoco", THREADED)
    assert processes.get_env_info() == threaded.get_env_info() == plain.get_env_info()
    processes.close()
    with pytest.raises(EnvError, match="env_args.threads must be a whole number of at least 1, not 0"):
        REGISTRY["mamujoco"](**HOPPER, threads=0)


def test_scores_and_datasets_are_those_without() -> None:
    assert reference_returns("mamujoco", THREADED) == reference_returns("mamujoco", HOPPER) is not None
    for there, here in ((THREADED, HOPPER), (HOPPER, THREADED), (THREADED, HOPPER | {"threads": 1})):
        card = {"environment": {"env": "mamujoco", "env_args": there}}
        args = SimpleNamespace(env="mamujoco", env_args=here)
        assert environment_mismatch(args, card) is None
        assert compared_settings(args).keys() == {"env", "env_args.key", "env_args.partition"}


def test_runs_are_those_without(tmp_path: Path) -> None:
    def found(**env_args: Any) -> str | None:
        given = {"env_args": env_args, "seed": 1}
        return run_identity(configured("mappo", "hopper", given, False, lambda _: None, lambda _: None).final)

    assert found() == found(threads=2) != found(time_limit=9)
    runs = [make_run(tmp_path / str(i), env_args=own) for i, own in enumerate((HOPPER, THREADED))]
    first, second = (compared(read_sacred(run)) for run in runs)
    assert first == second
