"""`seeds: [1, 2, 3]` on the command line: three ordinary runs, whatever becomes of one of them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch as th
from sacred.utils import SacredInterrupt

import main
from learners.lanes import check_lanes
from loops import configured, lanes, rehearsal
from loops.build import build
from loops.checks import check_seeds
from loops.lanes import Together
from tests.command_line import CommandLine, status
from tests.learners.learner_tester import make_learner
from tests.loops.in_process import LOG, NO_RUN, settings_of
from utils.checkpoint import load_state
from utils.errors import ConfigError, TrainingError, UserError
from utils.logging import Logger

SHORT = ("t_max=20", "test_interval=10", "save_model_interval=10", "log_interval=10", "learner_log_interval=5",
         "hidden_dim=8", "batch_size=32", "use_cuda=False")  # fmt: skip


def read(run: Path, name: str) -> Any:
    return json.loads((run / name).read_text())


def points(run: Path) -> dict[str, list[int]]:
    return {name: series["steps"] for name, series in read(run, "metrics.json").items()}


def test_each_seed_is_an_ordinary_run(cli: CommandLine, tmp_path: Path) -> None:
    """Its record, its numbers and its checkpoints are those of its single run, which can go on from them."""
    together = cli.run(*SHORT, "seeds=[1,2]", config="comadice")
    alone = CommandLine(tmp_path / "alone", cli.dataset)
    single = alone.run(*SHORT, "seed=2", config="comadice")
    assert together.returncode == single.returncode == 0, together.stderr + single.stderr
    runs, (own,) = sorted(cli.runs()), alone.runs()
    assert [(read(run, "config.json")["seed"], status(run)) for run in runs] == [(1, "COMPLETED"), (2, "COMPLETED")]
    lane = runs[1]
    where = {"local_results_path": str(cli.results)}
    assert read(lane, "config.json") == read(own, "config.json") | where
    assert read(lane, "run.json")["meta"]["config_updates"] == read(own, "run.json")["meta"]["config_updates"] | where
    assert points(lane) == points(own)
    info, expected = read(lane, "info.json"), read(own, "info.json")
    assert info["run"]["identity"] == expected["run"]["identity"] != read(runs[0], "info.json")["run"]["identity"]
    assert info["test_return_mean"] == pytest.approx(expected["test_return_mean"], rel=1e-3)
    assert info["final_returns"]["returns"] == pytest.approx(expected["final_returns"]["returns"], rel=1e-3)
    first, second = cli.checkpoints()
    (whole,) = alone.checkpoints()
    same(first_of(second / "20"), first_of(whole / "20"))
    assert (second / "20" / "train_state.th").stat().st_size == (whole / "20" / "train_state.th").stat().st_size
    longer = [word for word in SHORT if "t_max" not in word]
    further = cli.run(*longer, "t_max=30", "seed=2", f"checkpoint_path={second}", config="comadice")
    assert further.returncode == 0 and "other settings" not in further.stderr, further.stderr
    assert read(cli.runs()[-1], "config.json")["seed"] == 2
    assert points(cli.runs()[-1])["test_return_mean"] == [0, 10, 20, 30]


def first_of(step: Path) -> dict[str, Any]:
    """What a checkpoint holds, file by file."""
    return {file.name: th.load(file, weights_only=True) for file in sorted(step.glob("*.th"))}


def same(left: Any, right: Any, where: str = "") -> None:
    """Alike in every part; tensors up to rounding, random streams exactly."""
    if isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            same(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), where
        for one, other in zip(left, right, strict=True):
            same(one, other, where)
    elif isinstance(left, th.Tensor):
        exact = not left.is_floating_point()
        assert left.untyped_storage().nbytes() == right.untyped_storage().nbytes(), where
        assert th.equal(left, right) if exact else th.allclose(left, right, rtol=1e-5, atol=1e-5), where
    elif isinstance(left, float):
        assert left == pytest.approx(right, rel=1e-3, abs=1e-4), where
    else:
        assert left == right, where


def test_a_signal_saves_every_seed(cli: CommandLine) -> None:
    updates = [word for word in SHORT if "t_max" not in word]
    ended = cli.run(*updates, "t_max=100000", "seeds=[1,2]", config="bc", signals=[("Recent Stats", signal.SIGTERM)])
    assert ended.returncode == 130, ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("interrupted: seed 1: SIGTERM at update ") and "; seed 2: SIGTERM" in last
    assert [status(run) for run in cli.runs()] == ["INTERRUPTED", "INTERRUPTED"]
    steps = [max(int(step.name) for step in run.glob("[0-9]*")) for run in cli.checkpoints()]
    assert steps[0] == steps[1] > 0
    for run in cli.checkpoints():
        assert f"checkpoint_path='{run}'" in last
        assert load_state(run / str(steps[0]))["t"] == steps[0]


# -- what is refused ---------------------------------------------------------------------------------------------------

TWO = "seeds=[1,2]"
REFUSED = {
    "one": ("bc", ("seeds=[1]",), "seeds=[1]: give at least two different whole numbers"),
    "twice the same": ("bc", ("seeds=[1,1]",), "at least two different whole numbers"),
    "no whole number": ("bc", ("seeds=[1,2.5]",), "at least two different whole numbers"),
    "below 0": ("bc", ("seeds=[1,-1]",), "at least two different whole numbers"),
    "no list": ("bc", ("seeds=3",), "seeds=3: this must be a list, or None"),
    "both": ("bc", (TWO, "seed=3"), "seeds=[1, 2] and seed=3: give one of the two"),
    "online": ("matd3", (TWO,), "is for training from a dataset"),
    "evaluation": ("bc", (TWO, "evaluate=True", "checkpoint_path=."), "evaluate=True trains none"),
    "collection": ("bc", (TWO, "collect=True", "collect_to=x.h5"), "collect=True trains none"),
    "compiled": ("bc", (TWO, "compile=True"), "set compile=False"),
    "Weights & Biases": ("bc", (TWO, "use_wandb=True"), "set use_wandb=False"),
    "recurrent agents": ("bc", (TWO, "agent=rnn_ns", "window=None"), "it has recurrent networks"),
    "recurrent values": ("comadice", (TWO, "agent=rnn_ns", "window=None", "value_memory=True"), "recurrent networks"),
    "queued": ("bc", (TWO, "-q"), "--queue is for one run"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_together_is_refused_before_a_run_exists(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    config, words, said = REFUSED[case]
    monkeypatch.setattr(main.ex, "add_config", lambda config: None)
    monkeypatch.setattr(main, "rehearse", rehearsal.attempt)
    monkeypatch.setattr(configured, "earlier_run", lambda given, alg: None)
    monkeypatch.setattr(main, "add_observers", lambda flags, config: pytest.fail("it was not refused"))
    with pytest.raises(ConfigError) as refusal:
        main.prepare(["main.py", *cli.arguments(*words, config=config)])
    assert said in str(refusal.value) and str(refusal.value).isprintable()


def test_alberdice_says_why_it_trains_one_seed() -> None:
    with pytest.raises(ConfigError, match="learner=alberdice_learner .*its losses read how far training is"):
        check_lanes(make_learner("alberdice"))


def test_running_statistics_are_those_of_one_run() -> None:
    with pytest.raises(ConfigError, match="its running statistics are those of one run"):
        check_lanes(make_learner("qmix", standardise_rewards=True))


def test_learners_with_updates_of_their_own_train_one_seed() -> None:
    learner = make_learner("bc")
    learner.__class__ = type("Own", (type(learner),), {"_update_targets": lambda self: None})
    with pytest.raises(ConfigError, match="its updates are its own"):
        check_lanes(learner)


def test_stock_learners_train_one_seed() -> None:
    with pytest.raises(ConfigError, match="stock EPyMARL's learners"):
        check_lanes(object())


def test_a_continuation_is_of_one_seed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="checkpoint_path continues one; leave out seeds"):
        check_seeds(settings_of("bc", "none", tmp_path, seeds=[1, 2], checkpoint_path="somewhere"))


def test_whole_episodes_must_be_equally_long() -> None:
    args = SimpleNamespace(seeds=[1, 2], window=None)
    lanes.check_lengths(args, SimpleNamespace(episode_offsets=np.array([0, 4, 8])))
    with pytest.raises(ConfigError, match="window=None the batches of different seeds differ in length"):
        lanes.check_lengths(args, SimpleNamespace(episode_offsets=np.array([0, 4, 9])))


# -- in this process ---------------------------------------------------------------------------------------------------


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
    monkeypatch.setattr(lanes.Lane, "_describe", lambda self, run: None)
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
    monkeypatch.setattr(lanes.Lane, "_describe", lambda self, run: None)
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


def test_a_signal_after_a_seed_has_failed_is_an_interruption_that_tells_what_was_saved(
    tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes.Lane, "_describe", lambda self, run: None)
    after = lanes.Lane.after

    def fail_then_stop(self: lanes.Lane, before: int, progress: Any) -> None:
        if self.args.seed == 2 and self.t == 4:
            raise TrainingError("it diverged")
        after(self, before, progress)
        if self.args.seed == 3 and self.t == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(lanes.Lane, "after", fail_then_stop)
    together, _ = train(tmp_path, tiny_dataset, [1, 2, 3])
    with pytest.raises(SacredInterrupt, match="seed 1: SIGTERM at .*; seed 2: it diverged; seed 3: SIGTERM at "):
        together.start()


def test_an_error_of_all_ends_all(tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the program is raised as it is, once."""

    def fail(self: Any, *anything: Any) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(lanes.Lane, "_describe", lambda self, run: None)
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

    monkeypatch.setattr(lanes.Lane, "_describe", lambda self, run: None)
    monkeypatch.setattr(lanes.Lane, "report", lambda self, run: pytest.fail("it was not trained"))
    monkeypatch.setattr(lanes, "Lanes", refuse)
    together, _ = train(tmp_path, tiny_dataset, [1, 2])
    with pytest.raises(ConfigError, match="^no lanes$"):
        together.start()


def test_a_run_that_cannot_begin_ends_all(tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seeds before it are there already, and nothing was trained."""
    monkeypatch.setattr(lanes.Lane, "_describe", lambda self, run: None)
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
