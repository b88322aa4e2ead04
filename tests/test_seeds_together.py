"""`seeds: [1, 2, 3]` on the command line: three ordinary runs, whatever becomes of one of them."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import main
from learners.lanes import check_lanes
from loops import configured, lanes, rehearsal
from loops.checks import check_seeds
from tests.command_line import CommandLine, status
from tests.learners.learner_tester import make_learner
from tests.loops.in_process import first_of, same, settings_of
from utils.checkpoint import load_state
from utils.errors import ConfigError

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
