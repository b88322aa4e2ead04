"""The command line: `main.py --config=ALG --env-config=ENV with key=value ...` and Sacred's verbs."""

from __future__ import annotations

from utils import signals
from utils.printing import open_closed_streams, printing, put

if __name__ == "__main__":
    open_closed_streams()
    signals.end_at_once_on_signals()  # before the imports that follow, which take seconds

import pdb
import sys
import threading
import traceback
import warnings
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch as th

warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # sacred imports it; nothing a user can mend

from sacred import SETTINGS
from sacred.commands import help_for_command
from sacred.run import Run
from sacred.utils import SacredInterrupt, apply_backspaces_and_linefeeds, print_filtered_stacktrace

from loops import tracking
from loops.configured import configured, learner_class
from loops.lanes import Together
from loops.rehearsal import check_folders, rehearse, resolved_choices
from loops.unread import unread_warning
from loops.usage import usage
from run import run
from utils import shown_config
from utils.command_line import Command, Flag, parse
from utils.config import Config, merge
from utils.errors import ConfigError, UserError
from utils.experiment import RecordedExperiment
from utils.flags import TAKEN_OVER, checked_flags, config_file, flag_observers
from utils.keys import inherited
from utils.logging import get_logger, quiet_threads
from utils.memory import memory_errors
from utils.observers import check_records, mark_all_ended, observers
from utils.overrides import chosen, number_or_word
from utils.paths import folder_name, place_of, results_folder
from utils.recorded_sources import imported_sources
from utils.redact import redacted
from utils.rng import seed_everything
from utils.settings_files import write_settings
from utils.validation import check_values, keys_of
from utils.versions import commit

SETTINGS["CAPTURE_MODE"] = "fd"
PRINTED = ("print_dependencies", "print_named_configs")  # Sacred's verbs that print their result

ex: Any = RecordedExperiment("epymarl-offline", save_git_info=commit() is not None)
ex.logger = get_logger()
ex.captured_out_filter = lambda text: redacted(apply_backspaces_and_linefeeds(text))
signals.when_ending.insert(0, lambda: mark_all_ended(ex.begun))


@ex.main  # type: ignore[untyped-decorator]
def my_main(_run: Run, _config: Config, _log: Any) -> float | None:
    """One run; its return value, the final score, is the Sacred run's result."""
    try:
        signals.check("before the run began; nothing is lost")
        check_records(_run.observers, "so it was not begun")
        if ex.unread is not None:
            _log.warning(ex.unread)
        config = check_values(merge({}, _config), keys_of(learner_class(_config["learner"])))
        seed_everything(config["seed"])
        with memory_errors("lower batch_size, hidden_dim or the other sizes of this run, or set loss_chunk"):
            seeded = merge(config, {"env_args": {"seed": config["seed"]}})
            figures = run(_run, seeded, _log, ex.dataset, ex.together)
        return tracking.score(_run, figures)
    except (UserError, SacredInterrupt):
        # Sacred marks the run; `debug` then hands the exception to `main`, which prints its sentence, where Sacred
        # would print a traceback.
        _run.debug = True
        raise


@ex.command(unobserved=True)  # type: ignore[untyped-decorator]
def save_config(_config: Config, _log: Any, config_filename: str = "config.json") -> None:
    """Store the configuration in config_filename=FILE, .json or .yaml."""
    path = config_file(config_filename)
    write_settings(path, {key: value for key, value in _config.items() if key != "config_filename"})
    _log.info(f"Saved the configuration to {path}")


@ex.command(unobserved=True)  # type: ignore[untyped-decorator]
def print_config() -> None:
    """Print each key that the run reads, with its value and its comment."""
    ex.print_config()


def sacred_flags() -> list[Flag]:
    """Sacred's flags."""
    return [Flag(option.get_short_flag(), option.get_flag(), option.arg is not None) for option in ex.all_cli_options]


def prepare(argv: list[str]) -> Command:
    """Read the layers, check the overrides and equip the experiment; returns the command line as Sacred shall run it.

    Raises UserError for whatever is wrong before a run exists.
    """
    command = parse(argv, sacred_flags(), dict(ex.gather_commands()))
    command.flags = checked_flags(command.flags)
    if command.asks_for_help:
        return command
    given = command.updates
    filename = given.pop("config_filename", "config.json") if command.verb == "save_config" else None
    force = "--force" in command.flags
    found = configured(command.config, command.env_config, given, force, ex.logger.info, ex.logger.warning)
    config, updates, final = found.layers, found.updates, found.final
    command.updates = chosen(final, updates)
    own = inherited(learner_class(final["learner"]), "KEYS")
    files = found.described, command.env_config
    ex.shown = shown_config.lines(final, own, files, updates, lambda: resolved_choices(final))
    # Sacred is told of the layers' values, so that it can show what `with` changes; environments may know further
    # arguments than the layers. Where a key takes numbers and a word, or None, Sacred would call the other kind
    # suspicious.
    layers = {
        key: config.get(key, value) if key in updates and value is not None and not number_or_word(key) else value
        for key, value in final.items()
    }
    ex.add_config(layers | {"env_args": final["env_args"]})
    ex.recorded_name = tracking.run_name(final)
    if filename is not None:
        command.updates["config_filename"] = str(config_file(filename))
    if command.verb in (None, my_main.__name__):
        ex.dataset = rehearse(final)
        ex.unread = unread_warning(final, command.words, found.described or final["name"])
        if final["seeds"] is not None:
            check_single_run_flags(command.flags, final["seeds"])
            ex.together = Together(final["seeds"], partial(start_lane, command, final))
        if "--unobserved" not in command.flags:
            check_one_database(command)
            add_observers(command.flags, final)
        check_folders(final)
    return command


def check_single_run_flags(flags: dict[str, Any], seeds: list[int]) -> None:
    """Raise ConfigError for flags that are for one run."""
    for flag in ("--queue", "--id"):
        if flag in flags:
            raise ConfigError(f"{flag} is for one run, seeds={seeds} are several; leave out one of the two")


def check_one_database(command: Command) -> None:
    """Raise ConfigError for two addresses, of which the record would name the one that has nothing of the run."""
    flag, key = command.flags.get("--mongo_db"), command.updates.get("mongo")
    if None not in (flag, key) and flag != key:
        raise ConfigError(f"-m {flag} and mongo={key} are two databases; leave out one of the two")


def add_observers(flags: dict[str, Any], config: Config) -> None:
    """Record the run; Sacred's own -m and -F are taken over, for their ids clash with the run directory's."""
    mongo = flags.get("--mongo_db") or config["mongo"]
    further = flag_observers(flags, {option.get_flag(): option for option in ex.all_cli_options})
    results = results_folder(config["local_results_path"])
    ex.observers.extend(observers(results, config["name"], folder_name(place_of(config)), mongo))
    ex.observers.extend(further)
    if ex.mainfile is not None:
        ex.sources |= imported_sources(ex.mainfile, ("learners", "modules", "controllers"))


def start_run(command: Command, updates: Config, words: list[str]) -> None:
    """Let Sacred run the command with these overrides; words: as they are recorded."""
    flags = {flag: value for flag, value in command.flags.items() if flag not in TAKEN_OVER}
    options = flags | {"COMMAND": command.verb, "UPDATE": words, "with": bool(words), "help": False}
    ex.run(command.verb, updates, info={}, meta_info={}, options=options)


def start_lane(command: Command, config: Config, seed: int) -> None:
    """Let Sacred run the command for one of several seeds, recorded as that seed's own run."""
    if ex.begun and "--unobserved" not in command.flags:
        ex.observers.clear()
        add_observers(command.flags, config)
    updates = {key: value for key, value in command.updates.items() if key != "seeds"} | {"seed": seed}
    words = [f"seed={seed}" if word.partition("=")[0] == "seeds" else word for word in command.words]
    start_run(command, updates, words)


def start(command: Command) -> None:
    """Start the command, or the runs of several seeds.

    A fault of the program ends as Sacred ends it: with a traceback of our lines.
    """
    flags = command.flags
    try:
        with printing() if command.verb in PRINTED else nullcontext():
            if ex.together is None:
                start_run(command, command.updates, command.words)
            else:
                ex.together.start()
    except (UserError, SacredInterrupt):
        raise
    except Exception:
        if "--debug" in flags:
            raise
        if "--pdb" in flags:
            traceback.print_exc()
            pdb.post_mortem()
        else:
            print_filtered_stacktrace()
        sys.exit(1)


def show_help(command: Command) -> None:
    """Print how to call this program: Sacred's usage where a configuration is named, a verb's where one is named."""
    if command.topic is not None:
        verbs = dict(ex.gather_commands())
        put(help_for_command(verbs[command.topic]) if command.topic in verbs else ex.get_usage()[1])
    elif command.config is not None:
        put(ex.get_usage()[1])
    else:
        put(usage())


def main(argv: list[str]) -> int:
    """Run the command line; returns the exit status (0 done, 1 refused or failed, 130 interrupted)."""
    threading.excepthook = quiet_threads
    th.set_num_threads(1)  # small networks: a second thread costs more than it gives
    try:
        command = prepare(argv)
        if command.asks_for_help:
            show_help(command)
            return 0
        with signals.StopSignals():
            start(command)
            signals.check("after the run was complete; nothing is lost")
        recorded = [observer for begun in ex.begun for observer in begun.observers]
        check_records(recorded, "while the run itself ended well and its checkpoints and datasets are whole")
    except UserError as error:
        signals.say(f"error: {error}")
        return 1
    except (KeyboardInterrupt, SacredInterrupt) as interrupt:
        signals.say(f"interrupted: {interrupt}" if str(interrupt) else "interrupted")
        return signals.INTERRUPTED_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
