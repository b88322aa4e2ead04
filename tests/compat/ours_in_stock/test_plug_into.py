"""Plugging in and out: files, registries, refusals. What the learners do there is in test_runs.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stock import plug, plug_into
from tests.command_line import ROOT
from tests.compat.ours_in_stock.stand_in import build, tree

REGISTRIES = {f"src/{folder}/__init__.py" for folder in plug.EXTENDED}
# What the release before this one copied and this one does not, and the reverse.
OLDER = {"controllers/batched_controller.py", "learners/gradients.py", "loops/__init__.py", "loops/data.py",
         "modules/densities/__init__.py", "modules/mixers/registry.py", "runners/offline_runner.py"}  # fmt: skip
NEWER = {"stock/__init__.py", "stock/batched_controller.py", "stock/learners.py", "stock/mixers.py",
         "stock/offline_runner.py", "learners/optimisation.py", "modules/behaviour/__init__.py"}  # fmt: skip


@pytest.fixture
def checkout(kind: str, tmp_path: Path) -> Path:
    return build(kind, tmp_path)


@pytest.fixture
def release_before(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout plugged by the release before this one: other files, and no block in `modules/mixers`."""
    files = plug.planned_files()
    assert files.keys() >= NEWER and not files.keys() & OLDER
    kept = {name: content for name, content in files.items() if name not in NEWER}
    with monkeypatch.context() as before:
        before.setattr(plug_into, "planned_files", lambda: {**kept, **dict.fromkeys(OLDER, b"# older\n")})
        before.setattr(plug, "NAMES", {})
        before.setattr(plug_into, "REGISTRIES", tuple(f"{folder}/__init__.py" for folder in plug.ENTRIES))
        assert plug_into.main([str(checkout)]) == 0
    assert all((checkout / "src" / name).exists() for name in OLDER)
    return checkout


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if after.get(name) != before[name]}


def refusal(capsys: pytest.CaptureFixture[str], checkout: Path, *flags: str) -> str:
    """The one sentence of a refusal, which changes nothing."""
    before = tree(checkout) if checkout.exists() else {}
    assert plug_into.main([str(checkout), *flags]) == 1
    assert (tree(checkout) if checkout.exists() else {}) == before
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    return captured.err


def test_nothing_but_the_registries_is_touched(checkout: Path) -> None:
    before = tree(checkout)
    assert plug_into.main([str(checkout)]) == 0
    after = tree(checkout)
    assert changed(before, after) == REGISTRIES
    assert {f"src/{name}" for name in (*plug.planned_files(), plug.RECORD)} <= set(after)
    for name in REGISTRIES:
        assert plug.BEGIN in (checkout / name).read_text()


def test_twice_is_once(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plug_into.main([str(checkout)])
    once = tree(checkout)
    assert plug_into.main([str(checkout)]) == 0
    assert tree(checkout) == once and "nothing was changed" in capsys.readouterr().out


def test_remove_restores_byte_for_byte(checkout: Path) -> None:
    before = tree(checkout)
    plug_into.main([str(checkout)])
    # Stock's own learners shall still work where h5py is not installed.
    script = (
        "import sys, types; sys.modules.update(h5py=None, smaclite=types.ModuleType('smaclite')); "
        "sys.path.insert(0, 'src'); import controllers, learners, runners"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=checkout, check=True, env=environment
    )  # leaves byte code
    assert list(checkout.rglob("mlp_agent.*.pyc"))  # byte code is removed as well
    assert plug_into.main([str(checkout), "--remove"]) == 0
    assert tree(checkout) == before
    assert not list(checkout.rglob("mlp_agent.*.pyc")) and not (checkout / "src" / "modules" / "layers").exists()


def test_a_later_release_updates_what_it_copied(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, files = tree(checkout), plug.planned_files()
    older = {**files, "learners/bc_learner.py": b"# older\n", "learners/gone/one.py": b"# no longer needed\n"}
    monkeypatch.setattr(plug_into, "planned_files", lambda: older)
    plug_into.main([str(checkout)])
    monkeypatch.setattr(plug_into, "planned_files", lambda: files)
    assert plug_into.main([str(checkout)]) == 0
    assert (checkout / "src/learners/bc_learner.py").read_bytes() == files["learners/bc_learner.py"]
    assert not (checkout / "src/learners/gone/one.py").exists()
    assert plug_into.main([str(checkout), "--remove"]) == 0
    assert tree(checkout) == before


def test_the_release_before_is_brought_up_to_date(kind: str, release_before: Path, tmp_path: Path) -> None:
    compiled = release_before / "src/modules/densities/__pycache__/__init__.cpython-311.pyc"
    compiled.parent.mkdir()
    compiled.touch()
    assert plug_into.main([str(release_before)]) == 0
    fresh = build(kind, tmp_path / "fresh")
    assert plug_into.main([str(fresh)]) == 0
    now, wanted = tree(release_before), tree(fresh)
    record = f"src/{plug.RECORD}"  # still has the folders of the release before
    assert changed(wanted, now) <= {record} and now.keys() == wanted.keys() and not compiled.parent.parent.exists()
    assert plug_into.main([str(release_before), "--remove"]) == 0
    assert tree(release_before) == tree(build(kind, tmp_path / "plain"))


def test_an_edited_file_of_the_release_before_is_kept(release_before: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited = release_before / "src/runners/offline_runner.py"
    edited.write_text("# older\n# mine\n")
    assert "runners/offline_runner.py was edited since it was copied" in refusal(capsys, release_before)
    assert plug_into.main([str(release_before), "--force"]) == 0 and not edited.exists()


def test_edits_of_the_users_are_not_lost(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(checkout)
    plug_into.main([str(checkout)])
    registry, copied = (checkout / "src/learners" / name for name in ("__init__.py", "bc_learner.py"))
    registry.write_text(registry.read_text() + "MINE = 1\n")  # beside the block: stays
    assert plug_into.main([str(checkout)]) == 0
    copied.write_text(copied.read_text() + "# mine\n")
    for flags in ((), ("--remove",)):
        assert "bc_learner.py was edited since" in refusal(capsys, checkout, *flags)
    assert plug_into.main([str(checkout), "--remove", "--force"]) == 0
    assert changed(before, tree(checkout)) == {"src/learners/__init__.py"}
    assert registry.read_text().endswith("MINE = 1\n") and plug.BEGIN not in registry.read_text()


def test_an_edited_block_is_not_guessed_at(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plug_into.main([str(checkout)])
    registry = checkout / "src/runners/__init__.py"
    registry.write_text(registry.read_text().replace('"offline"', '"dataset"'))
    for flags in ((), ("--remove",), ("--remove", "--force")):
        assert "runners/__init__.py was edited since" in refusal(capsys, checkout, *flags)
    registry.write_text(registry.read_text().replace(f"{plug.BEGIN}\n", ""))  # its entry is still there
    assert "runners/__init__.py was edited since" in refusal(capsys, checkout, "--remove")


@pytest.mark.parametrize("flags", [("--remove",), ("--remove", "--force"), ("--force",), ()])
def test_registries_restored_by_git_are_no_dead_end(flags: tuple[str, ...], checkout: Path) -> None:
    """`git checkout -- src` takes the blocks out and leaves the copied files and the record, which are new there."""
    before = tree(checkout)
    registries = {name: (checkout / name).read_bytes() for name in REGISTRIES}
    plug_into.main([str(checkout)])
    plugged = tree(checkout)
    for name, content in registries.items():
        (checkout / name).write_bytes(content)
    assert plug_into.main([str(checkout), *flags]) == 0
    assert tree(checkout) == (before if "--remove" in flags else plugged)


def test_other_folders_are_refused(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "src/main.py is missing" in refusal(capsys, tmp_path / "nowhere")
    assert "epymarl-offline itself" in refusal(capsys, ROOT)
    assert "nothing of ours is plugged into" in refusal(capsys, checkout, "--remove")
    registry = checkout / "src/modules/agents/__init__.py"
    text = registry.read_text()
    registry.write_text(f'{text}\nREGISTRY["mlp"] = RNNAgent\n')
    assert "names 'mlp' already" in refusal(capsys, checkout)
    registry.write_text(text.replace("REGISTRY", "AGENTS"))
    assert "has no REGISTRY" in refusal(capsys, checkout)
    registry.write_text(text)
    mixers = checkout / "src/modules/mixers/__init__.py"
    text = mixers.read_text()
    mixers.write_text(f"{text}\nREGISTRY = {{}}\n")
    assert "src/modules/mixers/__init__.py has a REGISTRY already" in refusal(capsys, checkout)
    mixers.write_text(text)
    (checkout / "src/utils/general_reward_support.py").unlink()
    assert "general_reward_support.py is missing" in refusal(capsys, checkout)
    assert plug_into.main(["x" * 300]) == 1  # asking whether it exists is an error already
    assert "cannot be used (file name too long)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["learners/bc_learner.py", "config/algs/bc_discrete.yaml", "utils/errors.py"])
def test_files_of_others_are_not_overwritten(name: str, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "src" / name).write_text("mine: True\n")
    assert f"{name} exists and is not ours" in refusal(capsys, checkout)


@pytest.mark.parametrize("name", ["epymarl_offline.json", "modules/layers/masks.py", "runners/__init__.py"])
def test_what_cannot_be_written_leaves_everything_as_it_was(
    name: str, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first file, one in a folder that was made for it, the last registry: each half written on a full disk."""
    write_bytes, failed = Path.write_bytes, []

    def full(path: Path, content: bytes) -> int:
        if f".{Path(name).name}." not in path.name or path.parent.name != (checkout / "src" / name).parent.name:
            return write_bytes(path, content)
        failed.append(write_bytes(path, content[: len(content) // 2]))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_bytes", full)
        assert f"{name} cannot be written (no space left on device)" in refusal(capsys, checkout)
    assert failed and plug_into.main([str(checkout)]) == 0


def test_what_cannot_be_put_back_is_left_for_the_next_run(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk stays full while an update is taken back: its record still knows the files of both releases."""
    before, files = tree(checkout), plug.planned_files()
    older = {**files, "learners/bc_learner.py": b"# older\n", "learners/base_learner.py": b"# older\n"}
    with monkeypatch.context() as release:
        release.setattr(plug_into, "planned_files", lambda: older)
        plug_into.main([str(checkout)])
    write_bytes, written = Path.write_bytes, []

    def full(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) > 2:  # the record and one file
            raise OSError(28, "No space left on device")
        return write_bytes(path, content)

    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_bytes", full)
        assert plug_into.main([str(checkout)]) == 1
    assert "nor could everything be put back: make room there, then run this again" in capsys.readouterr().err
    assert plug_into.main([str(checkout), "--remove"]) == 0 and tree(checkout) == before


@pytest.mark.parametrize("name", ["datasets", "modules/layers"])
def test_files_and_links_where_folders_of_ours_go_are_refused(
    name: str, checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkout / "src" / name
    path.write_text("mine\n")
    assert f"{name} is no folder" in refusal(capsys, checkout)
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    assert f"{name} is no folder" in refusal(capsys, checkout)
    (tmp_path / "nowhere").mkdir()  # a folder, but not of the checkout
    assert f"{name} is no folder" in refusal(capsys, checkout)
    assert not any((tmp_path / "nowhere").iterdir())


def test_a_registry_that_is_no_text_is_refused(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "src" / "learners" / "__init__.py").write_bytes(b"\xff\xfe")
    assert "is no UTF-8 text" in refusal(capsys, checkout)


@pytest.mark.parametrize("name", ["learners/bc_learner.py", plug.RECORD])
def test_links_are_not_followed_out_of_the_checkout(
    name: str, checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside, path = tmp_path / "outside", checkout / "src" / name
    path.symlink_to(outside)
    wanted = "is damaged" if name == plug.RECORD else f"{name} exists and is not ours"
    assert wanted in refusal(capsys, checkout)
    assert path.is_symlink() and not outside.exists()
    path.unlink()
    plug_into.main([str(checkout)])
    path.unlink()
    path.symlink_to(outside)
    wanted = "is damaged" if name == plug.RECORD else "is no longer the file that was copied"
    for flags in ((), ("--force",), ("--remove", "--force")):
        assert wanted in refusal(capsys, checkout, *flags)
    assert path.is_symlink() and not outside.exists()
