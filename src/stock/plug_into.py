"""Puts our learners into a stock EPyMARL checkout: `python src/stock/plug_into.py CHECKOUT [--remove]`.

New files are copied, marked blocks appended to the registries' `__init__.py`; nothing else changes.
See docs/reference/ours-in-stock.md.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # imports are absolute from src/, and Python looks for them beside a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from stock.plug import ENTRIES, MARKS, RECORD, PlugError, digest, planned_blocks, planned_files
from utils.errors import UserError

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
    except OSError as error:  # before anything was changed: `apply` answers for the rest
        print(f"error: {error.filename or checkout} cannot be used ({error.strerror})", file=sys.stderr)
        return 1
    return 0


def recognised(checkout: Path) -> Path:
    """The checkout's src. Raises PlugError, saying what is missing, for anything but stock EPyMARL."""
    source = checkout / "src"
    if (source / "stock" / "plug_into.py").exists():
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
        check_folders(source, name)
        if taken(path) and name not in record["files"]:
            raise PlugError(f"{path} exists and is not ours: it would be overwritten; rename it first")
        if taken(path):
            check_unedited(path, record["files"][name], force)
        if not taken(path) or path.read_bytes() != content:
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
    done = f"{source.parent}: {len(record['files'])} files and {len(record['blocks'])} blocks removed"
    try:
        sweep(source, record)
    except OSError as error:
        return f"{done}; {error.filename} is left behind ({error.strerror})."
    return f"{done}; it is as it was."


def sweep(source: Path, record: Mapping[str, Any]) -> None:
    """Delete what Python compiled of our files, and folders of ours that are empty then."""
    for name in record["files"]:
        path = source / name
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()
        drop_empty(path.parent / "__pycache__")
    for name in sorted(record["folders"], reverse=True):  # those inside others first
        drop_empty(source / name)


def drop_empty(folder: Path) -> None:
    """Delete a folder that holds nothing."""
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()


def read_record(source: Path) -> dict[str, Any]:
    """What was done to the checkout; empty where nothing was. Raises PlugError for a damaged record."""
    path = source / RECORD
    if not taken(path):
        return {"files": {}, "blocks": {}, "folders": []}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {"files": dict(record["files"]), "blocks": dict(record["blocks"]), "folders": list(record["folders"])}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise PlugError(f"{path} is damaged ({error}): restore it, or take a fresh checkout") from error


def registry_without(source: Path, folder: str, record: Mapping[str, Any]) -> str:
    """A registry's text as it would be without our block. Raises PlugError where the block was edited.

    A text without a single line of the block is one that somebody restored, with `git checkout` for instance.
    """
    path = source / folder / "__init__.py"
    try:
        text = path.read_bytes().decode()  # not read_text, which would change line ends
    except UnicodeDecodeError as error:
        raise PlugError(f"{path} is no UTF-8 text ({error.reason}): take a fresh checkout") from error
    block: str | None = record["blocks"].get(f"{folder}/__init__.py")
    if block is None or not {line for line in block.splitlines() if line} & set(text.splitlines()):
        return text
    if text.count(block) != 1:
        raise PlugError(
            f"the block of ours in {path} was edited since: put back what src/{RECORD} says of it, or take all of its "
            "lines out"
        )
    return text.replace(block, "")


def deletion(path: Path, known: str, force: bool) -> Changes:
    """The change that deletes a copied file, none where it is gone."""
    if not taken(path):
        return {}
    check_unedited(path, known, force)
    return {path: None}


def check_unedited(path: Path, known: str, force: bool) -> None:
    """Raise PlugError where a copied file is not as it was copied."""
    if path.is_symlink() or not path.is_file():  # not ours to follow or to delete, whatever `force` says
        raise PlugError(f"{path} is no longer the file that was copied: move what is there elsewhere first")
    if digest(path.read_bytes()) != known and not force:
        raise PlugError(f"{path} was edited since it was copied: save your version elsewhere, then add --force")


def taken(path: Path) -> bool:
    """Whether there is anything of that name, a link to nowhere among it: writing would follow it."""
    return path.exists() or path.is_symlink()


def check_folders(source: Path, name: str) -> None:
    """Raise PlugError where a folder that a file goes into has the name of something else."""
    for parent in list(Path(name).parents)[:-1]:
        path = source / parent
        if taken(path) and (path.is_symlink() or not path.is_dir()):  # a link may lead out of the checkout
            raise PlugError(f"{path} is no folder, and files of ours go into one of that name: rename it first")


def new_folders(source: Path, files: Iterable[str]) -> set[str]:
    """Folders that the files need and the checkout lacks."""
    needed = {parent.as_posix() for name in files for parent in Path(name).parents} - {"."}
    return {name for name in needed if not (source / name).exists()}


def apply(changes: Changes) -> None:
    """Make all changes or, where one fails, none of them (PlugError)."""
    before: Changes = {path: path.read_bytes() if path.exists() else None for path in changes}
    made = {parent for path in changes for parent in path.parents if not parent.exists()}
    try:
        for path, content in changes.items():
            write(path, content)
    except OSError as error:
        lost = undo(before, made)
        rest = f", nor could {', '.join(lost)} be put back: take a fresh checkout" if lost else ""
        raise PlugError(f"{error.filename or 'the checkout'} cannot be written ({error.strerror}){rest}") from error


def undo(before: Changes, made: Iterable[Path]) -> list[str]:
    """Put back what was there and drop the folders that were made; returns what cannot be put back."""
    lost = []
    for path, content in before.items():
        try:
            write(path, content)
        except OSError:  # the others are put back all the same
            lost.append(str(path))
    for folder in sorted(made, reverse=True):  # those inside others first
        drop_empty(folder)
    return lost


def write(path: Path, content: bytes | None) -> None:
    """Write a file that is not so already, or delete it."""
    if content is None:
        if taken(path):  # asked first, for below what is no folder `unlink` fails
            path.unlink()
    elif not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
