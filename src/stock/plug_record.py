"""The record that `plug_into.py` keeps in a checkout: what it copied and appended there.

It is read as a stranger's text, for whoever made the checkout may have written it: it can name nothing but files of our
kinds inside the checkout, and no file of stock's own.
"""

import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from stock.plug import BEGIN, END, RECORD, PlugError, appended, bodies, digest, stock_files
from stock.plug_changes import confined, content_of, mode_of

_WORDS = r"[A-Za-z0-9_]{1,80}(?:/[A-Za-z0-9_]{1,80}){0,8}"
_FILE, _FOLDER, _DIGEST = re.compile(rf"{_WORDS}\.(?:py|yaml)"), re.compile(_WORDS), re.compile(r"[0-9a-f]{64}")
_REGISTRY = re.compile(rf"{_WORDS}/__init__\.py")
Texts = dict[str, str]


@dataclass(frozen=True)
class Record:
    """What was done to a checkout, or is being done.

    files: copied files and their checksums. blocks: the text appended to each `__init__.py`. folders: those made.
    earlier_files, earlier_blocks: checksums and blocks of what an update is replacing. They are there only while it is
    under way: whatever moment it is killed at, every file and block is one of those that the record knows.
    """

    files: Texts = field(default_factory=dict)
    blocks: Texts = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    earlier_files: dict[str, list[str]] = field(default_factory=dict)
    earlier_blocks: dict[str, list[str]] = field(default_factory=dict)

    def digests(self, name: str) -> list[str]:
        """Return the checksums that a copied file may have; none where it is not ours."""
        return [*([self.files[name]] if name in self.files else []), *self.earlier_files.get(name, [])]

    def texts(self, name: str) -> list[str]:
        """Return the blocks that an `__init__.py` may hold."""
        return [*([self.blocks[name]] if name in self.blocks else []), *self.earlier_blocks.get(name, [])]

    def copied(self) -> list[str]:
        """Return every file that may have been copied."""
        return sorted({*self.files, *self.earlier_files})

    def extended(self) -> list[str]:
        """Return every `__init__.py` that may hold a block."""
        return sorted({*self.blocks, *self.earlier_blocks})

    def replacing(self, old: "Record") -> "Record":
        """Return this record with what `old` knows beside it, for the time of an update."""
        files = {name: [each for each in old.digests(name) if each != self.files.get(name)] for name in old.copied()}
        blocks = {name: [each for each in old.texts(name) if each != self.blocks.get(name)] for name in old.extended()}
        return replace(self, earlier_files=_filled(files), earlier_blocks=_filled(blocks))

    def written(self) -> bytes:
        """Return the record as a file holds it."""
        content: dict[str, Any] = {"files": self.files, "blocks": self.blocks, "folders": self.folders}
        if self.earlier_files or self.earlier_blocks:
            content["earlier"] = {"files": self.earlier_files, "blocks": self.earlier_blocks}
        return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _filled(lists: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {name: values for name, values in lists.items() if values}


def read_record(source: Path) -> Record | None:
    """Return what was done to the checkout, None where no record is. Raises PlugError for a damaged or foreign one."""
    path = source / RECORD
    try:
        content = content_of(source, RECORD)
        return None if content is None else _record(json.loads(content))
    except (ValueError, TypeError, RecursionError, PlugError) as error:
        raise PlugError(
            f"{path} is damaged ({error}): delete it and run this again, which knows its own files by their content"
        ) from error


def _record(content: Any) -> Record:
    """Return the record that a file holds. Raises ValueError or TypeError for what no release of ours writes."""
    content = _mapping(content, "the record")
    earlier = _mapping(content.get("earlier", {"files": {}, "blocks": {}}), "earlier")
    files, blocks = (_mapping(content.get(key), key).items() for key in ("files", "blocks"))
    old_files, old_blocks = (_mapping(earlier.get(key), key).items() for key in ("files", "blocks"))
    record = Record(
        {name: _digest(value) for name, value in files},
        {name: _block(value) for name, value in blocks},
        _list(content.get("folders"), "folders"),
        {name: [_digest(each) for each in _list(values, name)] for name, values in old_files},
        {name: [_block(each) for each in _list(values, name)] for name, values in old_blocks},
    )
    own = stock_files()
    for names, form in ((record.copied(), _FILE), (record.extended(), _REGISTRY), (record.folders, _FOLDER)):
        for name in names:
            if not isinstance(name, str) or form.fullmatch(name) is None or (form is _FILE and name in own):
                raise ValueError(f"it names {name!r:.80}, which is nothing of ours")
    return record


def _mapping(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{key} is no mapping")
    return value


def _list(value: Any, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{key:.80} is no list")
    return value


def _digest(value: Any) -> str:
    if not isinstance(value, str) or _DIGEST.fullmatch(value) is None:
        raise ValueError("one of its checksums is none")
    return value


def _block(value: Any) -> str:
    """Return a block of the record. It begins and ends with our marks, so that only what is between them is removed."""
    if not isinstance(value, str) or not value.lstrip("\n").startswith(f"{BEGIN}\n") or value.count(BEGIN) != 1:
        raise ValueError("one of its blocks is none")
    if not value.endswith(f"{END}\n") or value.count(f"{END}\n") != 1:
        raise ValueError("one of its blocks is none")
    return value


def recovered(source: Path, planned: Mapping[str, bytes]) -> Record | None:
    """Return what a checkout without a record holds of this release, known by its content; None where that is nothing.

    A record is lost where it was damaged and deleted, or where git cleaned it away.
    """
    blocks: Texts = {}
    for name, body in bodies().items():
        text = content_of(source, name) or b""
        ways = (appended(own, body) for own in ("no line end", "a line end\n", ""))
        blocks |= next(({name: block} for block in ways if block.encode() in text), {})
    files = {name: digest(content) for name, content in planned.items() if _holds(source, name, content)}
    if not blocks and not any(name.startswith("stock/") for name in files):
        return None
    stocks = {parent for name in stock_files() for parent in PurePosixPath(name).parents}
    ours = {parent for name in files for parent in PurePosixPath(name).parents} - stocks
    return Record(files, blocks, sorted(folder.as_posix() for folder in ours))


def _holds(source: Path, name: str, content: bytes) -> bool:
    mode = mode_of(confined(source, name))
    return mode is not None and stat.S_ISREG(mode) and content_of(source, name) == content
