"""What is judged without a simulator: held-out losses, and the value of a given policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

from loops.validation import Validation, split
from tests.command_line import CommandLine
from tests.components.test_offline_buffer import make as make_buffer
from tests.learners.learner_tester import make_learner
from utils.errors import ConfigError
from utils.settings import Settings


def metrics(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return found


@pytest.mark.parametrize("window", [1, None])
def test_the_split_is_by_episode_and_seeded(window: int | None) -> None:
    buffer = make_buffer([3, 5, 4, 2, 6], window=window)[0]
    settings = Settings(validation_share=0.4, seed=1)
    train, held = split(buffer, settings)
    assert held is not None and train.n_windows + held.n_windows == buffer.n_windows
    again = split(buffer, settings)[1]
    other = split(buffer, Settings(validation_share=0.4, seed=2))[1]
    assert again is not None and other is not None
    assert th.equal(held.first_windows(), again.first_windows())
    parts = [set(part._table["first"].tolist()) for part in (train, held, other)]
    assert len(parts[1]) == 2 and not parts[0] & parts[1] and parts[1] != parts[2]
    assert split(buffer, Settings(validation_share=0.0, seed=1)) == (buffer, None)


@pytest.mark.parametrize("share", [0.05, 0.9])
def test_an_empty_part_is_refused(share: float) -> None:
    buffer = make_buffer([3, 3], window=1)[0]
    with pytest.raises(ConfigError, match="validation_share"):
        split(buffer, Settings(validation_share=share, seed=0))


def test_a_run_logs_losses_of_what_it_does_not_learn_from(cli: CommandLine) -> None:
    plain = cli.run("test_interval=10", config="spacql")
    held = cli.run("validation_share=0.25", config="spacql")
    assert plain.returncode == 0 and held.returncode == 0, held.stderr
    assert "validation_critic_loss" in held.stderr + held.stdout
    series = metrics(cli.runs()[-1])["validation_critic_loss"]
    assert series["steps"] == [0, 10, 20] and np.isfinite(series["values"]).all()


def test_the_value_of_a_policy_is_fitted_from_data_alone(cli: CommandLine) -> None:
    assert cli.run("t_max=20", config="bc").returncode == 0
    policy = cli.checkpoints()[-1]
    weights = th.load(policy / "20" / "agent.th", weights_only=True)
    updates = (f"policy_path={policy}", "t_max=30", "test_interval=10", "hidden_dim=8", "batch_size=16", "seed=3")
    result = cli.run(*updates, config="fqe")
    assert result.returncode == 0, result.stderr
    run = json.loads((cli.runs()[-1] / "run.json").read_text())
    assert run["result"] == metrics(cli.runs()[-1])["fqe_value"]["values"][-1]
    assert metrics(cli.runs()[-1])["fqe_value"]["steps"] == [10, 20, 30]
    after = th.load(cli.checkpoints()[-1] / "30" / "agent.th", weights_only=True)
    assert all(th.equal(after[key], value) for key, value in weights.items())  # nothing moved the policy


@pytest.mark.parametrize(("path", "words"), [("", "set policy_path"), ("nowhere", "there is no such directory")])
def test_a_policy_that_is_not_there_is_refused(cli: CommandLine, path: str, words: str) -> None:
    result = cli.run(f"policy_path={path!r}", config="fqe")
    assert result.returncode == 1 and words in result.stderr and "Traceback" not in result.stderr


def test_validation_leaves_the_learners_randomness_alone() -> None:
    learner = make_learner("spacql")
    before = learner.generator.get_state()
    args = learner.args
    args.evaluation_seed, args.batch_size = 0, 4
    buffer = make_buffer([3, 5], window=1)[0]
    validation = Validation(learner, buffer, args)
    validation._means = lambda: {"x": float(th.rand(1, generator=learner.generator))}  # type: ignore[method-assign]
    assert validation.losses() == validation.losses()
    assert th.equal(before, learner.generator.get_state())
