"""Put our learners into a stock EPyMARL checkout: `python src/stock/plug_into.py CHECKOUT [--remove]`.

New files are copied and marked blocks are appended to `__init__.py` files; nothing else changes. See
docs/reference/ours-in-stock.md.
"""

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

if __name__ == "__main__":  # imports are absolute from src/, and Python looks for them beside a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils import signals
from utils.printing import Parser, open_closed_streams, put

if __name__ == "__main__":
    open_closed_streams()
    signals.end_at_once_on_signals()

from stock.plug import EXTENDED, MARKS, RECORD, PlugError, digest, planned_blocks, planned_files, stock_files
from stock.plug_changes import Changes, alone, apply, clear_remains, confined, content_of, mode_of, sweep, write
from stock.plug_record import Record, read_record, recovered
from utils.errors import UserError, cause, printable

REGISTRIES = tuple(f"{folder}/__init__.py" for folder in EXTENDED)


def main(argv: Sequence[str] | None = None) -> int:
    """Plug in or remove. Returns the exit status: 1 with one sentence on stderr where nothing was changed."""
    parser = Parser(prog="plug_into.py", description="Put our learners into a stock EPyMARL checkout.")
    parser.add_argument("checkout", help="the folder that holds EPyMARL's src/")
    parser.add_argument("--remove", action="store_true", help="restore the checkout, byte for byte")
    parser.add_argument("--force", action="store_true", help="also replace or delete copied files that were edited")
    try:
        arguments = parser.parse_args(argv)
        checkout = Path(os.path.expanduser(arguments.checkout))
        source = recognised(checkout)
        with signals.StopSignals(), alone(source):  # a first signal waits until all changes are made
            said = remove(source, arguments.force) if arguments.remove else plug(source, arguments.force)
            put("\n".join(map(printable, said.splitlines())))
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 1
    except OSError as error:  # raised before anything was changed; later ones become PlugErrors in `apply`
        place = printable(str(error.filename or checkout))
        print(f"error: {place} cannot be used ({cause(error)}); change its permissions or its name", file=sys.stderr)
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
    if source.is_symlink():  # what is written and deleted there would be another folder's
        raise PlugError(f"{source} is a link; put EPyMARL's own src/ there")
    return source


def plug(source: Path, force: bool) -> str:
    """Copy and register, or bring an earlier release up to date. Returns what was done.

    The record is written first, then files, then the blocks that import them, and obsolete files are deleted last: a
    process killed at any moment leaves what the next one can finish or take out.
    """
    planned = planned_files()
    stored = read_record(source)
    record = stored or recovered(source, planned) or Record()
    clear_remains(source, {*planned, *record.copied(), *REGISTRIES, RECORD})
    texts = {name: without_block(source, name, record) for name in REGISTRIES}
    blocks = planned_blocks(texts)
    changes = {**copies(source, planned, record, force)}
    for name, text in texts.items():
        if content_of(source, name) != (content := (text + blocks[name]).encode()):
            changes[name] = content
    obsolete = set(record.copied()) - set(planned)  # copied by an earlier release
    changes |= deletions(source, obsolete, record, force)
    folders = sorted({*record.folders, *new_folders(source, planned)})
    new = Record({name: digest(content) for name, content in planned.items()}, blocks, folders)
    if not changes and stored == new:
        return f"{source.parent} is up to date: {len(planned)} files, {len(blocks)} packages; nothing was changed."
    apply(source, {RECORD: new.replacing(record).written(), **changes})
    left = sweep(source, obsolete, record.folders)
    write(source, RECORD, new.written())
    packages = f"{len(blocks)} packages extended ({', '.join(EXTENDED)})"
    return (
        f"{source.parent}: {len(planned)} files copied, {packages}{left}.\n"
        f"src/{RECORD} lists what was done; --remove undoes it. Try, in that folder:\n"
        "  python src/main.py --config=spacql_discrete --env-config=gymma with dataset=DATA.h5 env_args.key=KEY"
    )


def remove(source: Path, force: bool) -> str:
    """Restore the checkout. Returns what was done.

    Blocks go first, then the files that they import, then folders, and the record last: removing can be repeated.
    """
    record = read_record(source)
    planned = planned_files() if record is None else {}  # names what may be left where no record does
    record = record or recovered(source, planned)
    known = record or Record()
    cleared = clear_remains(source, {*planned, *known.copied(), *REGISTRIES, *known.extended(), RECORD})
    if record is None and not cleared:
        raise PlugError(f"nothing of ours is plugged into {source.parent}: there is no src/{RECORD}")
    changes: Changes = {}
    for name in known.extended():
        if mode_of(confined(source, name)) is not None:
            changes[name] = without_block(source, name, known).encode()
    deleted = deletions(source, known.copied(), known, force)
    apply(source, {**changes, **deleted})
    left = sweep(source, known.copied(), known.folders) or kept(source, known.folders) or "; it is as it was"
    write(source, RECORD, None)
    return f"{source.parent}: {len(deleted)} files and {len(changes)} blocks removed{left}."


def kept(source: Path, folders: list[str]) -> str:
    """Return "", or the end of a sentence that names a folder of ours which holds what is not ours."""
    stocks = {parent.as_posix() for name in stock_files() for parent in PurePosixPath(name).parents}
    here = [name for name in folders if name not in stocks and mode_of(confined(source, name)) is not None]
    return f"; {source / here[0]} is left behind, for it holds what is not ours" if here else ""


def without_block(source: Path, name: str, record: Record) -> str:
    """Return the text of a package's `__init__.py` without our block. Raises PlugError where the block was edited.

    A text without a single line of the block was restored by somebody, with `git checkout` for instance, or not yet
    written when a process was killed.
    """
    path = source / name
    try:
        text = (content_of(source, name) or b"").decode()  # read_text would change line ends
    except UnicodeDecodeError as error:
        raise PlugError(f"{path} is no UTF-8 text ({error.reason}): take a fresh checkout") from error
    blocks = record.texts(name)
    lines = {line for block in blocks for line in block.splitlines() if line}
    if not lines & set(text.splitlines()):
        return text
    for block in blocks:
        if text.count(block) == 1:
            return text.replace(block, "")
    raise PlugError(
        f"our block in {path} was edited since: put back the text that src/{RECORD} has, or take all of its lines out"
    )


def copies(source: Path, planned: dict[str, bytes], record: Record, force: bool) -> Changes:
    """Return the changes that copy the planned files, without those that are there already."""
    changes: Changes = {}
    for name, content in planned.items():
        path = confined(source, name)
        if mode_of(path) is None:
            changes[name] = content
        elif not record.digests(name):
            raise PlugError(f"{path} exists and is not ours: it would be overwritten; rename it first")
        elif found(source, name) != content:
            check_unedited(source, name, record, force)
            changes[name] = content
    return changes


def deletions(source: Path, names: set[str] | list[str], record: Record, force: bool) -> Changes:
    """Return the changes that delete copied files, without those that are gone."""
    there = [name for name in sorted(names) if mode_of(confined(source, name)) is not None]
    for name in there:
        check_unedited(source, name, record, force)
    return dict.fromkeys(there)


def check_unedited(source: Path, name: str, record: Record, force: bool) -> None:
    """Raise PlugError where a copied file is not as it was copied."""
    if digest(found(source, name)) not in record.digests(name) and not force:
        path = source / name
        raise PlugError(f"{path} was edited since it was copied: save your version elsewhere, then add --force")


def found(source: Path, name: str) -> bytes:
    """Return what a copied file holds. Raises PlugError where it is a link or a folder now, even with `force`."""
    path = confined(source, name)
    if not stat.S_ISREG(mode_of(path) or 0):  # never followed or deleted
        raise PlugError(f"{path} is no longer the file that was copied: move what is there elsewhere first")
    return content_of(source, name) or b""


def new_folders(source: Path, files: dict[str, bytes]) -> set[str]:
    """Return the folders that the files need and the checkout lacks."""
    needed = {parent.as_posix() for name in files for parent in Path(name).parents} - {"."}
    return {name for name in needed if not (source / name).exists()}


if __name__ == "__main__":
    sys.exit(main())
