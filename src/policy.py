"""A trained policy for use elsewhere.

In a program: `from policy import load_policy`, then `load_policy("results/models/<run>").act(observations)`.
On the command line: `python src/policy.py export|play|describe|prey ...`. See docs/your-policy.md.
"""

from __future__ import annotations

from utils import signals
from utils.printing import Parser, open_closed_streams, put

if __name__ == "__main__":
    open_closed_streams()
    signals.end_at_once_on_signals()  # before the imports that follow, which take seconds

import argparse
import sys
import warnings
from collections.abc import Sequence

import torch as th

from deployment.loaded import LoadedPolicy, load_policy
from utils.errors import UserError
from utils.logging import folded
from utils.memory import memory_errors
from utils.paths import user_path

__all__ = ["LoadedPolicy", "load_policy", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Return the exit status: 1, with an error message on stderr, for what cannot work."""
    th.set_num_threads(1)  # small networks: a second thread costs more than it gives
    words = list(sys.argv[1:] if argv is None else argv)
    own = words.index("with") if "with" in words else len(words)
    parser = _parser()
    try:
        after = words[own + 1 :]
        options = [word for word in after if word.startswith("--")]  # which main.py takes at any place too
        arguments = parser.parse_args([*words[:own], *options])
        if words[own:] and arguments.run is not _describe:
            parser.error(f"only describe takes overrides, not: {' '.join(words[own:])}")
        arguments.words = [word for word in after if word not in options]
        with memory_errors("close other programs, or lower --episodes"):
            return int(arguments.run(arguments))
    except UserError as error:
        signals.say(f"error: {error}")
        return 1


def _export(arguments: argparse.Namespace) -> int:
    from deployment.export import export_policy

    folder = user_path(arguments.out, "-o", folder=True)
    policy = load_policy(arguments.path, arguments.step)
    for line in export_policy(policy, arguments.to, folder, arguments.force):
        put(folded(line))
    return 0


def _play(arguments: argparse.Namespace) -> int:
    from deployment.play import film

    file = user_path(arguments.out, "-o", written=True)
    policy = load_policy(arguments.path, arguments.step, seed=arguments.seed)
    for line in film(policy, file, arguments.episodes, arguments.sample, arguments.force):
        put(folded(line))
    return 0


def _describe(arguments: argparse.Namespace) -> int:
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # sacred imports it; nothing to mend
    from deployment.describe_old import describe_checkpoint

    path = describe_checkpoint(arguments.path, arguments.config, arguments.env_config, arguments.words, arguments.force)
    put(folded(f"{path}: written"))
    return 0


def _prey(arguments: argparse.Namespace) -> int:
    from deployment.prey import write_prey

    for line in write_prey(arguments.source, arguments.task, arguments.out, arguments.force):
        put(folded(line))
    return 0


def _parser() -> Parser:
    parser = Parser(prog="policy.py", description="Use a trained policy elsewhere.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    path = "directory of a run under results/models, or of one of its steps"

    export = commands.add_parser("export", help="write one file per agent that needs nothing of this program")
    export.add_argument("path", help=path)
    export.add_argument("--to", required=True, choices=("torchscript", "onnx"), help="what kind of file")
    export.add_argument("-o", "--out", required=True, help="folder for the files")
    export.set_defaults(run=_export)

    play = commands.add_parser("play", help="film episodes in the run's environment")
    play.add_argument("path", help=path)
    play.add_argument("-o", "--out", required=True, help="the film, a name ending in .gif or .mp4")
    play.add_argument("--episodes", type=int, default=1, help="number of episodes, the first of an evaluation's (1)")
    play.add_argument("--sample", action="store_true", help="draw actions as in training, exploration included")
    play.add_argument("--seed", type=int, default=0, help="seed of drawn actions (0)")
    play.set_defaults(run=_play)

    describe = commands.add_parser(
        "describe",
        help="write the run.json of a checkpoint that has none",
        epilog="at the end: `with key=value ...`, the overrides and the seed of the run",
    )
    describe.add_argument("path", help=path)
    describe.add_argument("--config", required=True, help="algorithm of the run")
    describe.add_argument("--env-config", required=True, help="environment of the run")
    describe.set_defaults(run=_describe)

    prey = commands.add_parser("prey", help="write the file of a prey that Predator-Prey or World is played against")
    prey.add_argument("source", help="OMAR's pretrained_adv_model.pt, or the run of a prey (env_args.control=prey)")
    prey.add_argument("--task", required=True, choices=("simple_tag", "simple_world"), help="environment of the prey")
    prey.add_argument("-o", "--out", required=True, help="the file, for env_args.prey")
    prey.set_defaults(run=_prey)

    for command in (export, play):
        command.add_argument("--step", type=int, default=0, help="step of the checkpoint, the nearest one (the newest)")
    for command in (export, play, describe, prey):
        command.add_argument("--force", action="store_true", help="replace existing files")
    return parser


if __name__ == "__main__":
    sys.exit(main())
