"""Layers of the configuration: default < env < alg < tuned < `with`. An algorithm file may have a `base`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from utils.errors import ConfigError, nearest, shown
from utils.known_keys import check_known
from utils.old_names import OldNames
from utils.paths import reachable
from utils.settings_files import parsed_yaml, read_text
from utils.settings_files import read_yaml as read_yaml
from utils.yaml_text import flattened

SOURCE = Path(__file__).resolve().parents[1]
CONFIG = SOURCE / "config"
Config = dict[str, Any]
T = TypeVar("T")


def choose(registry: Mapping[str, T], key: str, name: Any) -> T:
    """Return `registry[name]`. Raises ConfigError, with the key and the nearest match, for an unknown name."""
    if name not in registry:
        raise ConfigError(f"{key}={shown(name)}: there is no such {key}; {nearest(str(name), list(registry))}")
    return registry[name]


def config_names(layer: str) -> list[str]:
    """Names of the configurations of a layer (`algs` or `envs`)."""
    return sorted(path.stem for path in (CONFIG / layer).glob("*.yaml"))


def merge(base: Config, update: Mapping[str, Any]) -> Config:
    """Merge `update` into a copy of `base`: nested mappings are merged, other values replaced."""
    merged = dict(base)
    for key, value in update.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def merged(layers: Iterable[Config]) -> Config:
    """Merge layers, the lowest first."""
    config: Config = {}
    for layer in layers:
        config = merge(config, layer)
    return config


def check_name(option: str, layer: str, name: str | None) -> str:
    """Return the name that a command-line option gives. Raises ConfigError where it is missing or unknown."""
    names = config_names(layer)
    if name is None:
        raise ConfigError(f"{option}=NAME is missing; choose one of: {', '.join(names)}")
    if name not in names:
        raise ConfigError(f"{option}={shown(name)}: there is no such configuration; {nearest(name, names)}")
    return name


def environment(name: str | None) -> Config:
    """Keys of an environment file. Raises ConfigError for an unknown or missing name, and for a `base`."""
    path = CONFIG / "envs" / f"{check_name('--env-config', 'envs', name)}.yaml"
    content = read_yaml(path)
    if "base" in content:
        raise ConfigError(
            f"{path}: only algorithm files may have a base; write the keys of {shown(content['base'])} here"
        )
    return content


def algorithm(name: str | None) -> Config:
    """Keys of an algorithm file and its bases, merged. Raises ConfigError for an unknown name or base."""
    return merged(algorithm_files(name).values())


def algorithm_files(name: str | None) -> dict[str, Config]:
    """Contents of an algorithm file and its bases, without the key `base`, by name; the file itself comes last.

    Raises ConfigError for an unknown or missing name, an unknown base, and bases that form a circle.
    """
    found: dict[str, Config] = {}
    waiting: str | None = check_name("--config", "algs", name)
    while waiting is not None:
        content = read_yaml(algorithm_path(waiting))
        found = {waiting: content, **found}
        base, file = content.pop("base", None), algorithm_path(waiting)
        if base is not None and base not in (names := config_names("algs")):
            raise ConfigError(f"{file}: base={shown(base)}: no algorithm has this name; {nearest(str(base), names)}")
        if base in found:
            raise ConfigError(f"{file}: base={base} leads back to this file; remove one of the bases")
        waiting = base
    return found


def algorithm_path(name: str) -> Path:
    """Path of an algorithm file."""
    return CONFIG / "algs" / f"{name}.yaml"


def flattened_yaml(name: str) -> str:
    """Text of an algorithm file merged with its bases, for stock EPyMARL, which does not know `base`.

    Each key occurs once, with the comment of the last file that sets it; the comment at the top is the file's own.
    Raises ConfigError as `algorithm` does, and where the merged text does not mean what the files mean together.
    """
    text = flattened([read_text(algorithm_path(each)) for each in algorithm_files(name)])
    if parsed_yaml(text, algorithm_path(name)) != algorithm(name):
        raise ConfigError(f"{algorithm_path(name)}: it cannot be merged with its bases line by line; give it no base")
    return text


def tuned_files(alg: str, dataset: str) -> dict[str, Config]:
    """Files of an algorithm's values for this dataset, by name: those for folders that it lies in, then its own."""
    parts, found = dataset.split("/"), {}
    for number in range(1, len(parts) + 1):
        name = f"tuned/{alg}/{'/'.join(parts[:number])}.yaml"
        path = CONFIG / name
        if path.resolve().is_relative_to(CONFIG / "tuned") and reachable(path, "dataset").exists():
            found[name] = read_yaml(path)
    return found


def layered_config(
    alg: str | None,
    env: str | None,
    updates: Config,
    name_of: Callable[[str], str] = str,
    names_of: Callable[[Any], OldNames] = lambda learner: OldNames(),
    known_of: Callable[[Any], Collection[str]] | None = None,
) -> Config:
    """Merge all layers below `with`; Sacred applies the `with` overrides itself.

    name_of: gives the dataset's name, by which tuned files are found, from the key `dataset`, which may be a path.
    names_of: gives the old names of keys that a learner understands, from the learner's name.
    known_of: gives the keys that a learner may read, from its name; None: files may hold any keys.
    Raises ConfigError for an unknown name, for a key of a file that nothing reads, and for a key that has two values
    under two names.
    """
    if alg is None and env is None:
        raise ConfigError(
            "--config=NAME and --env-config=NAME are missing, such as --config=spacql --env-config=mpe; "
            "`main.py --help` lists the names"
        )
    env_layer, files = environment(env), algorithm_files(alg)
    default = read_yaml(CONFIG / "default.yaml")
    learner = {**default, **env_layer, **merged(files.values()), **updates}.get("learner")
    names = names_of(learner)
    sources = {"default.yaml": default, f"envs/{env}.yaml": env_layer}
    sources |= {f"algs/{name}.yaml": content for name, content in files.items()}
    env_layer = names.today(env_layer, f"{env}.yaml")
    alg_layer = merged(names.today(content, f"{name}.yaml") for name, content in files.items())
    if alg_layer.get("runner") == "episode":  # the environment file's batch_size_run is for its own runner
        env_layer["batch_size_run"] = 1
    config = merged((default, env_layer, alg_layer))
    final = {**config, **updates}
    dataset, owner = final.get("dataset"), final.get("tuned", "own")
    owner = alg if owner == "own" else owner
    if owner not in (known := ["none", *config_names("algs")]):
        raise ConfigError(f"tuned={shown(owner)}: no algorithm has this name; {nearest(str(owner), known)}")
    # Training in the environment reads no dataset, so none may change its values.
    tuned = tuned_files(str(owner), name_of(dataset)) if final.get("offline") and isinstance(dataset, str) else {}
    if known_of is not None:
        check_known(sources | tuned, known_of(learner), SOURCE)
    return names.completed(merged((config, *(names.today(content, name) for name, content in tuned.items()))))
