"""The runs of a sweep, each resolved and checked as `main.py` does it, before any of them begins."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from datasets.card import NOT_COMPARED
from datasets.readings import Readings
from loops.configured import configured
from loops.identity import dataset_checksum, identity
from loops.rehearsal import rehearse
from loops.tracking import run_name
from loops.unread import unread_warning
from sweeps.grid import Choice, with_arguments
from sweeps.job import continuing
from sweeps.places import Places
from utils.config import Config, config_names, environment, merge
from utils.errors import ConfigError, UserError, shown
from utils.paths import results_folder
from utils.run_keys import RUN_KEYS

# What a sweep does itself, what trains nothing, and what all seeds would write to one file.
NOT_IN_SWEEPS = ("collect", "evaluate", "render", "checkpoint_path", "load_step", "replay_to")


@dataclass(frozen=True)
class Cell:
    """One run. words: those after `main.py`. config: as resolved. title: how tables call it, without the seed."""

    words: tuple[str, ...]
    config: Config
    identity: str
    title: str

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def t_max(self) -> int:
        return int(self.config["t_max"])

    @property
    def name(self) -> str:
        return f"{self.title}, seed {self.seed}"

    @property
    def results(self) -> Path:
        return results_folder(self.config["local_results_path"])

    @property
    def places(self) -> Places:
        return Places(self.results, self.identity)

    @property
    def records(self) -> Path:
        """Where Sacred keeps the runs of this algorithm; a run's own folder there goes by the dataset's name."""
        return self.results / "sacred" / str(self.config["name"])

    @property
    def shared_words(self) -> tuple[str, ...]:
        """The words that runs of other seeds have too."""
        return tuple(word for word in self.words if not word.startswith("seed="))


def command(words: Sequence[str], main: str, checkpoint: Path | None) -> str:
    """The command line that does a run with these words, as a shell reads it."""
    return shlex.join(["python", main, *continuing(words, checkpoint)])


def words_together(cells: Sequence[Cell]) -> tuple[str, ...]:
    """The words of one process that does these runs, which differ by their seeds alone."""
    if len(cells) == 1:
        return cells[0].words
    return (*cells[0].shared_words, f"seeds=[{','.join(str(cell.seed) for cell in cells)}]")


def cells_of(
    choices: Sequence[Choice], seeds: Sequence[int] | None, say: Callable[[str], None], together: bool = False
) -> list[Cell]:
    """Every run of a grid. seeds: None where the choices hold them. say: called with sentences on old names
    and on keys that are given and not read.

    together: whether the seeds of a choice are to be trained in one process.
    Raises UserError for a choice that `main.py` would refuse, for runs that occur twice, and where the runs have no
    common results folder.
    """
    found: list[list[Cell]] = [[] for _ in choices]
    titles, readings = _titles(choices), Readings()
    for number in _by_dataset(choices):
        try:
            found[number] = _cells_of(choices[number], titles[number], seeds, readings, say, together)
        except UserError as error:
            raise type(error)(f"{titles[number]}: {error}") if len(choices) > 1 else error from error
    cells = list(chain.from_iterable(found))
    _check_together(cells)
    return cells


def _by_dataset(choices: Sequence[Choice]) -> list[int]:
    """The choices' numbers, those of one dataset together: each is then read once, and one at a time is in memory."""
    names = [str(choice.updates.get("dataset")) for choice in choices]
    first = {name: number for number, name in reversed(list(enumerate(names)))}
    return sorted(range(len(choices)), key=lambda number: first[names[number]])


def _cells_of(
    choice: Choice,
    title: str,
    seeds: Sequence[int] | None,
    readings: Readings,
    say: Callable[[str], None],
    together: bool,
) -> list[Cell]:
    """The runs of one choice, which are built once: seeds make no difference to whether that works."""
    words, env = choice.words, choice.env
    if env is None:
        env, arguments = environment_of(choice.updates.get("dataset"), readings)
        words = with_arguments(choice, arguments)
        choice = Choice(choice.alg, env, words)
    own = choice.updates.get("seed")
    given = choice.updates if seeds is None else choice.updates | {"seed": seeds[0]}
    config = configured(choice.alg, env, given, False, say, say).final
    for key in NOT_IN_SWEEPS:
        if config[key]:
            raise ConfigError(
                f"{key}={shown(config[key])} has no place in a sweep, whose runs train and share no file; use main.py"
            )
    trained = config
    if together and seeds is not None and len(seeds) > 1:
        trained = configured(choice.alg, env, choice.updates | {"seeds": list(seeds)}, False, say, say).final
    rehearse(trained, readings)
    unread = unread_warning(config, words, choice.alg)
    if unread is not None:
        say(unread)
    checksum = dataset_checksum(config, readings)
    head = (f"--config={choice.alg}", f"--env-config={env}", "with", *words)
    found = []
    for seed in [own] if seeds is None else seeds:
        final = merge(config, {"seed": RUN_KEYS["seed"].check("seed", seed)})
        tail = () if seeds is None else (f"seed={seed}",)
        found.append(Cell((*head, *tail), final, identity(final, checksum), title or run_name(final)))
    return found


def environment_of(dataset: Any, readings: Readings) -> tuple[str, dict[str, Any]]:
    """The name of the --env-config nearest to a dataset's card, and the arguments in which the card differs from it.

    Raises ConfigError without a dataset, and where no file is of the card's environment; DatasetError for none such.
    """
    if not isinstance(dataset, str):
        raise ConfigError("without a dataset nothing says which environment is meant; give --env-config")
    card = readings.outline(dataset).card["environment"]
    if card["env"] is None:
        return "none", {}
    there = {key: value for key, value in card["env_args"].items() if key not in NOT_COMPARED}
    found: list[tuple[int, str, dict[str, Any]]] = []
    for name in config_names("envs"):
        layer = environment(name)
        if layer.get("env") == card["env"]:
            own = layer.get("env_args", {})
            differing = {key: value for key, value in there.items() if key not in own or own[key] != value}
            found.append((len(differing), name, differing))
    if found:
        _, name, differing = min(found, key=lambda entry: entry[:2])
        return name, differing
    raise ConfigError(
        f"dataset {shown(dataset)} is of the environment {shown(card['env'])}, which no file in config/envs names; "
        "give --env-config, none to train without one"
    )


def _titles(choices: Sequence[Choice]) -> list[str]:
    """What tells the choices apart: algorithm, dataset, and every override in which they differ."""
    updates = [{word.partition("=")[0]: word for word in choice.words} for choice in choices]
    keys = list(dict.fromkeys(key for words in updates for key in words))
    differing = [
        key for key in keys if key not in ("dataset", "seed") and len({words.get(key) for words in updates}) > 1
    ]
    titles = []
    for choice, words in zip(choices, updates, strict=True):
        dataset, env = words.get("dataset", "").partition("=")[2], choice.env
        place = f" on {dataset}" if dataset else f" in {env}" if env else ""
        titles.append(" ".join([f"{choice.alg}{place}", *(words[key] for key in differing if key in words)]))
    return titles


def _check_together(cells: Sequence[Cell]) -> None:
    seen: dict[str, Cell] = {}
    for cell in cells:
        before = seen.setdefault(cell.identity, cell)
        if before is not cell:
            raise ConfigError(f"{cell.name} is the same run as {before.name}; name it once")
        if cell.results != cells[0].results:
            raise ConfigError(
                f"local_results_path={shown(cell.config['local_results_path'])}: the runs of a sweep have one results "
                "folder; give one value"
            )
