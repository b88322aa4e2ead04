"""What becomes of played episodes where their dataset cannot be written where it was to be."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from datasets.dataset import NameTakenError, read_dataset, write_dataset
from loops import collect
from loops.recording import Recording
from tests.datasets.disks import limited, small_disk
from tests.datasets.samples import continuous_arrays, continuous_card
from utils.errors import OutputError

LOG = logging.getLogger("test")


def write(path: Path, results: Path, length: int = 3) -> dict[str, float]:
    arrays, offsets = continuous_arrays([length] * 20)
    return collect.write(path, arrays, offsets, continuous_card(), LOG, results)


def test_the_name_that_was_taken_meanwhile_stays_and_the_episodes_get_another(tmp_path: Path) -> None:
    write_dataset(tmp_path / "d.h5", *continuous_arrays([1]), continuous_card())
    for number in (2, 3):
        with pytest.raises(NameTakenError, match=rf"exists already; .*episodes are in {tmp_path}/d-{number}.h5 inst"):
            write(tmp_path / "d.h5", tmp_path / "results")
    lengths = {file.name: read_dataset(file).n_episodes for file in tmp_path.glob("*.h5")}
    assert lengths == {"d.h5": 1, "d-2.h5": 20, "d-3.h5": 20}


@pytest.mark.parametrize("attempt", range(3))
def test_of_many_that_collect_under_one_name_none_loses_its_episodes(tmp_path: Path, attempt: int) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)

    def run(number: int) -> None:
        barrier.wait()
        try:
            write(tmp_path / "d.h5", tmp_path / "results", length=number)
        except NameTakenError:
            os._exit(1)

    processes = [context.Process(target=run, args=(number + 1,)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(process.exitcode or 0 for process in processes) == [0, 1, 1, 1]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["d-2.h5", "d-3.h5", "d-4.h5", "d.h5"]
    assert sorted(read_dataset(file).max_length for file in tmp_path.iterdir()) == [1, 2, 3, 4]


def test_a_full_disk_at_the_end_leaves_the_episodes_on_another(tmp_path: Path) -> None:
    with small_disk(20) as disk:
        with pytest.raises(OutputError) as refusal:
            write(disk / "d.h5", tmp_path / "results")
        kept = tmp_path / "results" / "kept" / "d.h5"
        assert str(refusal.value) == (
            f"cannot write {disk}/d.h5 (no space left on device); this run's episodes are in {kept} instead"
        )
        assert read_dataset(kept).n_episodes == 20 and list(disk.iterdir()) == []


def test_episodes_that_no_disk_takes_are_said_to_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with limited(resource.RLIMIT_FSIZE, 1000), pytest.raises(OutputError, match="this run's episodes are lost$"):
        write(tmp_path / "d.h5", tmp_path / "results")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_finished_training_keeps_its_result_where_its_episodes_have_to_move(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "d.h5", *continuous_arrays([1]), continuous_card())
    arrays, offsets = continuous_arrays([3, 3])
    monkeypatch.setattr("loops.recording.join", lambda parts: (arrays, offsets))
    monkeypatch.setattr("loops.recording.card_fields", lambda *_: continuous_card())
    monkeypatch.setattr("loops.recording.exploration", lambda runner: "")
    args = SimpleNamespace(name="x", replay_to=str(tmp_path / "d.h5"), results=tmp_path)
    Recording(args).write(SimpleNamespace(t_env=3, get_env_info=dict, team_reward=False), LOG)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR and f"episodes are in {tmp_path}/d-2.h5" in record.getMessage()
    assert read_dataset(tmp_path / "d-2.h5").n_episodes == 2


def test_a_disk_that_may_be_too_small_is_said_before_the_episodes_are_played(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    free = shutil.disk_usage(tmp_path).free
    collect.warn_of_little_room(tmp_path / "d.h5", free // 2, LOG)
    assert not caplog.records
    collect.warn_of_little_room(tmp_path / "d.h5", free * 2, LOG)
    assert "d.h5 may take up to" in caplog.records[0].getMessage()
