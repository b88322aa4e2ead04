"""An export's files are all written or none, and none of before is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deployment.export import export_policy
from deployment.loaded import LoadedPolicy
from tests.deployment.made import make_policy
from tests.deployment.test_export import open_torchscript
from utils.errors import OutputError, PolicyError


def exported(folder: Path) -> LoadedPolicy:
    policy = make_policy(folder / "run", agent="mlp")
    export_policy(policy, "torchscript", folder / "out")
    return policy


def test_files_are_replaced_only_by_force(tmp_path: Path) -> None:
    policy = exported(tmp_path)
    (tmp_path / "out" / "agent_1.pt").write_text("mine")
    with pytest.raises(PolicyError, match="exists already; choose another folder, or add --force"):
        export_policy(policy, "torchscript", tmp_path / "out")
    assert (tmp_path / "out" / "agent_1.pt").read_text() == "mine"
    export_policy(policy, "torchscript", tmp_path / "out", replace=True)
    assert open_torchscript(tmp_path / "out" / "agent_1.pt")[1]["agent"] == 1


def test_a_disk_that_refuses_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy(tmp_path / "run", agent="mlp")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        export_policy(policy, "torchscript", tmp_path / "file" / "out")
    monkeypatch.setattr(Path, "write_bytes", _full_disk(2, Path.write_bytes))
    with pytest.raises(OutputError, match="no space left on device"):
        export_policy(policy, "torchscript", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_files_of_before_stay_where_the_new_ones_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = exported(tmp_path)
    out = tmp_path / "out"
    for i in range(3):
        (out / f"agent_{i}.pt").write_text("old")
    for refusing in range(3):
        monkeypatch.setattr(Path, "write_bytes", _full_disk(refusing, Path.write_bytes))
        with pytest.raises(OutputError, match=f"agent_{refusing}.pt .*no space left on device"):
            export_policy(policy, "torchscript", out, replace=True)
        monkeypatch.undo()
        assert {file.name: file.read_text() for file in out.iterdir()} == {f"agent_{i}.pt": "old" for i in range(3)}
    (out / "agent_0.pt").unlink()
    (out / "agent_0.pt").mkdir()
    with pytest.raises(PolicyError, match=r"agent_0.pt is a folder; choose another folder"):
        export_policy(policy, "torchscript", out, replace=True)
    assert all((out / f"agent_{i}.pt").read_text() == "old" for i in (1, 2))


def test_files_that_are_new_already_are_named_where_a_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = exported(tmp_path)
    (tmp_path / "out" / "agent_0.pt").write_text("old")
    replace = os.replace

    def refusing(source: Path, target: Path) -> None:
        if target.name == "agent_0.pt":
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refusing)
    with pytest.raises(OutputError, match="agent_0.*; agent_1.pt, agent_2.pt are the new policy's already: export"):
        export_policy(policy, "torchscript", tmp_path / "out", replace=True)
    assert (tmp_path / "out" / "agent_0.pt").read_text() == "old"
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [f"agent_{i}.pt" for i in range(3)]


def _full_disk(agent: int, write: Callable[[Path, bytes], int]) -> Callable[[Path, bytes], int]:
    """A disk that is full when this agent's file comes."""

    def full(self: Path, content: bytes) -> int:
        if f"agent_{agent}" in self.name:
            raise OSError(28, "No space left on device")
        return write(self, content)

    return full
