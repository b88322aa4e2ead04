"""The command line: EPyMARL's --config and --env-config, Sacred's verbs and flags, and `with key=value ...`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from utils.config import Config
from utils.errors import ConfigError, close_matches, nearest, shown
from utils.overrides import overrides
from utils.paths import is_unicode
from utils.run_keys import RUN_KEYS

NAMES = {"--config": "spacql", "--env-config": "mpe"}  # options of EPyMARL, each with an example of its value
HELP = "every flag is listed by --config=ALG --env-config=ENV --help"


@dataclass(frozen=True)
class Flag:
    """One of Sacred's flags. takes_value: whether a value follows it."""

    short: str
    long: str
    takes_value: bool


@dataclass
class Command:
    """A command line as it was read.

    config, env_config: the names given, None where they are not. verb: Sacred's command, None for a run. topic: what
    `help` is asked about. updates: the overrides. words: the overrides as they were written. flags: Sacred's flags, by
    their long names, with their values or True.
    """

    config: str | None = None
    env_config: str | None = None
    verb: str | None = None
    topic: str | None = None
    updates: Config = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    flags: dict[str, Any] = field(default_factory=dict)

    @property
    def asks_for_help(self) -> bool:
        """Whether help is asked for, by a flag or by the verb."""
        return self.verb == "help" or "--help" in self.flags


def parse(argv: Sequence[str], flags: Sequence[Flag], verbs: Collection[str]) -> Command:
    """Read a command line: `main.py [VERB] [flags] [with key=value ...]`, flags at any place.

    Raises ConfigError, with what comes nearest, for a word that has no meaning where it stands.
    """
    command = Command()
    words = list(argv[1:])
    for word in words:
        if not is_unicode(word):
            raise ConfigError(f"'{shown(word)}' on the command line is not UTF-8 text; write it in UTF-8")
    plain: list[str] = []
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            _take_long(command, word, words, flags)
        elif word.startswith("-") and len(word) > 1 and not _is_number(word):
            _take_short(command, word, words, flags)
        elif word:
            plain.append(word)
    before, after = plain, []
    if "with" in plain:
        start = plain.index("with")
        before, after = plain[:start], plain[start + 1 :]
    _take_verb(command, before, {*verbs, "help"})
    command.words, command.updates = after, overrides(after)
    return command


def _take_verb(command: Command, words: list[str], verbs: Collection[str]) -> None:
    for word in words:
        if "=" in word:
            raise ConfigError(f"'{shown(word)}' does not stand after `with`; write: with {shown(word)}")
    if not words:
        return
    command.verb = words[0]
    if command.verb not in verbs:
        raise ConfigError(f"'{shown(command.verb)}' is no verb of this program; {nearest(command.verb, verbs)}")
    rest = words[1:]
    if command.verb == "help" and rest:
        command.topic, rest = rest[0], rest[1:]
        if command.topic not in verbs:
            raise ConfigError(f"help {shown(command.topic)}: there is no such verb; {nearest(command.topic, verbs)}")
    if rest:
        raise ConfigError(f"'{shown(rest[0])}' has no meaning after {command.verb}; overrides follow the word `with`")


def _take_long(command: Command, word: str, words: list[str], flags: Sequence[Flag]) -> None:
    name, sign, value = word.partition("=")
    if name in NAMES:
        attribute = name.lstrip("-").replace("-", "_")
        if not sign:
            raise ConfigError(f"write {name}=NAME with an equals sign, such as {name}={NAMES[name]}")
        if getattr(command, attribute) is not None:
            raise ConfigError(f"{name} is given twice; give it once")
        setattr(command, attribute, value)
        return
    longs = [*NAMES, *(flag.long for flag in flags)]
    fitting = [each for each in longs if each == name] or [each for each in longs if each.startswith(name)]
    if name == "--":
        raise ConfigError("'--' has no meaning on this command line; leave it out")
    if len(fitting) > 1:
        raise ConfigError(f"{shown(name)} may be {' or '.join(fitting[:4])}; write it out; {HELP}")
    if not fitting and name[2:].partition(".")[0] in RUN_KEYS:
        raise ConfigError(f"{shown(word)}: this is a key and no flag; write: with {shown(word[2:])}")
    if not fitting or fitting[0] in NAMES:
        raise ConfigError(f"there is no flag {shown(name)}; {_nearest_flag(name, longs)}")
    flag = next(each for each in flags if each.long == fitting[0])
    if not flag.takes_value:
        if sign:
            raise ConfigError(f"{flag.long}={shown(value)}: this flag takes no value; leave out what follows its name")
        command.flags[flag.long] = True
        return
    _set(command, flag, value if sign else _next(flag.long, words))


def _take_short(command: Command, word: str, words: list[str], flags: Sequence[Flag]) -> None:
    by_letter = {flag.short: flag for flag in flags}
    longs = [*NAMES, *(flag.long for flag in flags)]
    name = f"-{word.partition('=')[0]}"
    meant = [long for long in close_matches(name, longs, cutoff=0.8) if long[2:4] == word[1:3]]
    if meant:  # else `-force` would be -f and `-unobserved` the name "observed"
        raise ConfigError(f"{shown(word)} has one dash; did you mean {meant[0]}?")
    letters = word[1:]
    while letters:
        short, letters = f"-{letters[0]}", letters[1:]
        if short not in by_letter:
            raise ConfigError(f"there is no flag {shown(short)}, as in {shown(word)}; {HELP}")
        flag = by_letter[short]
        if flag.takes_value:
            _set(command, flag, letters or _next(short, words))
            return
        command.flags[flag.long] = True


def _next(name: str, words: list[str]) -> str:
    if not words or words[0] == "--":
        raise ConfigError(f"{name} needs a value, which follows it")
    return words.pop(0)


def _set(command: Command, flag: Flag, value: str) -> None:
    if flag.long in command.flags:
        raise ConfigError(f"{flag.short} ({flag.long}) is given twice; give it once")
    command.flags[flag.long] = value


def _nearest_flag(name: str, longs: Sequence[str]) -> str:
    near = close_matches(name, longs)
    return f"did you mean {near[0]}? ({HELP})" if near else HELP


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
