"""Command line for datasets: `python src/dataset.py COMMAND ...`; datasets/arguments.py has the commands.

See docs/reference/dataset-format.md.
"""

from utils import signals
from utils.printing import open_closed_streams, put

if __name__ == "__main__":
    open_closed_streams()
    signals.end_at_once_on_signals()  # before the imports that follow, which take a while

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.arguments import parser
from datasets.dataset import read_dataset, resolve_dataset
from datasets.doctor.examine import as_json, as_lines, full_findings, quick_findings
from datasets.doctor.finding import Finding
from datasets.doctor.page import page_path, write_page
from datasets.edit import merge_datasets, slice_dataset
from datasets.exporters import export_dataset
from datasets.importers.run import import_dataset, probe, source_path
from datasets.listing import fitted, listing, terminal_width
from datasets.localise import localise_dataset
from datasets.names import output_path
from datasets.output import NameTakenError, check_target
from datasets.parts import mix_datasets, split_dataset, subset_dataset
from datasets.report import Inspection, inspection
from datasets.sources.bridge import generate_bridge
from datasets.sources.xor import generate_xor
from utils.errors import DatasetError, UserError, printable
from utils.logging import folded
from utils.memory import memory_errors
from utils.paths import user_path
from utils.redact import redacted_command

# Arguments of an import that are not its options.
_WORDS = ("command", "format", "source", "probe", "out", "force")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Return the exit status: 1, with an error message on stderr, for input that cannot work."""
    try:
        arguments = parser().parse_args(argv)
        with memory_errors("close other programs, or work on a part of the data (slice)"):
            return _COMMANDS[arguments.command](arguments)
    except UserError as error:
        signals.say(f"error: {error}")
        return 1
    except signals.Interrupted as interrupt:
        signals.say(f"interrupted: {interrupt}")
        return signals.INTERRUPTED_STATUS


def _inspect(arguments: argparse.Namespace) -> int:
    target = None if arguments.html is None else page_path(arguments.html)
    found = inspection(resolve_dataset(arguments.file))
    findings = _findings(found, arguments.full) if found.fault is None else []  # which take sound data for granted
    if target is not None:
        write_page(target, f"Dataset {arguments.file}", findings, [*found.head, *found.tail])
        _say(f"wrote {printable(str(target))}")
    elif arguments.json:
        put(json.dumps(found.values() | {"findings": as_json(findings)}, indent=1, allow_nan=False))
    else:
        middle = ["", "findings", *as_lines(findings)] if findings else []
        put("\n".join(fitted([*found.head, *middle, *found.tail], terminal_width())))
    return 0 if found.sound else 1


def _findings(found: Inspection, full: bool) -> list[Finding]:
    if not full:
        return quick_findings(found.dataset)
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # sacred imports it; nothing to mend
    import torch as th  # seconds, which the other commands do without

    from loops.refusals import refusals_of

    th.set_num_threads(1)
    return full_findings(found.dataset, refusals_of(str(found.dataset.path)))


def _list(arguments: argparse.Namespace) -> int:
    put("\n".join(listing(terminal_width())))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    dataset = read_dataset(resolve_dataset(arguments.file))
    checksum = dataset.card["checksum"][:16]
    name = printable(str(dataset.path))
    _say(f"{name}: sound, {dataset.n_episodes} episodes, {dataset.n_transitions} transitions, {checksum}...")
    return 0


def _merge(arguments: argparse.Namespace) -> int:
    sources = [resolve_dataset(file) for file in arguments.files]
    out = _new_file(arguments, sources)
    return _announce(out, _with_notes(merge_datasets(sources, out, _command(), arguments.force)))


def _slice(arguments: argparse.Namespace) -> int:
    source = resolve_dataset(arguments.file)
    out = _new_file(arguments, [source])
    return _announce(out, slice_dataset(source, out, arguments.episodes, arguments.seed, _command(), arguments.force))


def _mix(arguments: argparse.Namespace) -> int:
    named = [word.rpartition(":") for word in arguments.parts]
    for word, (name, _, share) in zip(arguments.parts, named, strict=True):
        if not name or not _is_number(share):
            raise DatasetError(f"'{printable(word)}' is no NAME:SHARE; write a dataset and its share, such as a.h5:0.5")
    sources = [resolve_dataset(name) for name, _, _ in named]
    out, shares = _new_file(arguments, sources), [float(share) for _, _, share in named]
    card = mix_datasets(sources, shares, out, arguments.episodes, arguments.seed, _command(), arguments.force)
    return _announce(out, _with_notes(card))


def _with_notes(card: dict[str, Any]) -> dict[str, Any]:
    """The card, once its notes are printed."""
    for note in card["made_by"].get("notes", ()):
        _say(note)
    return card


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _subset(arguments: argparse.Namespace) -> int:
    source = resolve_dataset(arguments.file)
    other = None if arguments.match_returns is None else resolve_dataset(arguments.match_returns)
    out = _new_file(arguments, [source] if other is None else [source, other])
    card = subset_dataset(
        source, out, episodes=arguments.episodes, match_returns=other, returns_above=arguments.returns_above,
        seed=arguments.seed, command=_command(), replace=arguments.force,
    )  # fmt: skip
    return _announce(out, card)


def _split(arguments: argparse.Namespace) -> int:
    source, stem = resolve_dataset(arguments.file), output_path(arguments.out)
    outs = stem.with_stem(f"{stem.stem}-train"), stem.with_stem(f"{stem.stem}-validation")
    for out in outs:
        _check_new(out, arguments.force, [source])
    cards = split_dataset(source, outs, arguments.validation, arguments.seed, _command(), arguments.force)
    for out, card in zip(outs, cards, strict=True):
        _announce(out, card)
    return 0


def _localise(arguments: argparse.Namespace) -> int:
    source = resolve_dataset(arguments.file)
    out, torso = _new_file(arguments, [source]), not arguments.no_torso
    return _announce(out, localise_dataset(source, out, arguments.agent_obsk, torso, _command(), arguments.force))


def _import(arguments: argparse.Namespace) -> int:
    if arguments.probe is not None:
        if arguments.source is not None:
            raise DatasetError("--probe imports nothing; leave the format and the other path out")
        for line in probe(source_path(arguments.probe, "--probe")):
            _say(line)
        return 0
    missing = [word for word in ("format", "source", "out") if getattr(arguments, word) is None]
    if missing:
        raise DatasetError(f"the {missing[0]} is missing: dataset.py import FORMAT SRC -o OUT, or import --probe SRC")
    path = source_path(arguments.source, "SRC")
    out = _new_file(arguments, [path])
    options = {key: value for key, value in vars(arguments).items() if key not in _WORDS}
    card, notes = import_dataset(arguments.format, path, out, options, _command(), arguments.force)
    for note in notes:
        _say(note)
    return _announce(out, card)


def _export(arguments: argparse.Namespace) -> int:
    dataset, out = read_dataset(resolve_dataset(arguments.file)), user_path(arguments.out, "--out", folder=True)
    if out.resolve() == dataset.path.resolve():
        raise DatasetError(f"{out} is the dataset itself; choose another name for the output")
    try:
        notes = export_dataset(arguments.format, dataset, out, arguments.force)
    except NameTakenError as error:
        raise DatasetError(f"{error}, or add --force") from error
    for note in notes:
        _say(note)
    _say(f"{printable(str(out))}: {dataset.n_episodes} episodes, {dataset.n_transitions} transitions")
    return 0


def _generate_xor(arguments: argparse.Namespace) -> int:
    out = _new_file(arguments, [])
    episodes, seed = arguments.episodes, arguments.seed
    return _announce(out, generate_xor(arguments.joint_actions, out, episodes, seed, _command(), arguments.force))


def _generate_bridge(arguments: argparse.Namespace) -> int:
    out = _new_file(arguments, [])
    episodes, seed = arguments.episodes, arguments.seed
    return _announce(out, generate_bridge(arguments.kind, out, episodes, seed, _command(), arguments.force))


def _new_file(arguments: argparse.Namespace, sources: Sequence[Path]) -> Path:
    out = output_path(arguments.out)
    _check_new(out, arguments.force, sources)
    return out


def _check_new(out: Path, force: bool, sources: Sequence[Path]) -> None:
    if out.resolve() in [source.resolve() for source in sources]:
        raise DatasetError(f"{out} is one of the sources; choose another name for the output")
    for source in sources:
        if out.exists() and source.is_dir() and source.resolve() in out.resolve().parents:
            raise DatasetError(f"{out} is a file of the source {source}; choose another name for the output")
    try:
        check_target(out, replace=force)
    except NameTakenError as error:
        raise DatasetError(f"{error}, or add --force") from error


def _announce(out: Path, card: dict[str, Any]) -> int:
    counts, returns = card["counts"], card["returns"]
    _say(
        f"{printable(str(out))}: {counts['episodes']} episodes, {counts['transitions']} transitions, "
        f"return per agent {returns['mean']:.2f} +- {returns['std']:.2f}, {out.stat().st_size / 1e6:.2f} MB"
    )
    return 0


def _say(line: str) -> None:
    """Print a line, broken between words where it is wider than the terminal; a path stays whole."""
    put(folded(line, terminal_width()))


def _command() -> str:
    return redacted_command(["python", "src/dataset.py", *sys.argv[1:]])


_COMMANDS = {
    "list": _list,
    "inspect": _inspect,
    "verify": _verify,
    "merge": _merge,
    "slice": _slice,
    "mix": _mix,
    "subset": _subset,
    "split": _split,
    "localise": _localise,
    "import": _import,
    "export": _export,
    "generate-xor": _generate_xor,
    "generate-bridge": _generate_bridge,
}


if __name__ == "__main__":
    sys.exit(main())
