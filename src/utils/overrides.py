"""Overrides of a command line (`with key=value ...` and files of overrides), and their checks."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from utils.config import Config, merge
from utils.errors import ConfigError, nearest, shown
from utils.keys import Range
from utils.paths import is_unicode, user_path
from utils.plain_values import key_name, plain, spelled, whole
from utils.run_keys import RUN_KEYS
from utils.settings_files import read_json, read_yaml

FILES = (".json", ".yaml", ".yml")


def overrides(words: Iterable[str]) -> Config:
    """The overrides that the words after `with` give, key=value or a file; single words have the last say.

    Raises ConfigError for a word that is neither, for a file that holds no overrides, and for a value that no record
    can hold.
    """
    updates: Config = {}
    from_files: Config = {}
    for word in filter(None, words):
        key, sign, text = word.partition("=")
        if sign:
            _set(updates, key.strip(), literal(text.strip()))
        else:
            from_files = merge(from_files, read_overrides(word))
    return merge(from_files, updates)


def read_overrides(name: str) -> Config:
    """Read a .json or .yaml file of overrides. Raises ConfigError where there is none or it holds no mapping."""
    if Path(name).suffix not in FILES:
        raise ConfigError(
            f"'{shown(name)}' after `with` is no override; write key=value, without spaces around =, or name a .json "
            "or .yaml file of overrides"
        )
    path = user_path(name, "with")
    if not path.exists():
        raise ConfigError(f"'{shown(name)}' after `with`: there is no such file; give the path of one with overrides")
    return read_json(path) if path.suffix == ".json" else read_yaml(path)  # YAML reads 1e-05 as text


def literal(text: str) -> Any:
    """The Python literal that a text is, as Sacred reads it; the text itself where it is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's own remarks, such as on `1or2`
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return text


def _set(updates: Config, dotted: str, value: Any) -> None:
    """Set the entry of a dotted key, in mappings that are made where there are none."""
    *owners, last = (_checked(name, dotted) for name in dotted.split("."))
    place = updates
    for owner in owners:
        place = place.setdefault(owner, {})
        if not isinstance(place, dict):
            raise ConfigError(f"with {dotted}={shown(value)}: {owner} is given a value and an entry; give one of them")
    value, before = plain(value, dotted), place.get(last)
    # A mapping adds to the entries that were given one by one, as one of a file does.
    place[last] = merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value


def _checked(name: str, dotted: str) -> str:
    if not name.strip() or not is_unicode(name):
        raise ConfigError(f"'{shown(dotted)}' after `with` is no key; write key=value")
    return key_name(name)


def as_declared(config: Config, updates: Config) -> Config:
    """Overrides with numbers spelled as text, and whole numbers as floats, turned into what the layers' values are."""
    turned: Config = {}
    for key, value in updates.items():
        declared = config.get(key)
        if isinstance(declared, dict) and isinstance(value, dict):
            turned[key] = as_declared(declared, value)
        elif isinstance(declared, int | float) and not isinstance(declared, bool):
            value = spelled(value)
            turned[key] = whole(value) if isinstance(declared, int) else value
        else:
            turned[key] = value
    return turned


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
            known = {*(f"{prefix}{name}" for name in config), *(() if prefix else ("seed",))}
            raise ConfigError(
                f"with {full}={shown(value)}: this configuration has no key '{full}'; {nearest(full, known)}"
            )
        declared = config.get(key)
        if isinstance(declared, dict) and isinstance(value, Mapping):
            check_updates(declared, value, f"{full}.")
        elif not _same_kind(declared, value) and not number_or_word(full):
            none = "; null is written None here" if value == "null" else ""
            raise ConfigError(
                f"with {full}={shown(value)}: this is {_kind(value)}, '{full}' is {_kind(declared)} (such as "
                f"{declared!r}){none}"
            )


def chosen(final: Config, updates: Config) -> Config:
    """The entries of `final` that `updates` sets."""
    return {
        key: chosen(final[key], value) if isinstance(value, dict) and isinstance(final[key], dict) else final[key]
        for key, value in updates.items()
    }


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    kinds = ((bool, "True or False"), ((int, float), "a number"), (str, "text"), ((list, tuple), "a list"))
    return next((name for types, name in kinds if isinstance(value, types)), "a mapping")


def number_or_word(key: str) -> bool:
    """Whether a run's key takes numbers and a word, which its declaration checks."""
    found = RUN_KEYS.get(key)
    return found is not None and isinstance(found.allowed, Range) and found.allowed.word is not None


def _same_kind(declared: Any, value: Any) -> bool:
    # Whether a number or text may be null is checked with its declaration (`utils.keys`).
    nullable = isinstance(declared, str) or _kind(declared) == "a number"
    return declared is None or (value is None and nullable) or _kind(declared) == _kind(value)
