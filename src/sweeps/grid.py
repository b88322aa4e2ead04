"""The runs that a command or a grid file asks for: every combination of its values, each with an algorithm."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.config import Config
from utils.errors import ConfigError, shown
from utils.overrides import literal, overrides
from utils.paths import user_path
from utils.settings_files import read_dotted_yaml

GRID, GROUPS = "grid-search", "grid-search-groups"
FLAGS = {"--config": "alg", "--env-config": "env"}
MOST_RUNS = 100_000
DEFAULT_SEEDS = "3"  # as EPyMARL's search.py
_FORM = f'a grid file must have the key {GRID}, a mapping of keys to values such as "--config": spacql'
_MOST_SEEDS = 10_000
_GIVEN = object()  # in place of a value of the file that the command line gives too


@dataclass(frozen=True)
class Choice:
    """One combination, without its seed. words: the overrides as `main.py` reads them, in the order given."""

    alg: str
    env: str | None
    words: tuple[str, ...] = field(default=())

    @property
    def updates(self) -> Config:
        """The overrides as a mapping."""
        return overrides(self.words)


def seeds_of(texts: Sequence[str]) -> list[int]:
    """Seeds as they are written: `5` is five seeds from 0, `1-5` these, `3,7` these two; several are joined.

    Raises ConfigError for other words and for a seed that occurs twice.
    """
    if len(texts) == 1 and texts[0].isdecimal():
        number = int(texts[0]) if len(texts[0]) < 10 else 0
        if not 0 < number <= _MOST_SEEDS:
            raise ConfigError(f"--seeds {shown(texts[0])}: one number says how many seeds; give 1 to {_MOST_SEEDS}")
        return list(range(number))
    found: list[int] = []
    for text in ",".join(texts).split(","):
        match = re.fullmatch(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", text)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not 0 <= last - first < _MOST_SEEDS:
            raise ConfigError(f"--seeds {shown(' '.join(texts))}: write 5 for five seeds from 0, 1-5, or 3,7")
        found += range(first, last + 1)
    for seed in found:
        if found.count(seed) > 1:
            raise ConfigError(f"--seeds {shown(' '.join(texts))}: seed {seed} occurs twice; name it once")
    return found


def short_form(configs: Sequence[str], datasets: Sequence[str], env: str | None, words: Sequence[str]) -> list[Choice]:
    """Algorithms x datasets, each with the same overrides.

    Raises ConfigError where one is named twice, and where the words name a dataset beside `datasets`.
    """
    if datasets and "dataset" in overrides(words):
        raise ConfigError("--datasets and the key dataset are both given; give one of them")
    for flag, names in (("--configs", configs), ("--datasets", datasets)):
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"{flag} names {shown(name)} twice; name it once")
    sets: list[tuple[str, ...]] = [(_word("dataset", name),) for name in datasets] or [()]
    return [Choice(alg, env, (*dataset, *words)) for alg in configs for dataset in sets]


def grid_file(name: str, words: Sequence[str]) -> list[Choice]:
    """The combinations of a file in the form of EPyMARL's `search.config.yaml`; `words` hold for each of them.

    Under `grid-search`, each key has one value or a list of them. Under `grid-search-groups`, each group is a list of
    keys whose values go together; every combination has one of the groups. Raises ConfigError for another form.
    """
    path = user_path(name, "--config")
    if not path.exists():
        raise ConfigError(f"--config {shown(name)}: there is no such file; name a grid file, or use --configs")
    content = read_dotted_yaml(path, _FORM)
    for key, value in content.items():
        if key not in (GRID, GROUPS, "exclude"):
            raise ConfigError(f"{path}: it has the key {shown(key)}; a grid file has {GRID} and {GROUPS}")
        if key == "exclude" and value:
            raise ConfigError(f"{path}: exclude must be null, as nothing reads it; leave out what shall not run")
    axes = [[(key, value) for value in values] for key, values in _axes(content.get(GRID), path)]
    groups = _groups(content.get(GROUPS), path)
    number = len(groups)
    for axis in axes:
        number *= len(axis)
    if number > MOST_RUNS:
        raise ConfigError(f"{path}: it stands for {number} combinations, more than {MOST_RUNS}; make it smaller")
    given = overrides(words)
    return [
        _choice([*combination, *group], words, given, path)
        for combination in itertools.product(*axes)
        for group in groups
    ]


def _axes(content: Any, path: Path) -> list[tuple[str, list[Any]]]:
    if content is None:
        return []
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: {GRID} must be a mapping of keys to lists of values")
    axes = []
    for key, value in content.items():
        values = value if isinstance(value, list) else [value]
        if not values:
            raise ConfigError(f"{path}: {shown(key)} has an empty list; give it a value or leave it out")
        axes.append((_key(key, path), values))
    return axes


def _groups(content: Any, path: Path) -> list[list[tuple[str, Any]]]:
    if not content:
        return [[]]
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: {GROUPS} must be a mapping of names to groups, each a list of key: value")
    found = []
    for name, group in content.items():
        entries = [group] if isinstance(group, dict) else group
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ConfigError(f"{path}: the group {shown(name)} must be a list of entries such as `- lr: 0.001`")
        found.append([(_key(key, path), value) for entry in entries for key, value in entry.items()])
    return found


def _choice(entries: list[tuple[str, Any]], words: Sequence[str], given: Config, path: Path) -> Choice:
    """One combination of a file. given: what the words stand for, which displaces the file's own values."""
    flags: dict[str, str | None] = {"alg": None, "env": None}
    own: list[str] = []
    names = [key for key, _ in entries]
    for key, value in entries:
        if names.count(key) > 1:
            raise ConfigError(f"{path}: {shown(key)} is given twice for one run; give it once")
        if key in FLAGS:
            if not isinstance(value, str):
                said = "null" if value is None else shown(value)
                raise ConfigError(f'{path}: "{key}" is {said}; give it the name of a file in config/{FLAGS[key]}s')
            flags[FLAGS[key]] = value
        elif (left := _not_given(key.split("."), value, given)) is not _GIVEN:
            own.append(_word(key, left))
    alg = flags["alg"]
    if alg is None:
        raise ConfigError(f'{path}: it names no algorithm; add "--config": spacql under {GRID}')
    return Choice(alg, flags["env"], (*own, *words))


def _not_given(names: Sequence[str], value: Any, given: Any) -> Any:
    """What is left of a value, whose key consists of these names, where `given` has the last say; or `_GIVEN`."""
    if not isinstance(given, dict):
        return _GIVEN
    if names:
        return _not_given(names[1:], value, given[names[0]]) if names[0] in given else value
    if not isinstance(value, dict):
        return _GIVEN
    left = {key: _not_given((key,), entry, given) for key, entry in value.items()}
    return {key: entry for key, entry in left.items() if entry is not _GIVEN} or _GIVEN


def _key(key: Any, path: Path) -> str:
    name = str(key)
    if name.startswith("-") and name not in FLAGS:
        raise ConfigError(f"{path}: {shown(name)} is no key; the only flags are {' and '.join(FLAGS)}")
    return name


def _word(key: str, value: Any) -> str:
    """`key=value`, such that `main.py` reads the same value. Text that would be read as something else is quoted."""
    if isinstance(value, str):
        plain = literal(value.strip()) == value and value == value.strip()
        return f"{key}={value}" if plain else f"{key}={value!r}"
    return f"{key}={value!r}"


def seed_in(choices: Sequence[Choice]) -> bool:
    """Whether the combinations say their seeds themselves. Raises ConfigError where only some do."""
    having = ["seed" in choice.updates for choice in choices]
    if any(having) and not all(having):
        raise ConfigError("some runs of the grid have a seed and some have none; give it to all, or use --seeds")
    return any(having)


def with_arguments(choice: Choice, extra: Config) -> tuple[str, ...]:
    """The words of a choice, with further arguments of the environment unless it gives them itself."""
    own = choice.updates.get("env_args", {})
    return (*(_word(f"env_args.{key}", value) for key, value in extra.items() if key not in own), *choice.words)
