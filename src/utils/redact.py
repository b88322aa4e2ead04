"""Credentials hidden in whatever is recorded or said: the one place that knows what a credential looks like."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "***"
_SECRET = r"(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|credentials?)"
_QUOTED = r"'[^'\n]{0,512}'|\"[^\"\n]{0,512}\""
# Pattern, replacement, and the texts of which one occurs wherever the pattern does: looking for them is much faster.
# All lengths are bounded, so that searching a text takes no longer than its length demands.
_RULES = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement, marks)
    for pattern, replacement, marks in (
        # scheme://user:password@host, and a password that holds / or @; a path has one slash of the two
        (r"\b([a-z][a-z0-9+.-]{0,20}://?[^\s/:@]{0,128}):\S{0,512}@", rf"\1:{HIDDEN}@", ("@",)),
        # https://token@host, as in a git remote's address
        (r"\b(https?://)[^\s/:@]{1,512}@", rf"\1{HIDDEN}@", ("@",)),
        # user:password@host without a scheme
        (r"(?<![\w.%+/:-])([\w.%+-]{1,128}):(?!/)[^\s:@]{1,512}@(?=[\w\[])", rf"\1:{HIDDEN}@", ("@",)),
        # password=..., x.token=..., "secret": "..."
        (
            rf"(?<![\w.-])([\w.-]{{0,64}}{_SECRET})(=|['\"]\s{{0,4}}:\s{{0,4}}(?=['\"]))(?:{_QUOTED}|[^\s'\"&,;}}]{{1,512}})",
            rf"\1\2{HIDDEN}",
            ("passw", "passphrase", "pwd", "secret", "token", "key", "credential"),
        ),
        # what GitHub, GitLab, Slack and AWS give out
        (
            r"\b(?:gh[pousr]_\w{16,255}|github_pat_\w{16,255}|glpat-[\w-]{16,255}|xox[a-z]-[\w-]{10,255}|AKIA[A-Z0-9]{16})",
            HIDDEN,
            ("gh", "glpat-", "xox", "akia"),
        ),
    )
)
_SECRET_KEY = re.compile(rf"(?:.*[_.-])?{_SECRET}", re.IGNORECASE)


def redacted(value: Any) -> Any:
    """`value` with credentials in its texts, and whatever keys such as `password` hold, replaced by `***`.

    Under such a key only None, booleans and an empty text stay, which say that there is none, or whether. Mappings,
    lists and tuples are copied; whatever else is no text in them stays as it is.
    """
    if isinstance(value, str):
        lower = value.lower()
        for pattern, replacement, marks in _RULES:
            if any(mark in lower for mark in marks):
                value = pattern.sub(replacement, value)
        return value
    if isinstance(value, Mapping):
        return {key: HIDDEN if _is_secret(key, inner) else redacted(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        copied = [redacted(inner) for inner in value]
        return tuple(copied) if isinstance(value, tuple) else copied
    return value


def redacted_command(words: Iterable[str]) -> str:
    """A command line as a shell reads it, without credentials, for records."""
    texts = (word.encode("utf-8", "backslashreplace").decode("utf-8") for word in words)
    return shlex.join(map(_redacted_word, texts))


def _redacted_word(word: str) -> str:
    key, sign, value = word.partition("=")
    return f"{key}={HIDDEN}" if sign and _is_secret(key.lstrip("-"), value) else str(redacted(word))


def _is_secret(key: Any, value: Any) -> bool:
    if value is None or isinstance(value, bool) or (isinstance(value, str) and not value):
        return False
    return isinstance(key, str) and _SECRET_KEY.fullmatch(key) is not None
