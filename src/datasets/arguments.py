"""The words of `python src/dataset.py`."""

import argparse
from typing import Any

from datasets.exporters import REGISTRY as EXPORTS
from datasets.importers.run import add_arguments
from datasets.sources.bridge import KINDS as BRIDGE_KINDS
from utils.printing import Parser

_NAME = "dataset name (mpe/simple_spread/random-100k) or path"


def parser() -> Parser:
    """The parser; what it returns holds the subcommand's name as `command`."""
    whole = Parser(prog="dataset.py", description="Look at and edit offline datasets.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    _looking(commands)
    _editing(commands)
    _exchanging(commands)
    _generating(commands)
    return whole


def _writes(command: argparse.ArgumentParser, required: bool = True) -> None:
    command.add_argument("-o", "--out", required=required, help="name or path of the new dataset")
    command.add_argument("--force", action="store_true", help="replace an existing file")


def _looking(commands: Any) -> None:
    everything = commands.add_parser("list", help="list datasets: sizes and returns, or the command that makes one")
    everything.set_defaults(command="list")

    inspect = commands.add_parser("inspect", help="print the dataset card, counts, returns, actions and damage")
    inspect.add_argument("file", help=_NAME)
    form = inspect.add_mutually_exclusive_group()
    form.add_argument("--html", metavar="OUT", help="write the findings to a page with pictures")
    form.add_argument("--json", action="store_true", help="print the findings as JSON")
    inspect.add_argument("--full", action="store_true", help="with coverage, excess correlation and a recommendation")
    inspect.set_defaults(command="inspect")

    verify = commands.add_parser("verify", help="check a file as training does; exit status 1 where it is not sound")
    verify.add_argument("file", help=_NAME)
    verify.set_defaults(command="verify")


def _editing(commands: Any) -> None:
    merge = commands.add_parser("merge", help="join the episodes of several datasets of one environment")
    merge.add_argument("files", nargs="+", help=_NAME)
    merge.set_defaults(command="merge")

    part = commands.add_parser("slice", help="write some of a dataset's episodes to a new one")
    part.add_argument("file", help=_NAME)
    part.add_argument("--episodes", type=int, required=True, help="number of episodes")
    part.add_argument("--seed", type=int, help="choose them at random with this seed; without it, the first ones")
    part.set_defaults(command="slice")

    mixture = commands.add_parser("mix", help="join episodes of several datasets, of each its share")
    mixture.add_argument("parts", nargs="+", metavar="NAME:SHARE", help="a dataset and its share, such as a.h5:0.5")
    mixture.add_argument("--episodes", type=int, help="number of episodes; without it, as many as there are")
    mixture.set_defaults(command="mix")

    some = commands.add_parser("subset", help="write the episodes that a rule chooses to a new dataset")
    some.add_argument("file", help=_NAME)
    rule = some.add_mutually_exclusive_group(required=True)
    rule.add_argument("--episodes", type=int, help="so many, drawn at random")
    rule.add_argument("--match-returns", metavar="OTHER", help="with returns distributed as this dataset's")
    rule.add_argument("--returns-above", type=float, metavar="Q", help="with a return of at least this quantile")
    some.set_defaults(command="subset")

    parted = commands.add_parser(
        "split", help="write two parts of a dataset: -o NAME gives NAME-train and NAME-validation"
    )
    parted.add_argument("file", help=_NAME)
    parted.add_argument("--validation", type=float, default=0.1, help="share of the episodes held out (0.1)")
    parted.set_defaults(command="split")

    local = commands.add_parser("localise", help="write a robot's dataset as agents with local observations see it")
    local.add_argument("file", help=_NAME)
    local.add_argument("--agent-obsk", type=int, required=True, help="how many joints away agents see")
    local.add_argument("--no-torso", action="store_true", help="agents do not see the torso (observe_torso=False)")
    local.set_defaults(command="localise")

    for command in (mixture, some, parted):
        command.add_argument("--seed", type=int, default=0, help="seed of the choice (0)")
    for command in (merge, part, mixture, some, parted, local):
        _writes(command)


def _exchanging(commands: Any) -> None:
    foreign = commands.add_parser("import", help="convert data of another project: import FORMAT SRC -o OUT")
    add_arguments(foreign)
    foreign.set_defaults(command="import")
    published = commands.add_parser("import-alberdice", help="the same as import alberdice")
    published.add_argument("source", help="the folder with obs.npy, actions.npy, ... of the XOR game or of Bridge")
    published.set_defaults(command="import", format="alberdice", probe=None)

    export = commands.add_parser("export", help="write a dataset for other programs: PyMARL, Minari, ...")
    export.add_argument("format", help="; ".join(f"{key}: {target.writes}" for key, target in EXPORTS.items()))
    export.add_argument("file", help=_NAME)
    export.set_defaults(command="export")
    _writes(foreign, required=False)  # which may also --probe
    _writes(published)
    _writes(export)


def _generating(commands: Any) -> None:
    xor = commands.add_parser("generate-xor", help="make a dataset of the XOR game from its definition")
    xor.add_argument(
        "joint_actions", help="joint actions that occur equally often: AB, or AB,BA, or AA,AB,BA, or random"
    )
    xor.add_argument("--episodes", type=int, default=100, help="number of episodes of 50 steps (100)")
    xor.add_argument("--seed", type=int, default=0, help="seed of their order (0)")
    xor.set_defaults(command="generate-xor")

    bridge = commands.add_parser("generate-bridge", help="make a dataset of Bridge from its definition")
    bridge.add_argument(
        "kind", choices=BRIDGE_KINDS, help="optimal: shortest routes; mix: half random episodes, half shortest routes"
    )
    bridge.add_argument("--episodes", type=int, default=1000, help="number of episodes (1000)")
    bridge.add_argument("--seed", type=int, default=0, help="seed of the choices (0)")
    bridge.set_defaults(command="generate-bridge")
    _writes(xor)
    _writes(bridge)
