"""From many runs to one table: `python src/report.py results/mine`. See docs/reports.md."""

from __future__ import annotations

from utils import signals
from utils.printing import Parser, counted, open_closed_streams, put

if __name__ == "__main__":
    open_closed_streams()
    signals.end_at_once_on_signals()  # before the imports that follow, which take a while

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

from reporting.assembled import Options, Report, assemble
from reporting.conditions import check_ignored, chosen
from reporting.from_data import check_asked, from_data
from reporting.groups import grouped
from reporting.marl_eval import marl_eval_text
from reporting.page import page
from reporting.pictures import pictures
from reporting.places import nothing_at, read_places
from reporting.rows import rows_text
from reporting.runs import ReportError
from reporting.soundness import ALLOWED, Refusal, between_rows, check, continued_otherwise
from reporting.stored import stored_text
from reporting.tables import latex, markdown
from utils.errors import UserError, nearest, printable
from utils.files import output_error, writing_file
from utils.paths import user_path

# Each of them: a report as text.
FORMS: dict[str, Callable[[Report], str]] = {
    "markdown": lambda report: markdown(report.tables, report.notes),
    "latex": lambda report: latex(report.tables, report.notes),
    "csv": rows_text,
    "json": lambda report: stored_text(run for group in report.groups for run in group.by_seed().values()),
    "marl-eval": lambda report: marl_eval_text(report.groups, report.units),
    "html": lambda report: page(report, pictures(report)),
}
WITHOUT_NOTES = ("csv", "json", "marl-eval")
OF_SCORES = ("raw", "baseline", "paper", "beside", "budget", "uncertainty", "figures")  # options of scores alone


def main(argv: Sequence[str] | None = None) -> int:
    """Report runs. Return the exit status: 1, with a sentence on stderr, where something was refused."""
    try:
        arguments = _parser().parse_args(argv)
        for name in ("only", "prefix"):
            if getattr(arguments, name) and arguments.figures is None:
                raise ReportError(f"--{name} is of pictures, and none are drawn; add --figures FOLDER, or leave it out")
        report = make(arguments)
        text = FORMS[arguments.to](report)
        drawn = {} if arguments.figures is None else pictures(report)
        for name in arguments.only:  # before anything is written
            if name not in drawn:
                raise ReportError(f"--only {name}: there is no such picture of these runs; {nearest(name, drawn)}")
        for line in not_shown(report, arguments.to):
            with suppress(OSError, ValueError):  # stderr is closed or full
                print(printable(line), file=sys.stderr, flush=True)
        if arguments.out is None:
            put(text.removesuffix("\n"))
        else:
            write(user_path(arguments.out, "-o", written=True), text.encode("utf-8"))
        if arguments.figures is not None:
            folder = user_path(arguments.figures, "--figures", folder=True)
            for name, picture in drawn.items():
                if name in (arguments.only or drawn):
                    write(folder / f"{arguments.prefix}{name}.png", picture)
    except Refusal as refusal:
        for reason in refusal.reasons:
            signals.say(f"error: {reason}")
        return 1
    except UserError as error:
        signals.say(f"error: {error}")
        return 1
    return 0


def make(arguments: argparse.Namespace) -> Report:
    """The report that the command line asks for. Raises ReportError where runs cannot be reported so."""
    found = read_places(arguments.places, arguments.without)
    aside = {place: read_places([place], arguments.without) for place in arguments.beside}
    readings = [found, *aside.values()]
    for text in arguments.without:
        if not any(text in reading.dropped for reading in readings):
            raise ReportError(f"--without {text}: there is no such run at these places")
    for place, reading in aside.items():
        if not reading.runs:
            raise ReportError(nothing_at([place], reading))
    wanted = chosen([*found.runs, *found.by_data], arguments.where)
    check_ignored(arguments.ignore, [*wanted, *chain.from_iterable(reading.runs for reading in aside.values())])
    groups, newer = grouped([run for run in wanted if run not in found.by_data], arguments.ignore)
    by_data, said = grouped([run for run in wanted if run in found.by_data], arguments.ignore)
    newer += said
    beside = {}
    for place, reading in aside.items():
        beside[place], said = grouped(reading.runs, arguments.ignore)
        newer += said
    every = [*groups, *by_data, *chain.from_iterable(beside.values())]
    kept, passed = check(every, arguments.allow)
    checked = dict(zip(every, kept, strict=True))
    groups, by_data = [checked[group] for group in groups], [checked[group] for group in by_data]
    beside = {place: [checked[group] for group in others] for place, others in beside.items()}
    left_out = [f"Not counted: {reason}" for reading in readings for reason in reading.left_out]
    left_out += [f"Not counted: {reason}" for reading in aside.values() for reason in reading.by_data.values()]
    ignored = [f"Keys in which runs may differ: {', '.join(arguments.ignore)}"] if arguments.ignore else []
    notes = [*passed, *continued_otherwise(kept), *between_rows(groups), *newer, *ignored, *left_out]
    if not groups:
        check_asked(arguments.to, [f"--{name}" for name in OF_SCORES if getattr(arguments, name)])
        return Report([], {}, from_data(by_data), notes)
    options = Options(
        arguments.raw, arguments.baseline, arguments.paper, arguments.budget, arguments.uncertainty, beside
    )
    report = assemble(groups, notes, options)
    report.tables += from_data(by_data)
    report.by_data, report.left_out = by_data, left_out
    return report


def not_shown(report: Report, form: str) -> list[str]:
    """What is left out of a form that has no notes, and no tables of runs without scores."""
    if form not in WITHOUT_NOTES:
        return []
    number = sum(len(group.runs) for group in report.by_data)
    verb = "is" if number == 1 else "are"
    said = [f"{counted(number, 'run')} without scores {verb} not in this form"] if number else []
    return said + report.left_out


def write(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, and say so. Raises OutputError where the disk refuses."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing_file(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise output_error(path, error) from error
    print(f"{path}: written", file=sys.stderr)


def _parser() -> Parser:
    parser = Parser(prog="report.py", description="From many runs to one table.")
    add = parser.add_argument
    add("places", nargs="+", metavar="PLACE", help="a directory of runs, such as results, or a file of --to json")
    add("--where", action="append", default=[], metavar="KEY=VALUE",
        help="report runs with this value alone; values between commas are alternatives; may be repeated")  # fmt: skip
    add(
        "--without",
        action="append",
        default=[],
        metavar="RUN",
        help="leave out a run's directory, or one of several runs",
    )
    add("--ignore", action="append", default=[], metavar="KEY", help="a key in which runs of one row may differ")
    add("--allow", action="append", default=[], metavar="WHAT",
        help="; ".join(f"{word}: {meaning}" for word, meaning in ALLOWED.items()))  # fmt: skip
    add("--raw", action="store_true", help="returns, also where there are normalised scores")
    add("--baseline", metavar="METHOD", help="what the others are compared with (the first)")
    add("--paper", action="append", default=[], metavar="NAME", help="published numbers beside ours: spacql, comadice")
    add("--beside", action="append", default=[], metavar="PLACE",
        help="runs of another place, whose scores stand beside those of the same algorithm and data")  # fmt: skip
    add(
        "--budget", action="store_true", help="scores by online evaluations spent on choosing among an algorithm's runs"
    )
    add("--uncertainty", action="store_true", help="how uncertain targets are, and SPaCQL's weights")
    add("--to", choices=FORMS, default="markdown", help="what to write (markdown)")
    add("-o", "--out", metavar="FILE", help="the file to write (the terminal)")
    add("--figures", metavar="FOLDER", help="draw PNGs into this folder, too")
    add("--only", action="append", default=[], metavar="NAME", help="draw this picture alone, such as scores")
    add("--prefix", default="", metavar="TEXT", help="what the PNGs' names begin with")
    return parser


if __name__ == "__main__":
    sys.exit(main())
