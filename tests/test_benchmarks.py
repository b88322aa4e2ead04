"""The benchmarks' set-ups still fit the code they measure; what they measure is not checked here."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from tests.command_line import ROOT


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("penalty", ["policy", "logsumexp"])
def test_the_critic_step_trains(penalty: str) -> None:
    learner, batch = load("critic_step").build(penalty, False, None)
    learner.train(batch, 1, 0)
    learner.check_finite(1)


def test_the_sampling_buffers_hold_the_same_episodes() -> None:
    replay, offline = load("buffer_sampling").build(20)
    assert replay.episodes_in_buffer == offline.episodes_in_buffer == 20
