"""The command line: `python src/main.py --config=ALG --env-config=ENV with key=value ...` and every Sacred verb."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch as th
from sacred import SETTINGS, Experiment
from sacred.run import Run
from sacred.utils import SacredInterrupt, apply_backspaces_and_linefeeds

from run import run
from utils.config import Config, check_updates, config_names, layered_config, merge, take_option, with_updates
from utils.errors import UserError
from utils.logging import get_logger
from utils.observers import check_mongo, observers
from utils.rng import seed_everything
from utils.versions import commit

SETTINGS["CAPTURE_MODE"] = "fd"
ROOT = Path(__file__).resolve().parents[1]
INTERRUPTED_STATUS = 130

ex: Any = Experiment("epymarl-offline", save_git_info=commit() is not None)
ex.logger = get_logger()
ex.captured_out_filter = apply_backspaces_and_linefeeds


@ex.main
def my_main(_run: Run, _config: Config, _log: Any) -> dict[str, float]:
    """One run; its return value is the Sacred run's result."""
    config = merge({}, _config)
    seed_everything(config["seed"])
    config["env_args"] = merge(config["env_args"], {"seed": config["seed"]})
    try:
        return run(_run, config, _log)
    except (UserError, SacredInterrupt):
        # Sacred marks the run; `debug` then hands the exception to `main`, which prints its sentence, where Sacred
        # would print a traceback.
        _run.debug = True
        raise


def results_directory(config: Config) -> Path:
    """Where this run's files go: `local_results_path`, relative to the checkout."""
    return ROOT / Path(config["local_results_path"]).expanduser()


def mongo_option(argv: list[str]) -> str | None:
    """The value of Sacred's own `-m`/`--mongo_db`, None without it."""
    for position, argument in enumerate(argv):
        if argument.startswith("--mongo_db="):
            return argument.partition("=")[2]
        if argument in ("-m", "--mongo_db") and position + 1 < len(argv):
            return argv[position + 1]
    return None


def prepare(argv: list[str]) -> list[str]:
    """Read the layers, check the overrides and equip the experiment; returns what is left for Sacred.

    Raises ConfigError for whatever is wrong before a run exists.
    """
    alg, rest = take_option(argv, "--config")
    env, rest = take_option(rest, "--env-config")
    updates = with_updates(rest)
    config = layered_config(alg, env, updates)
    if not {"-f", "--force"} & set(rest):
        check_updates(config, updates)
    ex.add_config(config)
    mongo = mongo_option(rest)
    if mongo is not None:
        check_mongo(mongo)
    final = merge(config, updates)
    if not {"-u", "--unobserved"} & set(rest):
        env_args = final["env_args"]
        environment = str(env_args.get("map_name", env_args.get("key", final["env"])))
        ex.observers.extend(observers(results_directory(final), config["name"], environment, final["mongo"]))
    return rest


def main(argv: list[str]) -> int:
    """Run the command line; returns the exit status (0 done, 1 refused or failed, 130 interrupted)."""
    th.set_num_threads(1)  # small networks: a second thread costs more than it gives
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
