"""What a continued run cannot take over is refused before it exists, and the checks change nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

from datasets.sources.xor import generate_xor
from loops.offline import OfflineTraining
from loops.online import OnlineTraining
from loops.rehearsal import attempt
from tests.loops.in_process import LOG, parts_of
from tests.loops.test_training import rewrite
from utils.checkpoint import STATE_FILE
from utils.config import layered_config, merge
from utils.errors import CheckpointError
from utils.logging import Logger

SMALL: dict[str, Any] = {
    "t_max": 500, "batch_size_run": 1, "buffer_size": 4, "batch_size": 2, "save_replay_buffer": True, "seed": 0,
    "use_cuda": False, "test_nepisode": 1, "hidden_dim": 8,
}  # fmt: skip


@pytest.fixture(scope="module", params=["online", "offline"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, dict[str, Any]]:
    """A run of three steps of its loop: its algorithm, its folder and its keys."""
    folder = tmp_path_factory.mktemp(request.param)
    own = SMALL | {"local_results_path": str(folder)}
    if request.param == "offline":
        generate_xor("random", folder / "xor.h5", 4, 0, "python", False)
        own["dataset"] = str(folder / "xor.h5")
    alg, loop = ("qmix", OnlineTraining) if request.param == "online" else ("bc_discrete", OfflineTraining)
    training = loop(parts_of(alg, "matrix_game", folder, **own), Logger(LOG))
    for _ in range(3):
        training.advance()
    training.save()
    training.close()
    return alg, training.directory, own


def start(saved: tuple[str, Path, dict[str, Any]], **updates: Any) -> None:
    """Rehearse the run that continues this one."""
    alg, directory, own = saved
    own = own | {"checkpoint_path": str(directory), **updates}
    attempt(merge(layered_config(alg, "matrix_game", own), own))


def test_a_sound_continuation_is_rehearsed_and_no_stream_moves(saved: tuple[str, Path, dict[str, Any]]) -> None:
    random.seed(5), np.random.seed(5), th.manual_seed(5)
    expected = random.random(), np.random.random(), th.rand(1)
    random.seed(5), np.random.seed(5)
    start(saved)
    assert (random.random(), np.random.random()) == expected[:2]  # building networks draws from torch's


def test_a_replay_buffer_larger_than_this_runs_is_refused(saved: tuple[str, Path, dict[str, Any]]) -> None:
    if saved[0] != "qmix":
        return
    with pytest.raises(
        CheckpointError, match="a replay buffer of 3 episodes does not fit buffer_size=2; continue with"
    ):
        start(saved, buffer_size=2)


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "python": (lambda state: state["rng"]["python"].update(internal=[1, 2]), "its random streams does not fit"),
    "numpy": (lambda state: state["rng"]["numpy"].update(position=625), "numpy's random stream is out of range"),
    "torch": (lambda state: state["rng"].update(torch=th.zeros(7, dtype=th.uint8)), "its random streams"),
    "cuda": (lambda state: state["rng"].update(cuda=3), "CUDA's random streams are of another kind"),
    "none": (lambda state: state["rng"].pop("torch"), "its random streams"),
    "learner": (lambda state: state["learner"].update(generator=th.zeros(7, dtype=th.uint8)), "its learner"),
    "learner's kind": (lambda state: state["learner"].update(generator=4), "no tensor of bytes"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_random_streams_are_refused(case: str, saved: tuple[str, Path, dict[str, Any]]) -> None:
    damage, said = DAMAGE[case]
    refuse(saved, damage, said)


def test_a_damaged_buffer_is_refused(saved: tuple[str, Path, dict[str, Any]]) -> None:
    if saved[0] == "qmix":
        refuse(saved, lambda state: state["buffer"].update(episodes=1.5), "its count of episodes is no whole number")
        refuse(saved, lambda state: state["buffer"]["replay"].update(index=99), "its index, are out of range")
    else:
        refuse(saved, lambda state: state["buffer"].update(generator=None), "its buffer does not fit")


def refuse(saved: tuple[str, Path, dict[str, Any]], damage: Callable[[dict[str, Any]], Any], said: str) -> None:
    """Assert that the run is not continued from a damaged copy of its state, which is put back."""
    (file,) = saved[1].glob(f"*/{STATE_FILE}")
    whole = {path: path.read_bytes() for path in file.parent.iterdir()}
    state = th.load(file, weights_only=True)
    damage(state)
    rewrite(file, state)
    try:
        with pytest.raises(CheckpointError, match=said) as caught:
            start(saved)
        assert str(caught.value).isprintable()
    finally:
        for path, content in whole.items():
            path.write_bytes(content)
