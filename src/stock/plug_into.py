"""Put our learners into a stock EPyMARL checkout: `python src/stock/plug_into.py CHECKOUT [--remove]`.

New files are copied and marked blocks are appended to `__init__.py` files; nothing else changes. See
docs/reference/ours-in-stock.md.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # imports are absolute from src/, and Python looks for them beside a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils import signals

if __name__ == "__main__":
    signals.end_at_once_on_signals()

from stock.plug import EXTENDED, MARKS, RECORD, PlugError, digest, planned_blocks, planned_files
from utils.errors import UserError

Changes = dict[Path, bytes | None]  # a file's new content, None to delete it


def main(argv: Sequence[str] | None = None) -> int:
    """Plug in or remove. Returns the exit status: 1 with one sentence on stderr where nothing was changed."""
    parser = argparse.ArgumentParser(prog="plug_into.py", description="Put our learners into a stock EPyMARL checkout.")
    parser.add_argument("checkout", help="the folder that holds EPyMARL's src/")
    parser.add_argument("--remove", action="store_true", help="restore the checkout, byte for byte")
    parser.add_argument("--force", action="store_true", help="also replace or delete copied files that were edited")
    arguments = parser.parse_args(argv)
    checkout = Path(arguments.checkout).expanduser()
    try:
        source = recognised(checkout)
        with signals.StopSignals():  # all changes are made, or none
            print(remove(source, arguments.force) if arguments.remove else plug(source, arguments.force), flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `plug_into.py CHECKOUT | head -1`: everything is done by then
        sys.stderr.close()
    except OSError as error:  # raised before anything was changed; later ones become PlugErrors in `apply`
        print(f"error: {error.filename or checkout} cannot be used ({error.strerror})", file=sys.stderr)
        return 1
    return 0


def recognised(checkout: Path) -> Path:
    """Return the checkout's src. Raises PlugError, naming what is missing, for anything but stock EPyMARL."""
    source = checkout / "src"
    if (source / "stock" / "plug_into.py").exists():
        raise PlugError(f"{checkout} is a checkout of epymarl-offline itself; name one of EPyMARL")
    for mark in MARKS:
        if not (source / mark).is_file():
            raise PlugError(f"{checkout} is no EPyMARL checkout of a kind known here: src/{mark} is missing")
    return source


def plug(source: Path, force: bool) -> str:
    """Copy and register, or bring an earlier release up to date. Returns what was done."""
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
    obsolete = set(record["files"]) - set(files)  # copied by an earlier release
    for name in obsolete:
        changes |= deletion(source / name, record["files"][name], force)
    texts = {f"{folder}/__init__.py": without_block(source, folder, record) for folder in EXTENDED}
    blocks = planned_blocks(texts)
    for name, text in texts.items():
        content = (text + blocks[name]).encode()
        if (source / name).read_bytes() != content:
            changes[source / name] = content
    folders = sorted({*record["folders"], *new_folders(source, files)})
    new = {"files": {name: digest(content) for name, content in files.items()}, "blocks": blocks, "folders": folders}
    content = (json.dumps(new, indent=1, sort_keys=True) + "\n").encode()
    if not changes and record == new:
        return f"{source.parent} is up to date: {len(files)} files, {len(blocks)} packages; nothing was changed."
    apply({source / RECORD: content, **changes})
    left = sweep(source, obsolete, record["folders"])
    return (
        f"{source.parent}: {len(files)} files copied, {len(blocks)} packages extended ({', '.join(EXTENDED)}){left}.\n"
        f"src/{RECORD} lists what was done; --remove undoes it. Try, in that folder:\n"
        "  python src/main.py --config=spacql_discrete --env-config=gymma with dataset=DATA.h5 env_args.key=KEY"
    )


def remove(source: Path, force: bool) -> str:
    """Restore the checkout. Returns what was done."""
    record = read_record(source)
    if not record["files"]:
        raise PlugError(f"nothing of ours is plugged into {source.parent}: there is no src/{RECORD}")
    changes: Changes = {}
    for name, known in record["files"].items():
        changes |= deletion(source / name, known, force)
    for name in record["blocks"]:
        changes[source / name] = without_block(source, Path(name).parent.as_posix(), record).encode()
    apply({**changes, source / RECORD: None})
    left = sweep(source, record["files"], record["folders"]) or "; it is as it was"
    return f"{source.parent}: {len(record['files'])} files and {len(record['blocks'])} blocks removed{left}."


def sweep(source: Path, files: Iterable[str], folders: Iterable[str]) -> str:
    """Delete the byte code of deleted files, then those of our folders that are empty.

    Returns "", or the end of a sentence that names what could not be deleted.
    """
    try:
        for path in (source / name for name in files):
            for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
                compiled.unlink()
            drop_empty(path.parent / "__pycache__")
        for name in sorted(folders, reverse=True):  # inner folders first
            drop_empty(source / name)
    except OSError as error:
        return f"; {error.filename} is left behind ({error.strerror})"
    return ""


def drop_empty(folder: Path) -> None:
    """Delete a folder that holds nothing."""
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()


def read_record(source: Path) -> dict[str, Any]:
    """Return what was done to the checkout, empty where nothing was. Raises PlugError for a damaged record."""
    path = source / RECORD
    if not taken(path):
        return {"files": {}, "blocks": {}, "folders": []}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {"files": dict(record["files"]), "blocks": dict(record["blocks"]), "folders": list(record["folders"])}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise PlugError(f"{path} is damaged ({error}): restore it, or take a fresh checkout") from error


def without_block(source: Path, folder: str, record: Mapping[str, Any]) -> str:
    """Return the text of a package's `__init__.py` without our block. Raises PlugError where the block was edited.

    A text without a single line of the block was restored by somebody, with `git checkout` for instance.
    """
    path = source / folder / "__init__.py"
    try:
        text = path.read_bytes().decode()  # read_text would change line ends
    except UnicodeDecodeError as error:
        raise PlugError(f"{path} is no UTF-8 text ({error.reason}): take a fresh checkout") from error
    block: str | None = record["blocks"].get(f"{folder}/__init__.py")
    if block is None or not {line for line in block.splitlines() if line} & set(text.splitlines()):
        return text
    if text.count(block) != 1:
        raise PlugError(
            f"our block in {path} was edited since: put back the text that src/{RECORD} has, or take all of its lines "
            "out"
        )
    return text.replace(block, "")


def deletion(path: Path, known: str, force: bool) -> Changes:
    """Return the change that deletes a copied file, no change where it is gone."""
    if not taken(path):
        return {}
    check_unedited(path, known, force)
    return {path: None}


def check_unedited(path: Path, known: str, force: bool) -> None:
    """Raise PlugError where a copied file is not as it was copied."""
    if path.is_symlink() or not path.is_file():  # never followed or deleted, even with `force`
        raise PlugError(f"{path} is no longer the file that was copied: move what is there elsewhere first")
    if digest(path.read_bytes()) != known and not force:
        raise PlugError(f"{path} was edited since it was copied: save your version elsewhere, then add --force")


def taken(path: Path) -> bool:
    """Whether anything has that name, a dangling link included: writing would follow it."""
    return path.exists() or path.is_symlink()


def check_folders(source: Path, name: str) -> None:
    """Raise PlugError where a folder that a file goes into is something else in the checkout."""
    for parent in list(Path(name).parents)[:-1]:
        path = source / parent
        if taken(path) and (path.is_symlink() or not path.is_dir()):  # a link may lead out of the checkout
            raise PlugError(f"{path} is no folder, and our files go into one of that name: rename it first")


def new_folders(source: Path, files: Iterable[str]) -> set[str]:
    """Return the folders that the files need and the checkout lacks."""
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
    """Put back what was there and delete the folders that were made. Returns what cannot be put back."""
    lost = []
    for path, content in before.items():
        try:
            write(path, content)
        except OSError:  # go on: the others can still be put back
            lost.append(str(path))
    for folder in sorted(made, reverse=True):  # inner folders first
        drop_empty(folder)
    return lost


def write(path: Path, content: bytes | None) -> None:
    """Write a file where its content differs; delete it where `content` is None."""
    if content is None:
        if taken(path):  # `unlink(missing_ok=True)` would fail below a path that is no folder
            path.unlink()
    elif not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
