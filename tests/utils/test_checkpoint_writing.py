"""Checkpoints are written whole or not at all: disks that refuse, what killed and living runs have there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch as th

from tests.utils.test_records import Models, state_at
from utils import checkpoint
from utils.checkpoint import load_state, save_checkpoint
from utils.errors import OutputError


class Refused:
    """A learner whose disk refuses as `error` says."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def save_models(self, path: str) -> None:
        Path(path, "agent.th").write_bytes(b"part")
        raise self.error


def test_a_disk_that_refuses_leaves_the_old_checkpoint_and_no_remains(run: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*/20 \(no space left on device\)"):
        save_checkpoint(run, 20, Refused(OSError(28, "No space left on device")), state_at(21))
    assert sorted(path.name for path in run.iterdir()) == ["10", "20"] and load_state(run / "20") == state_at(20)
    with pytest.raises(RuntimeError, match="a fault of the learner"):
        save_checkpoint(run, 20, Refused(RuntimeError("a fault of the learner")), state_at(21))
    assert sorted(path.name for path in run.iterdir()) == ["10", "20"]


def test_a_limit_on_file_sizes_is_said_in_the_operating_systems_words(run: Path) -> None:
    """Torch's own message says nothing of the cause."""
    import resource

    class Large:
        def save_models(self, path: str) -> None:
            th.save({"w": th.zeros(100_000)}, f"{path}/agent.th")

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*/30 \(file too large\)"):
            save_checkpoint(run, 30, Large(), state_at(30))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in run.iterdir()) == ["10", "20"]


def test_remains_of_killed_runs_are_cleared_and_what_was_set_aside_is_taken_back(run: Path, tmp_path: Path) -> None:
    (run / ".30.0123abcd.writing").mkdir()
    (run / ".30.0123abcd.writing" / "agent.th").write_bytes(b"part")
    (run / "20").rename(run / ".20.replaced")  # killed between the two renames
    save_checkpoint(run, 40, Models(4.0), state_at(40))
    other = tmp_path / "other"
    save_checkpoint(other, 5, Models(1.0), state_at(5))
    (other / ".5.replaced").mkdir()  # killed before it was removed
    (other / ".notes").mkdir()
    checkpoint.clear_models(tmp_path)
    assert sorted(path.name for path in run.iterdir()) == ["10", "20", "40"]
    assert sorted(path.name for path in other.iterdir()) == [".notes", "5"]
    assert load_state(run / "20") == state_at(20)
    checkpoint.clear_models(tmp_path / "absent")


def test_what_a_living_run_is_writing_is_not_cleared(run: Path, tmp_path: Path) -> None:
    class Meanwhile(Models):
        def save_models(self, path: str) -> None:
            checkpoint.clear_models(tmp_path)  # another run starts
            super().save_models(path)

    save_checkpoint(run, 30, Meanwhile(3.0), state_at(30))
    assert load_state(run / "30") == state_at(30)
