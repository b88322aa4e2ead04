"""Command line for datasets: `python src/dataset.py list|inspect|verify|merge|mix|subset|split|import-alberdice|...`.

See docs/reference/dataset-format.md.
"""

from utils import signals
from utils.printing import Parser, open_closed_streams, put

if __name__ == "__main__":
    open_closed_streams()
    signals.end_at_once_on_signals()  # before the imports that follow, which take a while

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.dataset import read_dataset, resolve_dataset
from datasets.doctor.examine import as_json, as_lines, full_findings, quick_findings
from datasets.doctor.finding import Finding
from datasets.doctor.page import page_path, write_page
from datasets.edit import merge_datasets, slice_dataset
from datasets.importers.alberdice import import_alberdice
from datasets.listing import fitted, listing, terminal_width
from datasets.names import dataset_path
from datasets.output import NameTakenError, check_target
from datasets.parts import mix_datasets, split_dataset, subset_dataset
from datasets.report import Inspection, inspection
from datasets.sources.bridge import KINDS as BRIDGE_KINDS
from datasets.sources.bridge import generate_bridge
from datasets.sources.xor import generate_xor
from utils.errors import DatasetError, UserError, printable
from utils.logging import folded
from utils.memory import memory_errors
from utils.redact import redacted_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Return the exit status: 1, with an error message on stderr, for input that cannot work."""
    try:
        arguments = _parser().parse_args(argv)
        with memory_errors("close other programs, or work on a part of the data (slice)"):
            return int(arguments.run(arguments))
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
    return _announce(out, merge_datasets(sources, out, _command(), arguments.force))


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
    return _announce(out, card)


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
    source, stem = resolve_dataset(arguments.file), dataset_path(arguments.out)
    outs = stem.with_stem(f"{stem.stem}-train"), stem.with_stem(f"{stem.stem}-validation")
    for out in outs:
        _check_new(out, arguments.force, [source])
    cards = split_dataset(source, outs, arguments.validation, arguments.seed, _command(), arguments.force)
    for out, card in zip(outs, cards, strict=True):
        _announce(out, card)
    return 0


def _import_alberdice(arguments: argparse.Namespace) -> int:
    out = _new_file(arguments, [])
    card = import_alberdice(Path(arguments.folder), out, _command(), arguments.force)
    corrected = card["made_by"]["time_limits_corrected"]
    put(f"{corrected} time limits were flagged as terminals and are none now; {card['counts']['terminals']} terminals")
    return _announce(out, card)


def _generate_xor(arguments: argparse.Namespace) -> int:
    out = _new_file(arguments, [])
    episodes, seed = arguments.episodes, arguments.seed
    return _announce(out, generate_xor(arguments.joint_actions, out, episodes, seed, _command(), arguments.force))


def _generate_bridge(arguments: argparse.Namespace) -> int:
    out = _new_file(arguments, [])
    episodes, seed = arguments.episodes, arguments.seed
    return _announce(out, generate_bridge(arguments.kind, out, episodes, seed, _command(), arguments.force))


def _new_file(arguments: argparse.Namespace, sources: Sequence[Path]) -> Path:
    out = dataset_path(arguments.out)
    _check_new(out, arguments.force, sources)
    return out


def _check_new(out: Path, force: bool, sources: Sequence[Path]) -> None:
    if out.resolve() in [source.resolve() for source in sources]:
        raise DatasetError(f"{out} is one of the sources; choose another name for the output")
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


def _parser() -> Parser:
    parser = Parser(prog="dataset.py", description="Look at and edit offline datasets.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    name = "dataset name (mpe/simple_spread/random-100k) or path"

    everything = commands.add_parser("list", help="list datasets: sizes and returns, or the command that makes one")
    everything.set_defaults(run=_list)

    inspect = commands.add_parser("inspect", help="print the dataset card, counts, returns, actions and damage")
    inspect.add_argument("file", help=name)
    form = inspect.add_mutually_exclusive_group()
    form.add_argument("--html", metavar="OUT", help="write the findings to a page with pictures")
    form.add_argument("--json", action="store_true", help="print the findings as JSON")
    inspect.add_argument("--full", action="store_true", help="with coverage, excess correlation and a recommendation")
    inspect.set_defaults(run=_inspect)

    verify = commands.add_parser("verify", help="check a file as training does; exit status 1 where it is not sound")
    verify.add_argument("file", help=name)
    verify.set_defaults(run=_verify)

    merge = commands.add_parser("merge", help="join the episodes of several datasets of one environment")
    merge.add_argument("files", nargs="+", help=name)
    merge.set_defaults(run=_merge)

    part = commands.add_parser("slice", help="write some of a dataset's episodes to a new one")
    part.add_argument("file", help=name)
    part.add_argument("--episodes", type=int, required=True, help="number of episodes")
    part.add_argument("--seed", type=int, help="choose them at random with this seed; without it, the first ones")
    part.set_defaults(run=_slice)

    mixture = commands.add_parser("mix", help="join episodes of several datasets, of each its share")
    mixture.add_argument("parts", nargs="+", metavar="NAME:SHARE", help="a dataset and its share, such as a.h5:0.5")
    mixture.add_argument("--episodes", type=int, help="number of episodes; without it, as many as there are")
    mixture.set_defaults(run=_mix)

    some = commands.add_parser("subset", help="write the episodes that a rule chooses to a new dataset")
    some.add_argument("file", help=name)
    rule = some.add_mutually_exclusive_group(required=True)
    rule.add_argument("--episodes", type=int, help="so many, drawn at random")
    rule.add_argument("--match-returns", metavar="OTHER", help="with returns distributed as this dataset's")
    rule.add_argument("--returns-above", type=float, metavar="Q", help="with a return of at least this quantile")
    some.set_defaults(run=_subset)

    parted = commands.add_parser("split", help="write OUT-train and OUT-validation, parts of one dataset")
    parted.add_argument("file", help=name)
    parted.add_argument("--validation", type=float, default=0.1, help="share of the episodes held out (0.1)")
    parted.set_defaults(run=_split)

    for command in (mixture, some, parted):
        command.add_argument("--seed", type=int, default=0, help="seed of the choice (0)")

    published = commands.add_parser("import-alberdice", help="convert a folder of AlberDICE's npy buffers")
    published.add_argument("folder", help="the folder with obs.npy, actions.npy, ... of the XOR game or of Bridge")
    published.set_defaults(run=_import_alberdice)

    xor = commands.add_parser("generate-xor", help="make a dataset of the XOR game from its definition")
    xor.add_argument(
        "joint_actions", help="joint actions that occur equally often: AB, or AB,BA, or AA,AB,BA, or random"
    )
    xor.add_argument("--episodes", type=int, default=100, help="number of episodes of 50 steps (100)")
    xor.add_argument("--seed", type=int, default=0, help="seed of their order (0)")
    xor.set_defaults(run=_generate_xor)

    bridge = commands.add_parser("generate-bridge", help="make a dataset of Bridge from its definition")
    bridge.add_argument(
        "kind", choices=BRIDGE_KINDS, help="optimal: shortest routes; mix: half random episodes, half shortest routes"
    )
    bridge.add_argument("--episodes", type=int, default=1000, help="number of episodes (1000)")
    bridge.add_argument("--seed", type=int, default=0, help="seed of the choices (0)")
    bridge.set_defaults(run=_generate_bridge)

    for command in (merge, part, mixture, some, parted, published, xor, bridge):
        command.add_argument("-o", "--out", required=True, help="name or path of the new dataset")
        command.add_argument("--force", action="store_true", help="replace an existing file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
