"""Errors that a user can fix. The message is one sentence that names the key or file at fault and the remedy."""

import difflib
from collections.abc import Iterable
from typing import Any

from utils.redact import redacted

MOST_LISTED = 20  # longest list of known words in a message
LONGEST_VALUE = 80  # characters of a value that a message shows
LONGEST_ERROR = 300  # characters of another library's error


class UserError(Exception):
    """Bad input; `main.py` prints the message as one line and exits with status 1.

    The message is made one line without control characters and without credentials, whatever it quotes.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(redacted(printable(str(message))))


class ConfigError(UserError):
    """A configuration key, name or combination that is not allowed."""


class DatasetError(UserError):
    """A dataset file that is missing, damaged or does not fit the run."""


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged or belongs to another run."""


class EnvError(UserError):
    """An environment that is unknown, not installed or does not fit the run."""


class TrainingError(UserError):
    """Training that cannot go on, such as a non-finite loss."""


class PolicyError(UserError):
    """Something that a loaded policy cannot take, or a policy that cannot be exported or filmed."""


class OutputError(UserError):
    """A file or folder that cannot be written: a full disk, a missing permission, a folder that vanished."""


def printable(text: str) -> str:
    """`text` in one line without control characters, so that a file's content cannot steer a terminal."""
    return "".join(char if char.isprintable() else " " if char.isspace() else repr(char)[1:-1] for char in text)


def one_line(error: object, part: slice = slice(LONGEST_ERROR)) -> str:
    """Part of what another library says in an error or warning, in one line without control characters."""
    return printable(" ".join(str(error).split()))[part]


def shown(value: Any) -> str:
    """A value for a message: as `str` writes it, in one line and not too long."""
    if isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to write the longest ones
        return f"a number of {value.bit_length()} bits"
    try:
        text = printable(str(value))
    except (ValueError, RecursionError):  # a list that holds such a number, or itself
        text = f"a {type(value).__name__}"
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def cause(error: OSError) -> str:
    """The operating system's own words for an error, such as "no space left on device"."""
    words = error.strerror or str(error) or type(error).__name__
    return words[:1].lower() + words[1:]


def close_matches(word: str, known: Iterable[str], n: int = 1, cutoff: float = 0.6) -> list[str]:
    """At most `n` known words similar to `word`, the most similar first; cutoff: from 0 (any) to 1 (equal)."""
    return difflib.get_close_matches(word, list(known), n=n, cutoff=cutoff)


def nearest(word: str, known: Iterable[str]) -> str:
    """End of a message about an unknown word: the most similar known word, and all of them where they are few."""
    names = sorted(known)
    close = close_matches(word, names)
    if len(names) > MOST_LISTED:
        return f"did you mean '{close[0]}'?" if close else "nothing similar is known"
    listed = ", ".join(names)
    return f"did you mean '{close[0]}'? Known: {listed}" if close else f"known: {listed}"
