"""Overrides of a command line (`with key=value ...` and files of overrides), and their checks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from sacred.arg_parser import get_config_updates

from utils.config import Config, merge, read_yaml
from utils.errors import ConfigError, nearest


def take_option(argv: list[str], option: str) -> tuple[str | None, list[str]]:
    """Take `option=value` off the command line. Return the value (None without it) and the remaining words.

    Raises ConfigError where the option has no equals sign or is given twice.
    """
    values = [argument.partition("=")[2] for argument in argv if argument.startswith(f"{option}=")]
    if option in argv:
        raise ConfigError(f"write {option}=NAME with an equals sign, such as {option}=spacql")
    if len(values) > 1:
        raise ConfigError(f"{option} is given {len(values)} times; give it once")
    return (values[0] if values else None), [item for item in argv if not item.startswith(f"{option}=")]


def read_overrides(path: Path) -> Config:
    """Read a .json or .yaml file of overrides. Raises ConfigError where it holds no mapping."""
    if path.suffix != ".json":
        return read_yaml(path)
    try:  # not as YAML, which reads 1e-05 as text
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a configuration must be a mapping of keys to values")
    return content


def with_updates(argv: list[str]) -> Config:
    """The `with` overrides of a Sacred command line, with those of files (.json, .yaml).

    Raises ConfigError for a word that is neither key=value nor such a file.
    """
    updates, named = get_config_updates(_split(argv)[1])
    from_files: Config = {}
    for name in named:
        path = Path(name)
        if path.suffix not in (".json", ".yaml", ".yml") or not path.is_file():
            raise ConfigError(
                f"'{name}' after `with` is no override; write key=value, without spaces around =, or name a .json or "
                ".yaml file of overrides"
            )
        from_files = merge(from_files, read_overrides(path))
    return merge(from_files, updates)


def replaced_updates(argv: list[str], updates: Config) -> list[str]:
    """The command line with its `with` part replaced by `updates`, which include those of files."""
    before, _, after = _split(argv)
    words = list(_words(updates))
    return [*before, *(["with", *words] if words else []), *after]


def _split(argv: list[str]) -> tuple[list[str], list[str], list[str]]:
    """The words before `with`, the overrides after it, and the words from the next option on."""
    if "with" not in argv:
        return argv, [], []
    start = argv.index("with")
    words = list(takewhile(lambda word: not word.startswith("-"), argv[start + 1 :]))
    return argv[:start], words, argv[start + 1 + len(words) :]


def _words(updates: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in updates.items():
        if isinstance(value, dict) and value and all(str(name).isidentifier() for name in value):
            yield from _words(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={value!r}"


def check_updates(config: Config, updates: Mapping[str, Any], prefix: str = "") -> None:
    """Check overrides against the keys and kinds of values of all layers.

    Raises ConfigError, with the nearest key or the expected kind, for an unknown key and for a value of another kind.
    Environments check those of their arguments that no YAML file lists.
    """
    for key, value in updates.items():
        full = f"{prefix}{key}"
        if prefix == "env_args." and key not in config:
            continue
        if key not in config and full != "seed":
            known = [f"{prefix}{name}" for name in config]
            raise ConfigError(f"with {full}={value}: this configuration has no key '{full}'; {nearest(full, known)}")
        declared = config.get(key)
        if isinstance(declared, dict) and isinstance(value, Mapping):
            check_updates(declared, value, f"{full}.")
        elif not _same_kind(declared, value):
            raise ConfigError(
                f"with {full}={value}: this is {_kind(value)}, '{full}' is {_kind(declared)} (such as {declared!r})"
            )


def _kind(value: Any) -> str:
    kinds = ((bool, "True or False"), ((int, float), "a number"), (str, "text"), ((list, tuple), "a list"))
    return next((name for types, name in kinds if isinstance(value, types)), "a mapping")


def _same_kind(declared: Any, value: Any) -> bool:
    # Whether a number or text may be null is checked with its declaration (`utils.keys`).
    nullable = isinstance(declared, str) or _kind(declared) == "a number"
    return declared is None or (value is None and nullable) or _kind(declared) == _kind(value)
