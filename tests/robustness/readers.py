"""The readers under test, as a user reaches them: commands with their arguments, which return an exit status."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
import mongomock
import numpy as np
import pymongo
import yaml
from mongomock.gridfs import enable_gridfs_integration

import dataset
import main
import policy
import track
from datasets.dataset import read_dataset
from stock import plug_into
from utils import config, files
from utils.errors import UserError

PLANNED = plug_into.planned_files()
# Behaviour cloning in a matrix game: as small as training can be, and nothing is recorded.
TINY = ("t_max=1", "batch_size=4", "hidden_dim=4", "test_nepisode=4", "batch_size_run=4", "use_cuda=False", "seed=1",
        "save_model=False")  # fmt: skip


def command_line(*words: str) -> int:
    """`src/main.py` with these words."""
    return main.main(["src/main.py", *words])


def train(path: str, results: str) -> int:
    """One update from a dataset, without evaluation."""
    env = yaml.safe_load("[mpe, matrix_game]")[read_dataset(path).card["action_space"] == "discrete"]
    own = (f"dataset={path}", "env=None", f"local_results_path={results}")
    return command_line("-u", "--config=bc", f"--env-config={env}", "with", *TINY, *own)


def map_arrays(path: str) -> int:
    """Read a dataset through its memory-mapped cache, as `memory_map=True` does."""
    try:
        data = read_dataset(path, memory_map=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    assert all(float(array.sum()) is not None for array in data.arrays.values())
    return 0


def configured(folder: str, *words: str) -> int:
    """`print_config` with the YAML files of another folder in place of ours."""
    config.CONFIG = Path(folder)
    return command_line("print_config", *words)


def plug(*words: str) -> int:
    """`plug_into.py`, without waiting for the disk and without reading again what it copies."""
    files.flush_to_disk = lambda path: None
    plug_into.planned_files = lambda: PLANNED
    return plug_into.main(words)


def act(path: str, step: str = "0") -> int:
    """Load a policy as a user's own program does, and ask it for actions."""
    try:
        loaded = policy.load_policy(path, int(step))
        actions = loaded.act(np.zeros((loaded.n_agents, loaded.obs_size), np.float32))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    assert len(actions) == loaded.n_agents
    return 0


def push(*words: str) -> int:
    """`track.py` with a database in memory, which takes only what can be sent to a real one."""
    enable_gridfs_integration()
    client = mongomock.MongoClient()
    pymongo.MongoClient = lambda *args, **kwargs: client
    track.check_mongo = lambda address: None
    for name in ("insert_one", "replace_one", "update_one"):
        _encode_first(name)
    return track.main(words)


def _encode_first(name: str) -> None:
    """Make a method of the database in memory encode its documents, which alone refuses what BSON cannot say."""
    send = getattr(mongomock.Collection, name)

    def encoded(self: Any, *documents: Any, **options: Any) -> Any:
        for document in documents:
            bson.encode(document)
        return send(self, *documents, **options)

    setattr(mongomock.Collection, name, encoded)


def breaking(promise: str, seconds: str = "0") -> int:
    """Break one promise on purpose, for the tests of the harness. seconds: of its time, where that is the promise."""
    if promise == "time":
        while time.process_time() < float(seconds):
            pass
    elif promise == "memory":
        bytearray(b"x") * 600_000_000
    elif promise == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif promise == "hang":
        os.mkfifo("pipe")
        open("pipe").close()
    elif promise == "traceback":
        raise KeyError(promise)
    elif promise in ("new file", "changed file"):
        Path(promise).write_text("x")
    sentences = {"silence": "", "two sentences": "error: a\nerror: b\n", "escape": "error: \x1b[2J\n",
                 "changed file": "error: a\n", "new file": "error: a\n"}  # fmt: skip
    sys.stderr.write(sentences.get(promise, "error: a\n"))
    return 3 if promise == "status" else 1


READERS: dict[str, Callable[..., int]] = {
    "main": command_line,
    "dataset": lambda *words: dataset.main(words),
    "train": train,
    "map": map_arrays,
    "configured": configured,
    "breaking": breaking,
    "plug": plug,
    "policy": lambda *words: policy.main(words),
    "act": act,
    "push": push,
}
