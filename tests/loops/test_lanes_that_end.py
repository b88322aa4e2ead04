"""Seeds trained together of which one ends early, or all: what is kept, and what is said."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch as th
from sacred.utils import SacredInterrupt

from loops import lanes
from loops.build import build
from loops.lanes import Together
from tests.loops.in_process import LOG, NO_RUN, first_of, same, settings_of
from utils.errors import ConfigError, TrainingError, UserError
from utils.logging import Logger


@pytest.fixture(autouse=True)
def not_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no Sacred run whose record could be described."""
    monkeypatch.setattr(lanes.Lane, "_describe", lambda self, run: None)


def train(folder: Path, dataset: Path, seeds: list[int], **updates: Any) -> tuple[Together, list[Path]]:
    """Train `seeds` without Sacred; the folders of their checkpoints."""
    folders: list[Path] = []

    def begin(seed: int) -> None:
        keys = {"t_max": 12, "save_model_interval": 4, "learner_log_interval": 2, "test_interval": 100, "hidden_dim": 8,
                "batch_size": 16, "dataset": str(dataset), "seed": seed}  # fmt: skip
        parts = build(settings_of("bc", "none", folder, **keys | updates), Logger(LOG), rows=together.rows)
        folders.append(folder / "models" / parts.args.unique_token)
        together.run(parts, Logger(LOG), NO_RUN)

    together = Together(seeds, begin)
    return together, folders


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_a_seed_that_diverges_ends_alone(
    tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Its error names its checkpoint; the others end as if it had never been there."""
    after = lanes.Lane.after

    def spoil(self: lanes.Lane, before: int, progress: Any) -> None:
        after(self, before, progress)
        if self.args.seed == 2 and self.t == 4:
            with th.no_grad():
                next(self.learner.agent.parameters()).fill_(th.nan)

    def run(name: str, seeds: list[int]) -> list[dict[str, Any]]:
        together, folders = train(tmp_path / name, tiny_dataset, seeds, validation_share=share)
        if 2 in seeds:
            with pytest.raises(TrainingError, match="^seed 2: the bc loss .* at update 5 .*; the last good"):
                together.start()
            assert [step.name for step in folders[1].glob("[0-9]*")] == ["4"]
            del folders[1]
        else:
            together.start()
        return [first_of(folder / "12") for folder in folders]

    monkeypatch.setattr(lanes.Lane, "after", spoil)
    same(run("with", [1, 2, 3]), run("without", [1, 3]))


def test_a_fault_in_one_seed_s_evaluation_ends_it_alone(
    tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = lanes.Lane.after

    def fail(self: lanes.Lane, before: int, progress: Any) -> None:
        if self.args.seed == 2 and self.t == 4:
            raise RuntimeError("the simulator is unstable")
        after(self, before, progress)

    monkeypatch.setattr(lanes.Lane, "after", fail)
    together, folders = train(tmp_path, tiny_dataset, [1, 2, 3])
    with pytest.raises(RuntimeError, match="the simulator is unstable"):
        together.start()
    assert set(together.errors) == {2}
    assert [sorted(step.name for step in folder.glob("[0-9]*")) for folder in folders] == [
        ["12", "4", "8"], [], ["12", "4", "8"]
    ]  # fmt: skip


@pytest.mark.parametrize("error", [TrainingError("it diverged"), RuntimeError("it broke")])
def test_a_signal_after_a_seed_has_failed_is_an_interruption_that_tells_what_was_saved(
    tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    after = lanes.Lane.after

    def fail_then_stop(self: lanes.Lane, before: int, progress: Any) -> None:
        if self.args.seed == 2 and self.t == 4:
            raise error
        after(self, before, progress)
        if self.args.seed == 3 and self.t == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(lanes.Lane, "after", fail_then_stop)
    together, _ = train(tmp_path, tiny_dataset, [1, 2, 3])
    with pytest.raises(SacredInterrupt, match=f"seed 1: SIGTERM at .*; seed 2: {error}; seed 3: SIGTERM at "):
        together.start()


def test_an_error_of_all_ends_all(tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the program is raised as it is, once."""

    def fail(self: Any, *anything: Any) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(lanes, "sample_together", fail)
    together, _ = train(tmp_path, tiny_dataset, [1, 2])
    with pytest.raises(RuntimeError, match="a fault"):
        together.start()
    assert set(together.errors) == {1, 2}


def test_a_stack_that_cannot_be_made_ends_all(
    tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No run reports a result of training that never was."""

    def refuse(learners: Any) -> None:
        raise ConfigError("no lanes")

    monkeypatch.setattr(lanes.Lane, "report", lambda self, run: pytest.fail("it was not trained"))
    monkeypatch.setattr(lanes, "Lanes", refuse)
    together, _ = train(tmp_path, tiny_dataset, [1, 2])
    with pytest.raises(ConfigError, match="^no lanes$"):
        together.start()


def test_a_run_that_cannot_begin_ends_all(tmp_path: Path, tiny_dataset: Path) -> None:
    """The seeds before it are there already, and nothing was trained."""
    together, folders = train(tmp_path, tiny_dataset, [1, 2])
    begin = together._begin

    def begins(seed: int) -> None:
        if seed == 2:
            raise UserError("no room")
        begin(seed)

    together._begin = begins
    with pytest.raises(UserError, match="^no room$"):
        together.start()
    assert not folders[0].exists()
