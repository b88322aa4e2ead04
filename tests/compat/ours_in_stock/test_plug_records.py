"""Records that somebody else wrote into a checkout: nothing outside it is read, written or deleted, nor stock's own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stock import plug, plug_into
from tests.compat.ours_in_stock.stand_in import build, tree

Forge = Callable[[dict[str, Any], Path], None]  # changes a record; the path is a victim's outside the checkout
pytestmark = pytest.mark.usefixtures("planned_once")
FLAGS = [(), ("--force",), ("--remove",), ("--remove", "--force")]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return build("stand_in", tmp_path)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of somebody else's beside the checkout, in a folder with byte code and an empty folder."""
    folder = tmp_path / "victim"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__" / "file.cpython-311.pyc").write_bytes(b"compiled")
    (folder / "empty").mkdir()
    (folder / "file.py").write_text("mine = 1\n")
    return folder / "file.py"


def refused(capsys: pytest.CaptureFixture[str], checkout: Path, *flags: str) -> str:
    """The one sentence of a refusal; nothing in or beside the checkout changes."""
    before = tree(checkout.parent)
    capsys.readouterr()
    assert plug_into.main([str(checkout), *flags]) == 1
    assert tree(checkout.parent) == before
    sentence = capsys.readouterr().err
    assert sentence.startswith("error: ") and sentence.count("\n") == 1 and sentence[:-1].isprintable()
    return sentence


def names(name: str) -> Forge:
    """List a file by this name, with the victim's checksum."""

    def forge(record: dict[str, Any], victim: Path) -> None:
        record["files"][name.format(victim=victim)] = plug.digest(victim.read_bytes())

    return forge


def extends(name: str, block: str) -> Forge:
    return lambda record, victim: record["blocks"].update({name.format(victim=victim): block})


MARKED = f"\n{plug.BEGIN}\nmine = 1\n{plug.END}\n"
FORGED: dict[str, Forge] = {
    "up": names("../../../victim/file.py"),
    "up in the middle": names("learners/../../../victim/file.py"),
    "absolute": names("{victim}"),
    "dot": names("./main.py"),
    "twice a slash": names("//main.py"),
    "stock's own": lambda record, victim: record["files"].update({"learners/q_learner.py": "0" * 64}),
    "a mark": lambda record, victim: record["files"].update({"envs/__init__.py": "0" * 64}),
    "no kind of ours": names("config/secrets.env"),
    "a pattern": names("learners/*.py"),
    "a new line": names("learners/a\nb.py"),
    "NUL": names("learners/a\0.py"),
    "too long": names("a" * 5000 + ".py"),
    "a folder up": lambda record, victim: record["folders"].append("../../victim/empty"),
    "a folder of no text": lambda record, victim: record["folders"].append(7),
    "a block up": extends("../../victim/__init__.py", MARKED),
    "a block elsewhere": extends("main.py", MARKED),
    "a block without marks": extends("learners/__init__.py", "from learners.q_learner import QLearner\n"),
    "a block of two": extends("learners/__init__.py", MARKED + "import os\n" + MARKED),
    "a block of nothing": extends("learners/__init__.py", ""),
    "a checksum of no text": lambda record, victim: record["files"].update({"a.py": 7}),
    "an update up": lambda record, victim: record.update(
        earlier={"files": {"../../victim/file.py": [plug.digest(victim.read_bytes())]}, "blocks": {}}
    ),
    "an update of no list": lambda record, victim: record.update(earlier={"files": {"a.py": "0" * 64}, "blocks": {}}),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_what_is_nothing_of_ours_is_refused(
    forge: Forge, checkout: Path, victim: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plug_into.main([str(checkout)])
    path = checkout / "src" / plug.RECORD
    record = json.loads(path.read_text())
    forge(record, victim)
    path.write_text(json.dumps(record))
    for flags in FLAGS:
        assert "is damaged" in refused(capsys, checkout, *flags)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"files"', b'{"files": {}}', b"\xff\xfe", b"[" * 100_000, b"9" * 5000,
                b"x" * (1 << 23)],
)  # fmt: skip
def test_a_record_that_is_none_can_be_deleted(
    content: bytes, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What this release copied is known by its content: taken out, or given a record again."""
    before, record = tree(checkout), checkout / "src" / plug.RECORD
    plug_into.main([str(checkout)])
    plugged = tree(checkout)
    record.write_bytes(content)
    for flags in FLAGS:
        assert "is damaged" in refused(capsys, checkout, *flags)
    record.unlink()
    assert plug_into.main([str(checkout)]) == 0 and tree(checkout) == plugged
    record.unlink()
    assert plug_into.main([str(checkout), "--remove"]) == 0 and tree(checkout) == before


def test_a_registry_without_a_last_line_end_is_restored_without_a_record(checkout: Path) -> None:
    """As stock's own of controllers is."""
    registry = checkout / "src" / "controllers" / "__init__.py"
    registry.write_bytes(registry.read_bytes().rstrip(b"\n"))
    before = tree(checkout)
    for again in ((), ([str(checkout)],)):  # taken out at once, or plugged in again first
        for words in ([str(checkout)], None, *again, [str(checkout), "--remove"]):
            if words is None:
                (checkout / "src" / plug.RECORD).unlink()
            else:
                assert plug_into.main(words) == 0
        assert tree(checkout) == before


def test_a_pipe_as_record_does_not_wait(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(checkout / "src" / plug.RECORD)
    assert "is no plain file" in refused(capsys, checkout)


@pytest.mark.parametrize("folder", ["src", "src/learners", "src/modules", "src/modules/layers", "src/config/algs"])
@pytest.mark.parametrize("flags", FLAGS)
def test_links_at_any_level_are_not_followed(
    flags: tuple[str, ...], folder: str, checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is moved away after plugging in, and a link to it in its place."""
    plug_into.main([str(checkout)])
    (checkout / folder).rename(tmp_path / "outside")
    (checkout / folder).symlink_to(tmp_path / "outside")
    assert "is a link" in (said := refused(capsys, checkout, *flags)) or "is no folder" in said


@pytest.mark.parametrize("flags", FLAGS)
def test_a_linked_registry_is_not_written_through(
    flags: tuple[str, ...], checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plug_into.main([str(checkout)])
    registry = checkout / "src" / "learners" / "__init__.py"
    registry.rename(tmp_path / "outside.py")
    registry.symlink_to(tmp_path / "outside.py")
    assert "is no plain file" in refused(capsys, checkout, *flags)


def test_linked_byte_code_is_not_deleted(checkout: Path, victim: Path) -> None:
    plug_into.main([str(checkout)])
    compiled = victim.parent / "__pycache__" / "bc_learner.cpython-311.pyc"
    compiled.touch()
    (checkout / "src" / "learners" / "__pycache__").symlink_to(compiled.parent)
    assert plug_into.main([str(checkout), "--remove"]) == 0 and compiled.exists()


def test_a_second_name_of_a_registry_keeps_its_content(checkout: Path, tmp_path: Path) -> None:
    """Files are replaced, not written into: a hard link elsewhere stays as it is."""
    registry = checkout / "src" / "learners" / "__init__.py"
    registry.chmod(0o640)
    os.link(registry, tmp_path / "second.py")
    before = registry.read_bytes()
    assert plug_into.main([str(checkout)]) == 0
    assert (tmp_path / "second.py").read_bytes() == before != registry.read_bytes()
    assert registry.stat().st_mode & 0o777 == 0o640


def test_what_others_left_unfinished_is_theirs(checkout: Path) -> None:
    """Only unfinished files of our own names are cleared, and no links or folders."""
    source = checkout / "src"
    ours = source / "learners" / ".bc_learner.py.0123abcd.writing"
    theirs = [source / "learners" / name for name in (".notes.writing", ".mine.py.0123abcd.writing")]
    link, folder = source / ".main.py.0123abcd.writing", source / f".{plug.RECORD}.0123abcd.writing"
    for path in (ours, *theirs):
        path.write_text("half")
    link.symlink_to(theirs[0])
    folder.mkdir()
    assert plug_into.main([str(checkout)]) == 0
    assert not ours.exists() and all(path.exists() for path in (*theirs, link, folder))


@pytest.mark.parametrize("checkout", ["~nosuchuser/epymarl", "x" * 5000, "a\nb", "a\x1b[31mb", "", "."])
def test_odd_names_of_checkouts_are_refused(checkout: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert plug_into.main([checkout]) == 1
    sentence = capsys.readouterr().err
    assert sentence.count("\n") == 1 and sentence[:-1].isprintable()


def test_a_folder_that_holds_what_is_not_ours_is_left_behind_and_said(
    checkout: Path, victim: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(checkout)
    plug_into.main([str(checkout)])
    cache = checkout / "src" / "stock" / "__pycache__"
    cache.symlink_to(victim.parent / "__pycache__")
    capsys.readouterr()
    assert plug_into.main([str(checkout), "--remove"]) == 0
    said = capsys.readouterr().out
    assert f"{cache.parent} is left behind, for it holds what is not ours" in said and "as it was" not in said
    assert list((victim.parent / "__pycache__").iterdir())
    cache.unlink()
    cache.parent.rmdir()
    assert tree(checkout) == before
