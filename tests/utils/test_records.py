"""What a run leaves behind: statistics, observers, checkpoints, pictures."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import mongomock
import numpy as np
import pytest
import torch as th
from mongomock.gridfs import enable_gridfs_integration
from sacred import SETTINGS, Experiment

from utils import checkpoint, rng
from utils.errors import CheckpointError, ConfigError
from utils.logging import Logger
from utils.mongo import mongo_observer
from utils.mongo_address import check_mongo, parse_address
from utils.observers import RunDirectoryObserver, observers
from utils.plotting import plot_learning_curve


class Recorder:
    """The part of a Sacred run that the logger uses."""

    def __init__(self) -> None:
        self.info: dict[str, Any] = {}
        self.scalars: list[tuple[str, float, int]] = []

    def log_scalar(self, key: str, value: float, t: int) -> None:
        self.scalars.append((key, value, t))


def test_statistics_reach_sacred_twice_and_as_plain_numbers() -> None:
    logger, run = Logger(logging.getLogger("test")), Recorder()
    logger.setup_sacred(run)  # type: ignore[arg-type]
    logger.log_stat("loss", np.float32(0.5), 10)  # type: ignore[arg-type]
    logger.log_stat("loss", 0.25, 20)
    assert run.info == {"loss": [0.5, 0.25], "loss_T": [10, 20]} and type(run.info["loss"][0]) is float
    assert run.scalars == [("loss", 0.5, 10), ("loss", 0.25, 20)] and logger.last("loss") == 0.25
    again = Logger(logging.getLogger("test"))
    again.replay(dict(logger.stats))
    assert again.stats == logger.stats


def test_tensorboard_by_key(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = Logger(logging.getLogger("test"))
    logger.setup_tb(str(tmp_path))
    logger.log_stat("loss", 0.5, 10)
    logger.finish()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(10, 0.5)]


def test_recent_statistics_print_without_an_episode(caplog: pytest.LogCaptureFixture) -> None:
    logger = Logger(logging.getLogger("test"))
    logger.log_stat("loss", 1.5, 3)
    with caplog.at_level(logging.INFO):
        logger.print_recent_stats()
    assert "loss:" in caplog.text and "1.5000" in caplog.text


def experiment(directory: Path, extra: list[Any]) -> Experiment:
    made = Experiment("test", save_git_info=False)
    made.observers.extend([*extra, RunDirectoryObserver(str(directory))])
    made.main(lambda: 3)
    return made


def test_mongo_and_directory_observers_share_an_id_without_clashing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MongoDB is asked for the id first; its number may be taken among the directories."""
    monkeypatch.setitem(SETTINGS, "CAPTURE_MODE", "no")
    enable_gridfs_integration()
    client: Any = mongomock.MongoClient()
    monkeypatch.setattr("pymongo.MongoClient", lambda *a, **k: client)
    monkeypatch.setattr(type(client), "admin", Pong(), raising=False)
    (tmp_path / "1").mkdir()
    for _ in range(2):
        experiment(tmp_path, [mongo_observer("localhost:27017:sacred")]).run()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "_sources") == ["1", "1-2", "2"]
    documents = list(client["sacred"]["runs"].find())
    assert [(d["_id"], d["status"], d["result"]) for d in documents] == [(1, "COMPLETED", 3), (2, "COMPLETED", 3)]
    assert json.loads((tmp_path / "1-2" / "run.json").read_text())["status"] == "COMPLETED"


def test_the_connection_that_asks_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    client = MagicMock()
    client.__enter__.return_value = client
    client.__exit__.side_effect = lambda *_: client.close()  # as pymongo's does
    monkeypatch.setattr("pymongo.MongoClient", lambda *a, **k: client)
    check_mongo(parse_address("localhost:27017:sacred"))
    client.admin.command.assert_called_once_with("ping")
    client.close.assert_called_once_with()


class Pong:
    def command(self, name: str) -> dict[str, float]:
        return {"ok": 1.0}


def test_a_silent_or_malformed_mongo_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="write host:port:db_name"):
        observers(tmp_path, "a", "e", "not an address")
    with pytest.raises(ConfigError, match="no MongoDB answers at localhost:1"):
        mongo_observer("localhost:1:sacred")


def state_at(t: int) -> dict[str, Any]:
    return {"t": t, "seed": 7, "learner_name": "bc_learner", "dataset_checksum": None, "settings": {}, "learner": None,
            "buffer": {}, "rng": {}, "statistics": {}, "evaluated_for_the_end": False}  # fmt: skip


class Models:
    def __init__(self, value: float) -> None:
        self.value = value

    def save_models(self, path: str) -> None:
        th.save({"w": th.full((3,), self.value)}, f"{path}/agent.th")


def test_checkpoints_are_found_by_step(tmp_path: Path) -> None:
    for t in (10, 200, 30):
        checkpoint.save_checkpoint(tmp_path, t, Models(t), state_at(t))
    assert checkpoint.find_checkpoint(str(tmp_path), 0).name == "200"
    assert checkpoint.find_checkpoint(str(tmp_path), 35).name == "30"
    assert checkpoint.find_checkpoint(str(tmp_path / "10"), 0).name == "10"
    assert checkpoint.find_checkpoint(str(tmp_path / "10"), 10).name == "10"
    for key, step_key in checkpoint.STEP_KEYS.items():
        with pytest.raises(CheckpointError, match=f"{key}=.*/10 is one step, and {step_key}=30 names another"):
            checkpoint.find_checkpoint(str(tmp_path / "10"), 30, key)
    assert checkpoint.load_state(tmp_path / "30") == state_at(30)
    checkpoint.save_checkpoint(tmp_path, 10, Models(5.0), state_at(11))  # replaces
    assert checkpoint.load_state(tmp_path / "10") == state_at(11)
    assert checkpoint.checkpoint_seed(str(tmp_path), 0) == 7


def test_the_seed_is_read_without_the_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay buffer may be gigabytes."""
    checkpoint.save_checkpoint(tmp_path, 1, Models(1.0), state_at(1) | {"buffer": {"replay": th.zeros(10**6)}})
    load, mapped = th.load, []
    monkeypatch.setattr(th, "load", lambda *rest, **keys: mapped.append(keys.get("mmap")) or load(*rest, **keys))
    assert checkpoint.checkpoint_seed(str(tmp_path), 0) == 7
    assert mapped.pop() and mapped == [None, None]  # the state; before, both files without their tensors
    assert checkpoint.load_state(tmp_path / "1")["buffer"]["replay"].numel() == 10**6
    assert mapped.pop() is False


def test_missing_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such directory"):
        checkpoint.find_checkpoint(str(tmp_path / "none"), 0)
    with pytest.raises(CheckpointError, match="no step directories"):
        checkpoint.find_checkpoint(str(tmp_path), 0)


def test_replacing_a_checkpoint_keeps_the_old_one_until_the_new_one_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save_checkpoint(tmp_path, 10, Models(1.0), state_at(10))
    monkeypatch.setattr(os, "rename", MagicMock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save_checkpoint(tmp_path, 10, Models(5.0), state_at(11))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == [".10.replaced"]
    assert checkpoint.find_checkpoint(str(tmp_path), 0) == tmp_path / "10"
    assert checkpoint.load_state(tmp_path / "10") == state_at(10)
    checkpoint.save_checkpoint(tmp_path, 10, Models(5.0), state_at(12))
    assert checkpoint.load_state(tmp_path / "10") == state_at(12)
    assert [path.name for path in tmp_path.iterdir()] == ["10"]


WRITER = """
import sys; from pathlib import Path; sys.path.insert(0, {src!r})
import torch as th; from utils.checkpoint import save_checkpoint
class M:
    def save_models(self, path): th.save({{"w": th.zeros(2_000_000)}}, path + "/agent.th")
print("ready", flush=True)
t = 0
while True:
    t += 1
    save_checkpoint(Path({folder!r}), t, M(), {{"t": t, "x": th.zeros(500_000)}})
"""


def test_a_killed_writer_leaves_whole_checkpoints_only(tmp_path: Path) -> None:
    code = WRITER.format(src=str(Path(checkpoint.__file__).parents[1]), folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline()
    while len(list(tmp_path.glob("[0-9]*"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    steps = list(tmp_path.glob("[0-9]*"))
    for step in steps:
        assert th.load(step / checkpoint.STATE_FILE, weights_only=True)["t"] == int(step.name)
        assert th.load(step / "agent.th", weights_only=True)["w"].numel() == 2_000_000


def test_random_streams_are_restored(tmp_path: Path) -> None:
    rng.seed_everything(4)
    np.random.standard_normal()
    th.save(rng.rng_state(), tmp_path / "rng.th")
    expected = (np.random.standard_normal(3).tolist(), th.rand(3).tolist(), __import__("random").random())
    rng.seed_everything(5)
    rng.load_rng_state(th.load(tmp_path / "rng.th", weights_only=True))
    assert (np.random.standard_normal(3).tolist(), th.rand(3).tolist(), __import__("random").random()) == expected


def test_cuda_streams_are_restored_on_a_machine_with_fewer_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    restored = []
    monkeypatch.setattr(th.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(th.cuda, "set_rng_state", lambda state, index: restored.append((index, state.tolist())))
    rng.load_rng_state(rng.rng_state() | {"cuda": [th.tensor([4]), th.tensor([6])]})
    assert restored == [(0, [4])]


def test_a_learning_curve_is_a_picture(tmp_path: Path) -> None:
    plot_learning_curve([(0, 1.0), (10, 3.0)], tmp_path / "deep" / "curve.png", "title", "updates", {"dataset": 2.0})
    assert (tmp_path / "deep" / "curve.png").read_bytes().startswith(b"\x89PNG")
