"""Errors that a user can fix. The message is one sentence that names the key or file at fault and the remedy."""

import difflib
from collections.abc import Iterable

MOST_LISTED = 20  # longest list of known words in a message


class UserError(Exception):
    """Bad input; `main.py` prints the message as one line and exits with status 1."""


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


def close_matches(word: str, known: Iterable[str], n: int = 1, cutoff: float = 0.5) -> list[str]:
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
