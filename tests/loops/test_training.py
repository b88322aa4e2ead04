"""Checkpoints as the loops write and read them: where they are loaded to, when they are saved, who says so."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loops.training import Training
from tests.learners.learner_tester import assert_same, make_learner, train
from utils.logging import Logger


class Loop(Training):
    """A loop without data or environment: a real learner, one batch of noise an update."""

    runner = evaluator = None

    def __init__(self, folder: Path, **updates: Any) -> None:
        keys = {"results": folder, "unique_token": "run", "env_args": {}, "name": "spacql", "learner": "spacql_learner",
                "seed": 5, "device": "cpu", "t_max": 9, "save_model": True, "save_model_interval": 100,
                "test_interval": 100, "log_interval": 100, "checkpoint_path": "", "load_step": 0}  # fmt: skip
        super().__init__(SimpleNamespace(**keys | updates), Logger(logging.getLogger("loop")))
        self.learner = make_learner()

    def advance(self) -> None:
        train(self.learner, self.t, self.t + 1)
        self.t += 1

    def buffer_state(self) -> dict[str, Any]:
        return {}

    def load_buffer_state(self, state: dict[str, Any]) -> None:
        assert state == {}


def saved_at(folder: Path, t: int) -> Path:
    """The run directory of a loop that was saved after `t` updates."""
    first = Loop(folder)
    for _ in range(t):
        first.advance()
    return first.save().parent


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_state_is_loaded_to_the_cpu_whatever_device_the_run_is_on(device: str, tmp_path: Path) -> None:
    """`meta`, like a GPU, holds tensors that numpy and the CPU's generators cannot take."""
    straight = Loop(tmp_path / "straight")
    straight.run(SimpleNamespace())
    continued = Loop(tmp_path, unique_token="second", device=device, checkpoint_path=str(saved_at(tmp_path, 5)))
    continued.run(SimpleNamespace())
    assert_same(straight.learner.state_dict(), continued.learner.state_dict())
    assert_same(straight.learner.training_state(), continued.learner.training_state())
