"""What a results folder has of a run, also where it is damaged."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

import pytest

from sweeps.found import Records, checkpoint_to_continue
from sweeps.places import Places
from utils.manifest import write_manifest


def record(folder: Path, number: int, status: str, identity: str = "abc", seconds: float = 0, **run: Any) -> None:
    directory = folder / str(number)
    directory.mkdir(parents=True)
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    beat = (now - datetime.timedelta(seconds=seconds)).isoformat()
    (directory / "run.json").write_text(json.dumps({"status": status, "heartbeat": beat}))
    info = {"run": {"identity": identity, "in_sweep": False, "score": 3.5, "score_is": "return", **run}}
    (directory / "info.json").write_text(json.dumps(info))


def checkpoint(results: Path, model: str, t: int, identity: str = "abc") -> Path:
    folder = results / "models" / model
    (folder / str(t)).mkdir(parents=True)
    (folder / str(t) / "state.json").write_text("weights")
    write_manifest(folder / str(t))
    (folder / "run.json").write_text(json.dumps({"identity": identity}))
    return folder / str(t)


def test_only_a_completed_record_of_the_same_run_is_finished(tmp_path: Path) -> None:
    for number, status in enumerate(("RUNNING", "INTERRUPTED", "FAILED")):
        record(tmp_path, number, status)
    record(tmp_path, 4, "COMPLETED", identity="another")
    records = Records(tmp_path)
    assert records.finished("abc") is None and records.finished("another") is not None
    record(tmp_path, 5, "COMPLETED")
    records.refresh()
    found = records.finished("abc")
    assert found is not None and (found.folder.name, found.score) == ("5", 3.5)
    assert Records(tmp_path, "abc").finished("another") is None, "only one is of interest"
    assert Records(tmp_path / "nowhere").finished("abc") is None


def test_damaged_records_are_passed_over(tmp_path: Path) -> None:
    record(tmp_path, 1, "COMPLETED")
    for number, text in enumerate(("{", "[]", '{"run": 3}', '{"run": {"identity": 3}}', "\xff"), start=2):
        record(tmp_path, number, "COMPLETED")
        (tmp_path / str(number) / "info.json").write_bytes(text.encode("latin-1"))
    (tmp_path / "1" / "run.json").write_text("{")
    assert Records(tmp_path).finished("abc") is None


def test_a_living_run_that_was_started_by_hand_is_left_to_itself(tmp_path: Path) -> None:
    record(tmp_path, 1, "RUNNING", seconds=500)
    record(tmp_path, 2, "RUNNING", in_sweep=True)
    assert Records(tmp_path).elsewhere("abc") is None
    record(tmp_path, 3, "RUNNING", seconds=5)
    assert Records(tmp_path).elsewhere("abc") is not None


def test_the_furthest_whole_checkpoint_below_the_end_is_continued(tmp_path: Path) -> None:
    def found(t_max: int = 100) -> Path | None:
        return checkpoint_to_continue(tmp_path, "bc", 1, "abc", t_max)

    assert found() is None
    first, second = checkpoint(tmp_path, "bc_seed1_x_1", 20), checkpoint(tmp_path, "bc_seed1_x_2", 30)
    checkpoint(tmp_path, "bc_seed1_x_3", 50, identity="another")
    checkpoint(tmp_path, "bc_seed12_x_3", 60)
    checkpoint(tmp_path, "bc_seed1_x_2/more", 70)
    assert found() == second
    (tmp_path / "models" / "bc_seed1_x_2" / "100").mkdir()
    assert found() == second and found(30) == first and found(20) is None
    (second / "state.json").write_text("other weights")
    assert found() == first


def test_a_lock_is_held_by_one_and_goes_with_its_holder(tmp_path: Path) -> None:
    places = Places(tmp_path, "abc")
    assert not places.taken()
    places.make()
    descriptor = places.take()
    assert descriptor is not None and places.take() is None and places.taken()
    child = os.fork()
    if child == 0:
        os._exit(0 if places.taken() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(descriptor)
    assert not places.taken()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"t": 1}', '{"t": "1", "total": 2, "rate": 3}'])
def test_progress_that_cannot_be_read_is_none(text: str, tmp_path: Path) -> None:
    places = Places(tmp_path, "abc")
    assert places.read_progress() == {} and places.last_lines() == []
    places.make()
    places.progress.write_text(text)
    assert places.read_progress() == {}
    places.output.write_text("\n".join(f"line {i}\n" for i in range(40)))
    assert places.last_lines() == [f"line {i}" for i in range(28, 40)]
