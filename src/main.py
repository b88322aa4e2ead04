"""The command line: `python src/main.py --config=ALG --env-config=ENV with key=value ...` and every Sacred verb."""

from __future__ import annotations

import signal
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import torch as th

warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # sacred imports it; nothing a user can mend

from sacred import SETTINGS
from sacred.run import Run
from sacred.utils import SacredInterrupt, apply_backspaces_and_linefeeds

from datasets.names import dataset_name
from envs.arguments import check_run_arguments
from learners import REGISTRY as learner_REGISTRY
from loops import tracking
from run import run
from utils.checkpoint import checkpoint_seed
from utils.config import Config, config_names, layered_config, merge
from utils.errors import UserError
from utils.files import check_writable
from utils.logging import get_logger
from utils.named_experiment import NamedExperiment
from utils.observers import RunDirectoryObserver, observers
from utils.old_names import OldNames, old_names
from utils.overrides import check_updates, replaced_updates, take_option, with_updates
from utils.rng import seed_everything
from utils.validation import check_values, keys_of
from utils.versions import commit

SETTINGS["CAPTURE_MODE"] = "fd"
ROOT = Path(__file__).resolve().parents[1]
INTERRUPTED_STATUS = 130

ex: Any = NamedExperiment("epymarl-offline", save_git_info=commit() is not None)
ex.logger = get_logger()
ex.captured_out_filter = apply_backspaces_and_linefeeds


@ex.main  # type: ignore[untyped-decorator]
def my_main(_run: Run, _config: Config, _log: Any) -> float | None:
    """One run; its return value, the final score, is the Sacred run's result."""
    try:
        config = check_values(merge({}, _config), keys_of(learner_class(_config["learner"])))
        seed_everything(config["seed"])
        figures = run(_run, merge(config, {"env_args": {"seed": config["seed"]}}), _log)
        return tracking.score(_run, figures)
    except (UserError, SacredInterrupt):
        # Sacred marks the run; `debug` then hands the exception to `main`, which prints its sentence, where Sacred
        # would print a traceback.
        _run.debug = True
        raise


def learner_class(name: Any) -> Any:
    """The class of a configuration's learner, None where there is none or none of that name, as building it says."""
    return learner_REGISTRY.get(name) if isinstance(name, str) else None


def names_of(learner: Any) -> OldNames:
    """The old names of keys that the learner of this name understands; each one that is used is said in the log."""
    return old_names(learner_class(learner), ex.logger.info)


class Terminated(SacredInterrupt):
    """SIGTERM outside the training loop, which ends by itself at an update's end."""


def terminate(number: int, frame: FrameType | None) -> None:
    """Turn SIGTERM into an exception, so that Sacred marks the run INTERRUPTED."""
    name = signal.Signals(number).name
    raise Terminated(f"{name} outside the training loop; it saves nothing, what the run saved before stays")


def option_value(argv: list[str], short: str, long: str) -> tuple[str | None, list[str]]:
    """The value of one of Sacred's flags (`-m X`, `--mongo_db=X`) and the command line without it."""
    for position, argument in enumerate(argv):
        if argument.startswith(f"{long}="):
            return argument.partition("=")[2], argv[:position] + argv[position + 1 :]
        if argument in (short, long) and position + 1 < len(argv):
            return argv[position + 1], argv[:position] + argv[position + 2 :]
    return None, argv


def prepare(argv: list[str]) -> list[str]:
    """Read the layers, check the overrides and equip the experiment; returns what is left for Sacred.

    Raises UserError for whatever is wrong before a run exists.
    """
    alg, rest = take_option(argv, "--config")
    env, rest = take_option(rest, "--env-config")
    given = with_updates(rest)
    config = layered_config(alg, env, given, lambda dataset: dataset_name(dataset) or dataset, names_of)
    updates = names_of(merge(config, given)["learner"]).today(given, "with")
    if updates != given:
        rest = replaced_updates(rest, updates)
    if not {"-f", "--force"} & set(rest):
        check_updates(config, updates)
    final = merge(config, updates)
    final = check_values(final, keys_of(learner_class(final["learner"])))
    check_run_arguments(final["env_args"], final.get("seed"))
    config["env_args"] = final["env_args"]  # with the arguments that only the environment knows
    continues = final["checkpoint_path"] and not final["evaluate"] and not final["collect"]
    if continues and "seed" not in updates:
        config["seed"] = checkpoint_seed(final["checkpoint_path"], final["load_step"])
    ex.add_config(config)
    ex.recorded_name = tracking.run_name(final)
    if not {"-u", "--unobserved"} & set(rest):
        rest = add_observers(rest, final)
    return rest


def add_observers(argv: list[str], config: Config) -> list[str]:
    """Record the run; Sacred's own -m and -F are taken over, for their ids clash with the run directory's."""
    env_args = config["env_args"]
    environment = str(env_args.get("map_name", env_args.get("key", config["env"])))
    mongo, argv = option_value(argv, "-m", "--mongo_db")
    extra, argv = option_value(argv, "-F", "--file_storage")
    results = ROOT / Path(config["local_results_path"]).expanduser()
    ex.observers.extend(observers(results, config["name"], environment, mongo or config["mongo"]))
    if extra is not None:
        check_writable(Path(extra), "-F")
        ex.observers.append(RunDirectoryObserver(extra))
    return argv


def main(argv: list[str]) -> int:
    """Run the command line; returns the exit status (0 done, 1 refused or failed, 130 interrupted)."""
    th.set_num_threads(1)  # small networks: a second thread costs more than it gives
    signal.signal(signal.SIGTERM, terminate)
    if {"-h", "--help", "help"} & set(argv) and not any(item.startswith("--config=") for item in argv):
        print(
            f"usage: {argv[0]} [VERB] --config=ALG --env-config=ENV [with key=value ...]\n"
            f"  ALG: {', '.join(config_names('algs'))}\n  ENV: {', '.join(config_names('envs'))}\n"
            "  every key of a configuration: print_config --config=ALG --env-config=ENV\n"
            "  Sacred's verbs and flags: --config=ALG --env-config=ENV --help"
        )
        return 0
    try:
        ex.run_commandline(prepare(argv))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SacredInterrupt) as interrupt:
        print(f"interrupted: {interrupt}" if str(interrupt) else "interrupted", file=sys.stderr)
        return INTERRUPTED_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
