"""The command `dataset.py import`: which format a file is, and from a file of that format to a dataset."""

import argparse
import dataclasses
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.faults import OWN_ARRAYS, input_error
from datasets.importers import FORMATS, REGISTRY
from datasets.importers.padded_files import is_ours
from datasets.importers.source import Source
from datasets.stream import write_source
from utils.errors import DatasetError, UserError, nearest
from utils.paths import user_path

_OF_STOCK = ("sc2", "sc2v2", "smaclite")  # environments of stock EPyMARL, where datasets are used too
_STATED = ("behaviour", "quality", "env", "env_args")
_OF_WEIGHTS = (".pt", ".pth", ".th", ".safetensors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the words of `dataset.py import`, except -o and --force."""
    listed = "; ".join(f"{name}: {form.holds}" for name, form in FORMATS.items())
    parser.add_argument("format", nargs="?", help=listed)
    parser.add_argument("source", nargs="?", help="the file or folder")
    parser.add_argument("--probe", metavar="SRC", help="say which format SRC is and what an import makes of it")
    parser.add_argument("--behaviour", help="which policy acted, for the dataset card")
    parser.add_argument("--quality", help="how well it acts: random, medium, expert, ...")
    parser.add_argument("--env", help="the environment of the data, where the files do not tell it")
    parser.add_argument("--env-args", help='its arguments as JSON: \'{"key": "simple_spread_v3"}\'')
    options: dict[str, list[str]] = {}
    for name, form in FORMATS.items():
        for option, text in form.options.items():
            options.setdefault(option, []).append(f"{name}: {text}")
    for option, texts in options.items():
        parser.add_argument(f"--{option.replace('_', '-')}", help="; ".join(texts))


def import_dataset(
    name: str, path: Path, out: Path, options: Mapping[str, Any], command: str = "", replace: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """Write the foreign data at `path`, of the format `name`, to `out`; return the dataset card and the notes.

    options: the format's own, and behaviour, quality, env, env_args for the card. replace: whether a file at `out` is
    replaced. Raises DatasetError for data that are not sound, an unknown format or an option that it does not have.
    """
    source = open_source(name, path, options)
    card = write_source(out, source, command, replace=replace)
    return card, source.notes


def open_source(name: str, path: Path, options: Mapping[str, Any]) -> Source:
    """Open data of the format `name`, with what the options state in the card."""
    if name not in REGISTRY:
        raise DatasetError(f"'{name}' is no format; {nearest(name, REGISTRY)}")
    own = {key: value for key, value in options.items() if key not in _STATED and value is not None}
    foreign = sorted(set(own) - set(FORMATS[name].options))
    if foreign:
        has = ", ".join(f"--{option.replace('_', '-')}" for option in FORMATS[name].options) or "none of its own"
        raise DatasetError(f"--{foreign[0].replace('_', '-')} is no option of {name}, which has {has}")
    try:
        source = REGISTRY[name].open(path, own)
    except OSError as error:
        raise input_error(path, error) from error
    card = dict(source.card)
    for key in ("behaviour", "quality"):
        if options.get(key) is not None:
            card[key] = options[key]
    if options.get("env") is not None or options.get("env_args") is not None:
        card["environment"] = _environment(card, options)
    episodes = source.episodes
    if name != "omar" and (card.get("environment") or {}).get("env") == "mpe":  # omar replays its files itself
        from datasets.importers.replay_stream import checked_stream  # simulators, which other data do without

        episodes = checked_stream(episodes, card, path, source.notes)
    return dataclasses.replace(source, card=card, episodes=episodes)


def probe(path: Path) -> list[str]:
    """Lines that say which format the data at `path` are and what an import would make of them.

    Raises DatasetError where they are of none that is known.
    """
    found: dict[str, str] = {}
    doubts: list[str] = []
    try:
        if is_ours(path):
            return [f"{path} is a dataset of this project already; it needs no import"]
    except (UserError, OSError):  # of which the formats that read such files speak below
        pass
    for name, importer in REGISTRY.items():
        try:
            holds = importer.recognise(path)
        except (UserError, OSError) as error:  # such as a package that is not installed
            doubts.append(f"{name}: cannot tell ({error})")
            continue
        if holds is not None:
            found[name] = holds
    if not found:
        own = f"a layout of your own is converted as {OWN_ARRAYS} shows"
        if path.suffix in _OF_WEIGHTS:
            own = "weights of networks are no dataset (policy.py prey takes those of a prey)"
        raise DatasetError("; ".join([f"{path} is of no known format: {', '.join(REGISTRY)}", *doubts, own]))
    lines = [f"{path} is {name}: {holds}" for name, holds in found.items()]
    if len(found) > 1:
        return [*lines, "name the format that is meant: dataset.py import FORMAT SRC -o OUT", *doubts]
    return [*lines, *_outcome(next(iter(found)), path), *doubts]


def source_path(text: str, key: str) -> Path:
    """The path that a word of the command line names. Raises DatasetError where nothing is there."""
    path = user_path(text, key, folder=True)
    if not path.exists():
        raise DatasetError(f"there is no file or folder {path}; give the path of what is to be imported")
    return path


def _outcome(name: str, path: Path) -> list[str]:
    """What an import of the data would write, as far as their headers tell."""
    try:
        source = REGISTRY[name].open(path, {})
    except UserError as error:
        return [f"an import needs more: {error}"]
    card = source.card
    environment = card.get("environment") or {"env": None}
    env = environment.get("env") or "none (state it with --env and --env-args)"
    arguments = json.dumps(environment.get("env_args") or {}, default=str)
    return [
        f"environment: {env} {arguments}; {card.get('action_space')} actions; "
        f"behaviour: {card.get('behaviour', 'unknown')}; quality: {card.get('quality', 'unknown')}",
        *source.notes,
        "a probe reads headers and samples; all values (NaN, an action out of range) are checked by the import",
        f"import it with: python src/dataset.py import {name} {shlex.quote(str(path))} -o OUT",
    ]


def _environment(card: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The environment that the options state. Raises DatasetError where the data state one themselves."""
    there = (card.get("environment") or {}).get("env")
    if there is not None:
        raise DatasetError(f"--env: these data are of the environment {there}; leave --env and --env-args out")
    if options.get("env") is None:
        raise DatasetError("--env-args has no meaning without --env; name the environment too")
    try:
        arguments = json.loads(options.get("env_args") or "{}")
    except (ValueError, RecursionError) as error:
        raise DatasetError(f'--env-args is no JSON ({error}); write it as \'{{"key": "..."}}\'') from error
    if not isinstance(arguments, dict):
        raise DatasetError('--env-args must be a mapping in JSON, such as \'{"key": "..."}\'')
    from envs import REGISTRY as ENVIRONMENTS  # names only; no simulator is imported

    if options["env"] not in {*ENVIRONMENTS, *_OF_STOCK}:
        raise DatasetError(
            f"--env: '{options['env']}' is no environment; {nearest(str(options['env']), {*ENVIRONMENTS, *_OF_STOCK})} "
            "(one of Gymnasium's or PettingZoo's is gymma, with its key in --env-args); leave --env out for another"
        )
    return {"env": options["env"], "env_args": arguments}
