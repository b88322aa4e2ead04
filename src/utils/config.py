"""The configuration's layers (default < env < alg < tuned < `with`) and the sentences for what does not fit."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from sacred.arg_parser import get_config_updates

from utils.errors import ConfigError

SOURCE = Path(__file__).resolve().parents[1]
CONFIG = SOURCE / "config"
Config = dict[str, Any]
T = TypeVar("T")


def nearest(word: str, known: list[str]) -> str:
    """A remedy: the likeliest intended word, and all of them where they are few."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    guess = f"did you mean '{close[0]}'?" if close else "nothing similar is known."
    return f"{guess} Known: {', '.join(sorted(known))}." if len(known) <= 20 else guess


def choose(registry: Mapping[str, T], key: str, name: Any) -> T:
    """`registry[name]`; raises ConfigError naming the key and the nearest match."""
    if name not in registry:
        raise ConfigError(f"{key}={name}: there is no such {key}; {nearest(str(name), list(registry))}")
    return registry[name]


def config_names(layer: str) -> list[str]:
    """The configurations of a layer (`algs`, `envs`)."""
    return sorted(path.stem for path in (CONFIG / layer).glob("*.yaml"))


def read_yaml(path: Path) -> Config:
    """A YAML mapping, by the safe loader. Raises ConfigError where the file is no mapping."""
    with path.open(encoding="utf-8") as file:
        try:
            content = yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a configuration must be a mapping of keys to values")
    return content


def read_overrides(path: Path) -> Config:
    """A .json or .yaml file of overrides. Raises ConfigError where it cannot be read as a mapping."""
    if path.suffix != ".json":
        return read_yaml(path)
    try:  # not as YAML, which takes 1e-05 for a text
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a configuration must be a mapping of keys to values")
    return content


def merge(base: Config, update: Mapping[str, Any]) -> Config:
    """`base` with `update` over it; nested mappings merge, everything else is replaced."""
    merged = dict(base)
    for key, value in update.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def take_option(argv: list[str], option: str) -> tuple[str | None, list[str]]:
    """Remove `option=value` from the command line; returns the value, None where it is absent."""
    values = [argument.partition("=")[2] for argument in argv if argument.startswith(f"{option}=")]
    if option in argv:
        raise ConfigError(f"write {option}=NAME with an equals sign, such as {option}=spacql")
    if len(values) > 1:
        raise ConfigError(f"{option} is given {len(values)} times; give it once")
    return (values[0] if values else None), [item for item in argv if not item.startswith(f"{option}=")]


def read_layer(option: str, layer: str, name: str | None) -> Config:
    """The configuration a command-line option names. Raises ConfigError for an unknown or missing name."""
    names = config_names(layer)
    if name is None:
        raise ConfigError(f"{option}=NAME is missing; choose one of: {', '.join(names)}")
    if name not in names:
        raise ConfigError(f"{option}={name}: there is no such configuration; {nearest(name, names)}")
    return read_yaml(CONFIG / layer / f"{name}.yaml")


def with_updates(argv: list[str]) -> Config:
    """The `with` overrides of a Sacred command line, configuration files (.json, .yaml) included.

    Raises ConfigError for a word that is neither key=value nor such a file.
    """
    if "with" not in argv:
        return {}
    tokens = argv[argv.index("with") + 1 :]
    for position, token in enumerate(tokens):
        if token.startswith("-"):
            tokens = tokens[:position]
            break
    updates, named = get_config_updates(tokens)
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


def tuned_layer(alg: str, dataset: str) -> Config:
    """What a paper sets for this algorithm on this dataset; empty where there is no such file."""
    path = CONFIG / "tuned" / alg / f"{dataset}.yaml"
    inside = path.resolve().is_relative_to(CONFIG / "tuned")
    return read_yaml(path) if inside and path.is_file() else {}


def layered_config(alg: str | None, env: str | None, updates: Config, name_of: Callable[[str], str] = str) -> Config:
    """All layers under the `with` overrides, which Sacred applies itself.

    name_of: the dataset's name, by which tuned values are filed, from the `dataset` key, which may be a path.
    """
    env_layer = read_layer("--env-config", "envs", env)
    alg_layer = read_layer("--config", "algs", alg)
    if alg_layer.get("runner") == "episode":  # what the environment's runner plays at once is not for this one
        env_layer["batch_size_run"] = 1
    config = merge(merge(read_yaml(CONFIG / "default.yaml"), env_layer), alg_layer)
    dataset, owner = (
        updates.get(key, config.get(key, absent)) for key, absent in (("dataset", None), ("tuned", "own"))
    )
    owner = alg if owner == "own" else owner
    if owner not in (known := ["none", *config_names("algs")]):
        raise ConfigError(f"tuned={owner}: no algorithm has this name; {nearest(str(owner), known)}")
    return merge(config, tuned_layer(str(owner), name_of(dataset)) if isinstance(dataset, str) else {})


def check_updates(config: Config, updates: Mapping[str, Any], prefix: str = "") -> None:
    """Refuse overrides of keys that no layer declares, and values of another kind than the declared one.

    Environments judge arguments that the YAML does not list themselves. Raises ConfigError with the nearest key or the
    kind that is meant.
    """
    for key, value in updates.items():
        full = f"{prefix}{key}"
        if prefix == "env_args." and key not in config:
            continue
        if key not in config and full != "seed":
            known = [f"{prefix}{name}" for name in config]
            raise ConfigError(f"with {full}={value}: no configuration declares '{full}'; {nearest(full, known)}")
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
    # Ranges judge numbers, and the check of texts which of them may be null.
    nullable = isinstance(declared, str) or _kind(declared) == "a number"
    return declared is None or (value is None and nullable) or _kind(declared) == _kind(value)
