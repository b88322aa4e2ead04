"""Puts the learners of this repository into a stock EPyMARL checkout: `python src/plug_into.py CHECKOUT [--remove]`.

New files are copied, marked blocks appended to the registries' `__init__.py`; nothing else changes. See docs/stock.md.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.plug import ENTRIES, MARKS, RECORD, PlugError, digest, planned_blocks, planned_files

Changes = dict[Path, bytes | None]  # a file's new content, None to delete it


def main(argv: Sequence[str] | None = None) -> int:
    """Plug in or remove; returns the exit status, 1 with one sentence on stderr where nothing was changed."""
    parser = argparse.ArgumentParser(prog="plug_into.py", description="Put our learners into a stock EPyMARL checkout.")
    parser.add_argument("checkout", help="the folder that holds EPyMARL's src/")
    parser.add_argument("--remove", action="store_true", help="take everything out again, byte for byte")
    parser.add_argument("--force", action="store_true", help="also replace or delete copied files edited since")
    arguments = parser.parse_args(argv)
    checkout = Path(arguments.checkout).expanduser()
    try:
        source = recognised(checkout)
        print(remove(source, arguments.force) if arguments.remove else plug(source, arguments.force))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `plug_into.py CHECKOUT | head -1`; what was to be done is done
        sys.stderr.close()
    return 0


def recognised(checkout: Path) -> Path:
    """The checkout's src. Raises PlugError, saying what is missing, for anything but stock EPyMARL."""
    source = checkout / "src"
    if (source / "plug_into.py").exists():
        raise PlugError(f"{checkout} is a checkout of epymarl-offline itself; name one of EPyMARL")
    for mark in MARKS:
        if not (source / mark).is_file():
            raise PlugError(f"{checkout} is no EPyMARL checkout of a kind known here: src/{mark} is missing")
    return source


def plug(source: Path, force: bool) -> str:
    """Copy and register, or bring an earlier plugging up to date; returns what was done."""
    record = read_record(source)
    files = planned_files()
    changes: Changes = {}
    for name, content in files.items():
        path = source / name
        if path.exists() and name not in record["files"]:
            raise PlugError(f"{path} exists and is not ours: it would be overwritten; rename it first")
        if path.exists():
            check_unedited(path, record["files"][name], force)
        if not path.exists() or path.read_bytes() != content:
            changes[path] = content
    for name in set(record["files"]) - set(files):  # of an earlier release
        changes |= deletion(source / name, record["files"][name], force)
    texts = {f"{folder}/__init__.py": registry_without(source, folder, record) for folder in ENTRIES}
    blocks = planned_blocks(texts)
    for name, text in texts.items():
        content = (text + blocks[name]).encode()
        if (source / name).read_bytes() != content:
            changes[source / name] = content
    folders = sorted({*record["folders"], *new_folders(source, files)})
    new = {"files": {name: digest(content) for name, content in files.items()}, "blocks": blocks, "folders": folders}
    content = (json.dumps(new, indent=1, sort_keys=True) + "\n").encode()
    if not changes and record == new:
        return f"{source.parent} has it all already: {len(files)} files, {len(blocks)} registries; nothing was changed."
    apply({source / RECORD: content, **changes})
    return (
        f"{source.parent}: {len(files)} files copied, {len(blocks)} registries extended ({', '.join(ENTRIES)}).\n"
        f"What was done is recorded in src/{RECORD}; --remove undoes it. Try, in that folder:\n"
        "  python src/main.py --config=spacql_discrete --env-config=gymma with dataset=DATA.h5 env_args.key=KEY"
    )


def remove(source: Path, force: bool) -> str:
    """Restore the checkout; returns what was done."""
    record = read_record(source)
    if not record["files"]:
        raise PlugError(f"nothing of ours is plugged into {source.parent}: there is no src/{RECORD}")
    changes: Changes = {}
    for name, known in record["files"].items():
        changes |= deletion(source / name, known, force)
    for name in record["blocks"]:
        changes[source / name] = registry_without(source, Path(name).parent.as_posix(), record).encode()
    apply({**changes, source / RECORD: None})
    for name in record["files"]:
        path = source / name
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()
        drop_empty(path.parent / "__pycache__")
    for name in sorted(record["folders"], reverse=True):  # those inside others first
        drop_empty(source / name)
    return f"{source.parent}: {len(record['files'])} files and {len(record['blocks'])} blocks removed; it is as it was."


def drop_empty(folder: Path) -> None:
    """Delete a folder that holds nothing."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def read_record(source: Path) -> dict[str, Any]:
    """What was done to the checkout; empty where nothing was. Raises PlugError for a damaged record."""
    path = source / RECORD
    if not path.exists():
        return {"files": {}, "blocks": {}, "folders": []}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {"files": dict(record["files"]), "blocks": dict(record["blocks"]), "folders": list(record["folders"])}
    except (ValueError, KeyError, TypeError) as error:
        raise PlugError(f"{path} is damaged ({error}): restore it, or take a fresh checkout") from error


def registry_without(source: Path, folder: str, record: Mapping[str, Any]) -> str:
    """A registry's text as it would be without our block. Raises PlugError where the block was edited."""
    path = source / folder / "__init__.py"
    text = path.read_bytes().decode()  # not read_text, which would change line ends
    block = record["blocks"].get(f"{folder}/__init__.py")
    if block is None:
        return text
    if text.count(block) != 1:
        raise PlugError(f"the block of ours in {path} was edited since: restore what src/{RECORD} says of it")
    return text.replace(block, "")


def deletion(path: Path, known: str, force: bool) -> Changes:
    """The change that deletes a copied file, none where it is gone."""
    if not path.exists():
        return {}
    check_unedited(path, known, force)
    return {path: None}


def check_unedited(path: Path, known: str, force: bool) -> None:
    """Raise PlugError where a copied file is not as it was copied."""
    if digest(path.read_bytes()) != known and not force:
        raise PlugError(f"{path} was edited since it was copied: save your version elsewhere, then add --force")


def new_folders(source: Path, files: Mapping[str, bytes]) -> set[str]:
    """Folders that the files need and the checkout lacks."""
    needed = {parent.as_posix() for name in files for parent in Path(name).parents} - {"."}
    return {name for name in needed if not (source / name).exists()}


def apply(changes: Changes) -> None:
    """Make all changes or, where one fails, none of them (PlugError)."""
    before: Changes = {path: path.read_bytes() if path.exists() else None for path in changes}
    try:
        write(changes)
    except OSError as error:
        write(before)
        raise PlugError(f"{error.filename or 'the checkout'} cannot be written ({error.strerror})") from error


def write(changes: Changes) -> None:
    """Write and delete files."""
    for path, content in changes.items():
        if content is None:
            path.unlink(missing_ok=True)
        elif not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
