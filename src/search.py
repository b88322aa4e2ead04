"""Command line for many runs: `python src/search.py run|status ...`, algorithms x datasets x seeds.

See docs/sweeps.md.
"""

from utils import signals
from utils.printing import Parser, open_closed_streams, printing, put

if __name__ == "__main__":
    open_closed_streams()
    signals.end_at_once_on_signals()  # before the imports that follow, which take seconds

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # sacred imports it; nothing a user can mend

import torch as th

from datasets.names import DATA_ROOT
from sweeps.cells import Cell, cells_of, command, words_together
from sweeps.driver import Backend, Sweep, stop_file
from sweeps.grid import DEFAULT_SEEDS, grid_file, seed_in, seeds_of, short_form
from sweeps.job import MAIN
from sweeps.processes import Processes
from sweeps.ray_backend import OnRay, installed
from sweeps.standing import looked_up, stopped_at, told_from_outside, trained_together
from sweeps.table import View, final_table
from sweeps.worker import DONE
from utils.errors import ConfigError, OutputError, UserError, shown
from utils.files import check_writable

OF_STOCK = ("locally", "single")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit status (0 done, 1 refused or some runs failed, 130 stopped)."""
    th.set_num_threads(1)
    words = list(sys.argv[1:] if argv is None else argv)
    before, after = words, []
    if "with" in words:
        before, after = words[: words.index("with")], words[words.index("with") + 1 :]
    try:
        arguments = _parser().parse_args(before)
        cells = _cells(arguments, after)
        return int(arguments.do(arguments, cells))
    except UserError as error:
        signals.say(f"error: {error}")
        return 1
    except OSError as error:
        signals.say(f"error: {OutputError(str(error))}; see docs/sweeps.md on locks and folders")
        return 1
    except KeyboardInterrupt as interrupt:
        signals.say(f"interrupted: {interrupt}" if str(interrupt) else "interrupted")
        return signals.INTERRUPTED_STATUS


def _cells(arguments: argparse.Namespace, words: Sequence[str]) -> list[Cell]:
    """The runs that the arguments name. Raises UserError for the first that cannot be."""
    _check_words(arguments)
    if (arguments.config is None) == (arguments.configs is None):
        raise ConfigError("name the runs by --config FILE, or by --configs ALGORITHM ...; give one of the two")
    if arguments.config is not None:
        for flag, value in (("--datasets", arguments.datasets), ("--env-config", arguments.env_config)):
            if value:
                raise ConfigError(f"{flag} goes with --configs; a grid file says it itself")
        choices = grid_file(arguments.config, words)
    else:
        choices = short_form(arguments.configs, arguments.datasets, arguments.env_config, words)
    own = seed_in(choices)
    if own and arguments.seeds is not None:
        raise ConfigError("--seeds and the key seed are both given; give one of them")
    together = getattr(arguments, "together", False)
    if own and together:
        raise ConfigError("--together goes with --seeds, and here the grid sets seed; leave out one of the two")
    seeds = None if own else seeds_of(arguments.seeds or [DEFAULT_SEEDS])
    sentences: dict[str, None] = {}
    cells = cells_of(choices, seeds, lambda sentence: sentences.setdefault(sentence), together)
    for sentence in sentences:  # each once, however many runs it is about
        with suppress(OSError, ValueError):  # stderr is closed or full
            print(f"warning: {sentence}", file=sys.stderr, flush=True)
    return cells


def _check_words(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for a word that has no meaning, such as an override before `with`.

    A flag with several values takes such an override for one of them.
    """
    if arguments.rest:
        word = shown(arguments.rest[0])
        stock = word in OF_STOCK
        raise ConfigError(f"'{word}' has no meaning here; " + ("leave it out: docs/sweeps.md says what replaces "
                          "it" if stock else "overrides follow the word `with`"))  # fmt: skip
    data = [word for word in arguments.datasets if not any(map(os.path.lexists, (word, DATA_ROOT / f"{word}.h5")))]
    for flag, words in (("--configs", arguments.configs), ("--datasets", data), ("--seeds", arguments.seeds)):
        for word in words or ():
            if "=" in word:
                raise ConfigError(f"{flag} {shown(word)}: this is an override; overrides follow the word `with`")


def _run(arguments: argparse.Namespace, cells: list[Cell]) -> int:
    if arguments.dry_run:
        return _dry_run(cells, arguments.together)
    results, kind = cells[0].results, _backend_name(arguments)
    with printing():  # before anything is made: a standard output that is closed
        pass
    check_writable(results / "sweeps" / "locks", "local_results_path")
    stop = stop_file(results)
    backend = _backend(kind, arguments, stop)
    try:
        view = View(sys.stdout, backend.capacity())
        status = Sweep(cells, backend, view, stop, arguments.together).run()
    finally:
        backend.close()
    if view.refused is not None:
        raise view.refused
    return status


def _backend_name(arguments: argparse.Namespace) -> str:
    """Who does the runs. Raises ConfigError for a flag that does not go with it."""
    name = arguments.backend or ("ray" if installed() or arguments.address or arguments.gpus_per_run else "processes")
    if arguments.workers is not None and arguments.workers < 1:
        raise ConfigError(f"--workers {arguments.workers}: give at least 1")
    if not 0 <= arguments.gpus_per_run <= 64 or (arguments.gpus_per_run > 1 and arguments.gpus_per_run % 1):
        raise ConfigError(f"--gpus-per-run {arguments.gpus_per_run:g}: give a share of a GPU, such as 0.25, or 1")
    for flag, value in (("--address", arguments.address), ("--gpus-per-run", arguments.gpus_per_run)):
        if value and name != "ray":
            raise ConfigError(f"{flag} needs --backend ray; leave it out, or install Ray: pip install -e '.[sweep]'")
    return name


def _backend(name: str, arguments: argparse.Namespace, stop: Path) -> Backend:
    if name == "ray":
        return OnRay(arguments.workers, stop, arguments.address, arguments.gpus_per_run)
    return Processes(arguments.workers, stop)


def _dry_run(cells: list[Cell], together: bool) -> int:
    """Print the command of every process that is to run; runs that are done stand in comments."""
    main_path = os.path.relpath(MAIN)
    standings = looked_up(cells)
    groups = {group[0].cell.identity: group for group in trained_together(standings)} if together else {}
    mates = {mate.cell.identity for group in groups.values() for mate in group[1:]}
    for standing in standings:
        cell = standing.cell
        if standing.what == DONE:
            put(f"# done: {cell.name}")
        elif cell.identity not in mates:
            group = [each.cell for each in groups.get(cell.identity, [standing])]
            put(command(words_together(group), main_path, stopped_at(cell)))
    return 0


def _status(arguments: argparse.Namespace, cells: list[Cell]) -> int:
    put("\n".join(final_table(told_from_outside(cells))))
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="search.py", description="Many runs: algorithms x datasets x seeds, or a grid file; see docs/sweeps.md.",
        epilog="Overrides of every run follow the word `with`, as for main.py.",
    )  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="do the runs that are not done")
    run.set_defaults(do=_run)
    run.add_argument("--backend", choices=("ray", "processes"), help="default: ray where it is installed")
    run.add_argument("--workers", type=int, metavar="N", help="runs at once; default: the cores")
    run.add_argument("--address", metavar="ADDRESS", help="of a Ray cluster, such as auto or ray://head:10001")
    run.add_argument("--gpus-per-run", type=float, default=0.0, metavar="SHARE", help="share of a GPU, such as 0.25")
    run.add_argument("--together", action="store_true", help="train all seeds of a configuration in one process")
    run.add_argument("--dry-run", action="store_true", help="print the commands and run nothing")
    status = commands.add_parser("status", help="print how far the runs are")
    status.set_defaults(do=_status)
    for each in (run, status):
        each.add_argument("--config", metavar="FILE", help="a grid file, in the form of EPyMARL's search.config.yaml")
        each.add_argument("--configs", nargs="+", metavar="ALG", help="algorithms, by their files in config/algs")
        each.add_argument("--datasets", nargs="+", default=[], metavar="DATASET", help="names or paths")
        each.add_argument("--env-config", metavar="ENV", help="default: the one of each dataset's card")
        each.add_argument("--seeds", nargs="+", metavar="SEEDS", help="5: five from 0; 1-5; 3,7; default 3")
        each.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
