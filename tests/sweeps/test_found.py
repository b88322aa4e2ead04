"""What a results folder has of a run, also where it is damaged."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

import pytest

from datasets.names import DATA_ROOT
from sweeps import found
from sweeps.found import Records, checkpoint_to_continue
from sweeps.places import Places
from utils.description import read_description, write_description
from utils.manifest import write_manifest

BUNDLED = read_description(DATA_ROOT / "mpe/simple_spread/policies/expert/run.json")


def record(
    folder: Path, number: int, status: str, identity: str = "abc", seconds: float = 0, data: str = "d", **run: Any
) -> None:
    """A run's record below an algorithm's folder. data: what its dataset is called."""
    directory = folder / data / str(number)
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
    write_description(folder, BUNDLED | {"identity": identity})
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
        (tmp_path / "d" / str(number) / "info.json").write_bytes(text.encode("latin-1"))
    (tmp_path / "d" / "1" / "run.json").write_text("{")
    assert Records(tmp_path).finished("abc") is None


def test_records_are_found_under_every_name_of_the_dataset_and_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path, 1, "COMPLETED", data="copy")
    record(tmp_path, 1, "COMPLETED", identity="another", data="original")
    record(tmp_path, 2, "FAILED", identity="", data="original")
    (tmp_path / "original" / "2" / "info.json").write_text("{}")  # of an earlier release
    records = Records(tmp_path)
    assert records.finished("abc") is not None and records.finished("another") is not None
    read: list[Path] = []

    def reading(path: Path, holding: str = "") -> dict[str, Any]:
        read.append(path)
        return {}

    monkeypatch.setattr(found, "_read", reading)
    records.refresh()
    assert not read


def test_a_run_that_ends_while_it_is_looked_at_is_found_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path, 1, "RUNNING")
    place = tmp_path / "d" / "1"
    whole = (place / "info.json").read_text()
    (place / "info.json").write_text("{}")
    read = found._read

    def ending(path: Path, holding: str = "") -> dict[str, Any]:
        content = read(path, holding)
        (place / "info.json").write_text(whole)
        (place / "run.json").write_text('{"status": "COMPLETED"}')
        return content

    monkeypatch.setattr(found, "_read", ending)
    records = Records(tmp_path)
    records.refresh()
    assert records.finished("abc") is not None


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


def test_a_run_with_a_damaged_description_is_not_continued(tmp_path: Path) -> None:
    """It would be refused at every call."""
    checkpoint(tmp_path, "bc_seed1_x_1", 20)
    last = checkpoint(tmp_path, "bc_seed1_x_2", 30)
    path = last.parent / "run.json"
    path.write_text(path.read_text().replace('"hidden_dim": ', '"hidden_dim": 1'))
    step = checkpoint_to_continue(tmp_path, "bc", 1, "abc", 100)
    assert step is not None and step.name == "20"


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
