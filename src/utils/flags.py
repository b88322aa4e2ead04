"""Values of Sacred's flags, checked before a run exists, and the observers that flags ask for."""

from __future__ import annotations

import importlib.util
import logging
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from utils.errors import ConfigError, cause, shown
from utils.files import check_writable
from utils.observers import RunDirectoryObserver
from utils.paths import LONGEST_NAME, user_path
from utils.redact import redacted
from utils.versions import changed_files

FOR_SACRED = ("--sql", "--s3", "--tiny_db")  # flags whose observers Sacred makes
TAKEN_OVER = ("--mongo_db", "--file_storage", *FOR_SACRED)  # flags of which Sacred itself is told nothing
# Packages that an observer needs, which come with no part of this program.
PACKAGES = {
    "--sql": ("sqlalchemy",),
    "--s3": ("boto3",),
    "--tiny_db": ("tinydb", "tinydb_serialization", "hashfs"),
}
CAPTURES = ("no", "sys", "fd")
LONGEST_BEAT = 10**6  # seconds


def checked_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags, by their long names, as Sacred takes them. Raises ConfigError for a value that cannot work."""
    checks: dict[str, Callable[[str], Any]] = {
        "--loglevel": _log_level,
        "--beat-interval": _beat,
        "--priority": _priority,
        "--capture": _capture,
        "--id": _run_id,
        "--enforce_clean": _clean,
        "--comment": _text("--comment"),
        "--name": _text("--name"),
    }
    return {flag: checks[flag](value) if flag in checks else value for flag, value in flags.items()}


def flag_observers(flags: Mapping[str, Any], options: Mapping[str, Any]) -> list[Any]:
    """The observers that -F, -s, -S and -t ask for.

    options: Sacred's own options by their long names, which make the observers that are not files of a folder. Raises
    ConfigError where a package is missing, and where a place cannot be used.
    """
    found = []
    for flag in FOR_SACRED:
        if flag in flags:
            found.append(_sacreds_own(flag, flags[flag], options[flag]))
    if "--file_storage" in flags:
        folder = user_path(flags["--file_storage"], "-F", folder=True)
        check_writable(folder, "-F")
        found.append(RunDirectoryObserver(str(folder)))
    return found


def _sacreds_own(flag: str, value: str, option: Any) -> Any:
    short = option.get_short_flag()
    missing = [package for package in PACKAGES[flag] if importlib.util.find_spec(package) is None]
    if missing:
        raise ConfigError(
            f"{short} ({flag}) needs the package {missing[0]}, which is not installed; leave out the flag"
        )
    if flag == "--tiny_db":
        check_writable(user_path(value, short, folder=True), short)
    run = SimpleNamespace(observers=[])
    try:
        option.apply(value, run)
    except Exception as error:  # whatever a database's client raises: the flag's value is at fault, no run exists yet
        reason = cause(error) if isinstance(error, OSError) else f"{type(error).__name__}: {str(error)[:200]}"
        raise ConfigError(f"{short} {shown(redacted(value))}: this cannot record a run ({reason})") from error
    return run.observers[0]


def _log_level(value: str) -> Any:
    names = logging.getLevelNamesMapping()
    if value.upper() in names:
        return value.upper()
    if re.fullmatch(r"\d{1,3}", value, re.ASCII):
        return value
    raise ConfigError(
        f"-l {shown(value)}: there is no such level; give DEBUG, INFO, WARNING, ERROR, CRITICAL or a number from 0 "
        "to 50"
    )


def _number(flag: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{flag} {shown(value)}: this must be a number")
    return number


def _beat(value: str) -> str:
    if not 0 < _number("-b", value) <= LONGEST_BEAT:
        raise ConfigError(
            f"-b {shown(value)}: the heartbeat's interval must be above 0 and at most {LONGEST_BEAT} seconds"
        )
    return value


def _priority(value: str) -> str:
    _number("-P", value)
    return value


def _capture(value: str) -> str:
    if value not in CAPTURES:
        raise ConfigError(f"-C {shown(value)}: choose one of {', '.join(CAPTURES)}")
    return value


def _run_id(value: str) -> str:
    """Return a run's id, which names its directory."""
    if len(value) > LONGEST_NAME or not re.fullmatch(r"\w[\w.+-]*", value):
        raise ConfigError(f"-i {shown(value)}: a run's directory has this name; use letters, digits, - and _")
    return value


def _clean(value: Any) -> Any:
    changed = changed_files()
    if changed is None:
        raise ConfigError("-e needs a git checkout, which this is not; leave it out")
    if changed:
        raise ConfigError(f"-e: {changed[0]} differs from the commit; commit it, or leave out -e")
    return value


def _text(flag: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if "\0" in value:
            raise ConfigError(f"{flag}={shown(value)}: leave out the zero byte")
        return value

    return check


def config_file(name: Any) -> Path:
    """The file that `save_config` writes. Raises ConfigError for one that it cannot write."""
    path = user_path(name, "config_filename", written=True)
    if path.suffix not in (".json", ".yaml", ".yml"):
        raise ConfigError(f"config_filename={shown(name)}: the name must end in .json or .yaml")
    if path.is_dir():
        raise ConfigError(f"config_filename={shown(name)}: this is a folder; name a file")
    check_writable(path.parent, "config_filename")
    return path
