"""Checkpoints as the loops write and read them: where they are loaded to, when they are saved, who says so."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch as th
from sacred.utils import SacredInterrupt

from loops.build import Parts
from loops.evaluator import Evaluator, Reference
from loops.offline import OfflineTraining
from loops.training import Training
from runners.episodes import Episodes
from tests.command_line import CommandLine, status
from tests.components.buffers import make as make_buffer
from tests.fork_server import run_script
from tests.learners.learner_tester import assert_same, make_learner, train
from utils.checkpoint import STATE_FILE, load_state
from utils.errors import CheckpointError
from utils.logging import Logger
from utils.manifest import write_manifest
from utils.settings import Settings
from utils.signals import StopSignals, check
from utils.training_state import ENTRIES


class Loop(Training):
    """A loop without environment: a learner that is shown one batch of noise an update, a buffer beside it."""

    buffer_state, load_buffer_state = OfflineTraining.buffer_state, OfflineTraining.load_buffer_state

    def _held_out(self) -> int:
        return 0

    def __init__(self, folder: Path, **updates: Any) -> None:
        keys = {"results": folder, "unique_token": "run", "env_args": {}, "name": "spacql", "learner": "spacql_learner",
                "seed": 5, "device": "cpu", "t_max": 9, "save_model": True, "save_model_interval": 100,
                "test_interval": 100, "log_interval": 100, "checkpoint_path": "", "load_step": 0, "load_weights": "",
                "common_reward": True, "reward_scalarisation": "mean", "evaluation_seed": 0,
                "agent_output_type": "mean", "action_selector": "deterministic"}  # fmt: skip
        evaluator = updates.pop("evaluator", None)
        settings = Settings(**keys | updates)
        learner, buffer = make_learner(), make_buffer([3, 5], window=1)[0]
        info = {"action_space": "continuous"}
        parts = Parts(settings, info, learner.mac, evaluator=evaluator, learner=learner, buffer=buffer)
        super().__init__(parts, Logger(logging.getLogger("loop")))

    def _describe(self, sacred_run: Any) -> None:
        """There is no environment or dataset to describe."""

    def advance(self) -> None:
        train(self.learner, self.t, self.t + 1)
        self.t += 1


def saved_at(folder: Path, t: int) -> Path:
    """The run directory of a loop that was saved after `t` updates."""
    first = Loop(folder)
    for _ in range(t):
        first.advance()
    return first.save().parent


def rewrite(file: Path, state: dict[str, Any]) -> None:
    """Save another state, as if the run had written it."""
    th.save(state, file)
    write_manifest(file.parent)


def test_a_checkpoint_holds_just_what_one_must_hold(tmp_path: Path) -> None:
    assert set(load_state(saved_at(tmp_path, 1) / "1")) == {*ENTRIES, "changed"}


class Scores:
    """A runner whose evaluations give 1, 2, 3, ... to every agent's team and play nothing."""

    t_env = 0

    def __init__(self) -> None:
        self.played = 0

    def evaluate(self) -> Episodes:
        self.played += 1
        return Episodes(np.full(4, self.played, np.float64), np.full(4, 5), {"won": 0.5})


def evaluated(tmp_path: Path, token: str, t_max: int, **updates: Any) -> Loop:
    """A loop that evaluates at 0, 4, 8, ... and at its end, run to `t_max`; its first score there is `first`."""
    scores = Scores()
    scores.played = updates.pop("first", 1) - 1
    args = Settings(device="cpu", evaluation_seed=0, common_reward=True, reward_scalarisation="mean")
    evaluator = Evaluator(scores, args, Reference(0.0, 10.0, "here"))
    loop = Loop(tmp_path, unique_token=token, evaluator=evaluator, t_max=t_max, test_interval=4, **updates)
    loop.resume()
    with StopSignals() as signals:
        loop.loop(signals)
    return loop


@pytest.mark.parametrize("release", ["this", "earlier"])
def test_the_figures_of_a_continued_run_span_both_parts(release: str, tmp_path: Path) -> None:
    """And of a checkpoint by an earlier release, which holds the logged values and no evaluations."""
    first = evaluated(tmp_path, "first", t_max=6)
    assert first.evaluator is not None and first.evaluator.history == [(0, 1), (4, 2), (6, 3)]
    file = first.directory / "6" / STATE_FILE
    state = th.load(file, weights_only=True)
    assert state["evaluations"] == [[0, 1.0], [4, 2.0], [6, 3.0]]
    if release == "earlier":
        del state["evaluations"]
        state["settings"] |= {"agent_output_type": "auto", "action_selector": "auto"}
        rewrite(file, state)
    later = evaluated(tmp_path, "second", t_max=10, checkpoint_path=str(first.directory), first=11)
    assert later.evaluator is not None
    # The first part's closing evaluation, at 6, is none of the whole run's.
    assert later.evaluator.history == [(0, 1), (4, 2), (8, 11), (10, 12)]
    assert later.logger.stats["test_return_mean"] == later.evaluator.history
    assert later.logger.stats["test_normalised_score"] == [(t, 10 * value) for t, value in later.evaluator.history]
    summary = later.evaluator.summary()
    assert (summary["final_return"], summary["best_return"], summary["last10_return"]) == (12, 12, 6.5)
    kept = load_state(later.directory / "10")
    assert kept["evaluations"] == [[0, 1.0], [4, 2.0], [8, 11.0], [10, 12.0]]


def test_a_part_without_evaluations_does_not_end_the_history(tmp_path: Path) -> None:
    first = evaluated(tmp_path, "first", t_max=5)
    middle = Loop(tmp_path, unique_token="second", t_max=8, test_interval=4, checkpoint_path=str(first.directory))
    middle.run(SimpleNamespace())
    assert "evaluations" not in load_state(middle.directory / "8")
    last = evaluated(tmp_path, "third", t_max=12, checkpoint_path=str(middle.directory), first=11)
    assert last.evaluator is not None and last.evaluator.history == [(0, 1), (4, 2), (12, 11)]


@pytest.mark.parametrize(("chosen", "warned"), [("auto", False), ("deterministic", False), ("gaussian", True)])
def test_a_selector_that_auto_stood_for_is_no_change(
    chosen: str, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Checkpoints of earlier releases hold `auto` where those of this one hold what it became."""
    folder = saved_at(tmp_path, 3)
    state = th.load(folder / "3" / STATE_FILE, weights_only=True)
    state["settings"] |= {"agent_output_type": "auto", "action_selector": chosen}
    rewrite(folder / "3" / STATE_FILE, state)
    Loop(tmp_path, unique_token="second", checkpoint_path=str(folder)).resume()
    assert ("action_selector was" in caplog.text) == warned and "agent_output_type was" not in caplog.text


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_state_is_loaded_to_the_cpu_whatever_device_the_run_is_on(device: str, tmp_path: Path) -> None:
    """`meta`, like a GPU, holds tensors that numpy and the CPU's generators cannot take."""
    straight = Loop(tmp_path / "straight")
    straight.run(SimpleNamespace())
    continued = Loop(tmp_path, unique_token="second", device=device, checkpoint_path=str(saved_at(tmp_path, 5)))
    continued.run(SimpleNamespace())
    assert_same(straight.learner.state_dict(), continued.learner.state_dict())
    assert_same(straight.learner.training_state(), continued.learner.training_state())


@pytest.mark.parametrize(
    ("whose", "keys"), [("learner", "use_cuda"), ("buffer", "use_cuda, buffer_cpu_only, memory_map or window")]
)
def test_another_kind_of_device_draws_anew_and_says_so(
    whose: str, keys: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A CUDA generator's state is 16 bytes, which a CPU's generator cannot take."""
    folder = saved_at(tmp_path, 5)
    state = th.load(folder / "5" / STATE_FILE, weights_only=True)
    kept = state[whose]["generator"]

    def continued(t: int = 5, n_bytes: int = 16) -> tuple[th.Tensor, th.Tensor]:
        state[whose]["generator"] = kept if n_bytes == len(kept) else th.zeros(n_bytes, dtype=th.uint8)
        state["t"] = state["learner"]["training_steps"] = t
        rewrite(folder / "5" / STATE_FILE, state)
        loop = Loop(tmp_path, unique_token="second", checkpoint_path=str(folder))
        loop.resume()
        return th.rand(4, generator=loop.learner.generator), loop.buffer.sample(50)["obs"].flatten()

    exact = continued(n_bytes=len(kept))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    first, again, later = continued(), continued(), continued(t=6)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 3 and warnings[0].startswith(f"continuing is not bit-exact: {keys} changed the device")
    assert "from cuda to cpu" in warnings[0] and warnings[0].endswith("update 5") and warnings[2].endswith("update 6")
    mine = ("learner", "buffer").index(whose)
    assert th.equal(first[mine], again[mine]) and th.equal(first[1 - mine], exact[1 - mine])
    assert not th.equal(first[mine], later[mine]) and not th.equal(first[mine], exact[mine])
    with pytest.raises(CheckpointError, match="does not fit"):
        continued(n_bytes=100)


class Stopped(Loop):
    """Asked to stop in its second update."""

    def advance(self) -> None:
        super().advance()
        if self.t == 2:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("interval", [2, 100])
def test_a_signal_saves_what_the_step_has_not_saved_already(
    interval: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saving twice would for a moment leave the newest checkpoint to a second signal."""
    loop = Stopped(tmp_path, save_model_interval=interval)
    saved: list[int] = []
    save = loop.save
    monkeypatch.setattr(loop, "save", lambda: (saved.append(loop.t), save())[1])
    with pytest.raises(SacredInterrupt, match=f"SIGTERM at update 2 of 9; continue with checkpoint_path='{tmp_path}"):
        loop.run(SimpleNamespace())
    assert saved == [2] and [path.name for path in loop.directory.iterdir()] == ["2"]


@pytest.mark.parametrize("at", [0, 4, 6])
def test_an_evaluation_that_a_signal_ends_is_played_by_the_run_that_continues(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start, in the middle, and at the end, where only the policy is left to evaluate."""
    played = Scores.evaluate

    def stopped(self: Scores) -> Episodes:
        if self.played * 4 >= at:
            os.kill(os.getpid(), signal.SIGINT)
            check("during an evaluation")
        return played(self)

    monkeypatch.setattr(Scores, "evaluate", stopped)
    advised = "evaluate=True" if at == 6 else "continue"
    with pytest.raises(SacredInterrupt, match=f"SIGINT at update {at} of 6; {advised} with checkpoint_path='"):
        evaluated(tmp_path, "first", t_max=6)
    monkeypatch.undo()
    path = str(tmp_path / "models" / "first")
    later = evaluated(tmp_path, "second", t_max=10, checkpoint_path=path, first=1 + (at + 3) // 4)
    assert later.evaluator is not None and later.evaluator.history == [(0, 1), (4, 2), (8, 3), (10, 4)]
    assert not later.evaluation_due and set(load_state(later.directory / "10")) == {*ENTRIES, "changed", "evaluations"}


def test_a_run_that_saves_nothing_says_so(tmp_path: Path) -> None:
    loop = Stopped(tmp_path, save_model=False)
    with pytest.raises(SacredInterrupt, match="SIGTERM at update 2 of 9; nothing was saved"):
        loop.run(SimpleNamespace())
    assert not loop.directory.exists()


def test_a_signal_after_training_does_not_deny_the_checkpoints(cli: CommandLine, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; sys.path.insert(0, 'src'); import main; from loops.training import Training; "
        "Training.finish = lambda self: os.kill(os.getpid(), signal.SIGTERM); sys.exit(main.main(sys.argv))"
    )
    (tmp_path / "signalled.py").write_text(code)
    result = run_script(tmp_path / "signalled.py", cli.arguments("t_max=2", "env=None"))
    words = "interrupted: SIGTERM outside the training loop; it saves nothing, what the run saved before stays"
    assert result.returncode == 130 and result.stderr.splitlines()[-1] == words
    assert status(cli.runs()[0]) == "INTERRUPTED" and (cli.checkpoints()[0] / "2" / STATE_FILE).is_file()
