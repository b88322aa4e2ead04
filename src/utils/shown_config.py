"""A configuration for people: each key that the algorithm reads, with its comment from the YAML files."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from utils.config import CONFIG, SOURCE, Config, algorithm_files, algorithm_path
from utils.errors import UserError, printable
from utils.keys import Keys, is_read
from utils.known_keys import keys_in_code
from utils.redact import redacted
from utils.run_keys import ACTIONS, OF_EVALUATIONS, OF_PLAY, OF_TRAINING, READ_BY_LEARNERS, RUN_KEYS
from utils.settings_files import read_text

WIDTH = 100  # of a line, where a value is not longer
_LINE = re.compile(r"^( *)([A-Za-z_]\w*):(.*?)(?: # (.*))?$")


def comments(alg: str | None, env: str | None) -> dict[str, str]:
    """The comment of each key in the YAML files, `env_args.key` among them; the highest layer has the last word.

    alg, env: names of the files, None where there is none. Raises ConfigError for a file that cannot be read.
    """
    files = [CONFIG / "default.yaml"]
    files += [CONFIG / "envs" / f"{env}.yaml"] if (CONFIG / "envs" / f"{env}.yaml").is_file() else []
    files += [] if alg is None else [algorithm_path(name) for name in algorithm_files(alg)]
    found: dict[str, str] = {}
    for file in files:
        owner = ""
        for line in read_text(file).splitlines():
            match = _LINE.match(line)
            if match is None:
                continue
            indent, key, value, comment = match.groups()
            owner = owner if indent else key
            name = f"{owner}.{key}" if indent else key
            if comment:
                found[name] = comment
    return found


def keys_read(config: Mapping[str, Any], own: Keys) -> list[str]:
    """The keys of a configuration that its run reads, in their order.

    own: what its learner declares. A learner without declarations, such as stock EPyMARL's, may read any key. Where
    `agent_output_type` leaves the kind of actions open, the keys of both kinds count.
    """
    idle = _idle(config, own)
    if config["learner"] is not None and not own:
        return [key for key in config if key not in idle]
    declared = {**{key: RUN_KEYS[key] for key in RUN_KEYS if key not in READ_BY_LEARNERS}, **own}
    actions = ACTIONS.get(config.get("agent_output_type", ""))
    return [key for key in config if key in declared and key not in idle and is_read(key, config, declared, actions)]


def _idle(config: Mapping[str, Any], own: Keys) -> frozenset[str]:
    """Keys that a collection or an evaluation leaves alone, as it trains nothing, and a run that plays nowhere.

    own: what its learner declares.
    """
    if not config.get("collect") and not config.get("evaluate"):
        return OF_PLAY if config.get("env") is None else frozenset()
    learners = {key for key, declared in own.items() if key not in RUN_KEYS and not declared.acts}
    return OF_TRAINING | learners | (OF_EVALUATIONS if config.get("collect") else frozenset())


def unread(config: Mapping[str, Any], own: Keys, given: Collection[str]) -> list[str]:
    """The keys among `given` that a run of this configuration does not read; config, own: as of `keys_read`.

    A key that is declared nowhere counts as read where any code reads it, for an agent of one's own may.
    """
    read = keys_read(config, own)
    left = [key for key in given if key not in read]
    if all(key in RUN_KEYS or key in own for key in left):
        return left
    in_code = keys_in_code(SOURCE)
    return [key for key in left if key in RUN_KEYS or key in own or key not in in_code]


def lines(
    config: Config,
    own: Keys,
    files: tuple[str | None, str | None],
    given: Mapping[str, Any],
    resolved: Callable[[], Mapping[str, str]] = dict,
) -> Iterator[str]:
    """A configuration line by line: a key's comment, then `key = value`; values that `given` sets are marked.

    Keys of `given` that the run does not read come last, and say so. own: what the learner declares. files: names of
    the algorithm's and of the environment's file. resolved: gives what keys such as `agent_output_type` become in the
    run; asked once the first line is. Where it raises UserError, the keys of both kinds of actions are shown, and why.
    """
    remarks = comments(*files)
    yield "Configuration (what this run reads; each comment is about the key below it):"
    shown = redacted(config)
    declared = {**RUN_KEYS, **own}
    known = shown
    try:
        known = {**shown, **resolved()}
    except UserError as error:
        yield from _comment(f"keys for continuous and for discrete actions, since the run's are unknown: {error}")
    if "seed" not in shown:
        yield from _comment(f"seed: {RUN_KEYS['seed'].meaning}; none is given, so each run draws its own")
    for key in keys_read(known, own):
        yield from _comment(remarks.get(key, declared[key].meaning if key in declared else ""))
        value = shown[key]
        if not isinstance(value, Mapping) or not value:
            yield _entry(key, value, key in given)
            continue
        yield f"  {key}:"
        for name, entry in value.items():
            yield from _comment(remarks.get(f"{key}.{name}", ""), "    ")
            own_part = given.get(key)
            yield "  " + _entry(name, entry, isinstance(own_part, Mapping) and name in own_part)
    for key in unread(known, own, given):
        yield f"{_entry(key, shown[key], True)}, and not read by this run"


def _entry(key: str, value: Any, is_given: bool) -> str:
    return printable(f"  {key} = {value!r}") + (" # given" if is_given else "")


def _comment(text: str, indent: str = "  ") -> list[str]:
    mark = f"{indent}# "
    return textwrap.wrap(text, WIDTH, initial_indent=mark, subsequent_indent=mark)
