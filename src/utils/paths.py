"""Paths and names that users give: the one place that resolves them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.errors import ConfigError, cause, shown
from utils.redact import redacted

CHECKOUT = Path(__file__).resolve().parents[2]
LONGEST_NAME = 100  # bytes of a folder's name, and of a run's: file names are made of several of them
_ROOM = 32  # bytes that a temporary name beside a file is longer than its own
_LONGEST_FILE = 255 - _ROOM
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def user_path(text: Any, key: str, folder: bool = False, written: bool = False) -> Path:
    """The path that a user gives under `key` (a configuration's key or a flag), with `~` resolved.

    Nothing needs to be there. folder: it names a folder, so `.` and `..` have a meaning. written: a file is to be made.
    Raises ConfigError for text that cannot be a path, for the address of a server where something is to be made, for an
    unknown user, and where the system refuses to look.
    """
    if not isinstance(text, str | Path):
        raise ConfigError(f"{key}={shown(text)}: this must be a path, as text")
    text = str(text)
    if not text.strip():
        raise ConfigError(f"{key}= is empty; give a path")
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text):
        raise ConfigError(f"{key}={shown(text)}: a path must not hold control characters; choose another name")
    if not is_unicode(text):
        raise ConfigError(f"{key}={shown(text)}: this path is not UTF-8 text; rename the file")
    if not folder and not text.strip("./"):
        raise ConfigError(f"{key}={shown(text)}: this names no file; give one")
    if (folder or written) and _ADDRESS.match(text):
        raise ConfigError(
            f"{key}={shown(redacted(text))}: this is an address, where a path is needed; a MongoDB's address follows -m"
        )
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{key}={shown(text)}: there is no such user here; write the whole path") from error
    if written and len(os.fsencode(path.name)) > _LONGEST_FILE:
        raise ConfigError(f"{key}={shown(text)}: the name is longer than {_LONGEST_FILE} bytes; choose a shorter one")
    return reachable(path, key)


def reachable(path: Path, key: str) -> Path:
    """Return `path`, which may not exist. Raises ConfigError where the system refuses to look: no permission, a name
    that is too long, links in a circle.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return path  # who needs it says that it is missing
    except OSError as error:
        raise ConfigError(f"{key}={shown(path)}: {cause(error)}; choose another path") from error
    return path


def place_of(config: Mapping[str, Any]) -> str:
    """What a run's records are filed under: the environment, by its key where it has one, else the dataset's name."""
    env_args = config["env_args"]
    name = env_args.get("map_name", env_args.get("key", config["env"]))
    return str(Path(str(config["dataset"])).stem if name is None else name)


def results_folder(text: str) -> Path:
    """The folder of all records, which the key `local_results_path` gives relative to the checkout."""
    return CHECKOUT / user_path(text, "local_results_path", folder=True)


def folder_name(text: str) -> str:
    """`text`, such as an environment's key, as a folder's name, or as one within another where it has slashes.

    It never leads out of the folder that it is put in: empty parts and those of dots alone are left out, characters
    that cannot be printed are replaced, long parts cut.
    """
    parts = [_cut(re.sub(r"[^\S ]|[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "-", part)) for part in text.split("/")]
    return "/".join(part for part in parts if part.strip(". ")) or "unnamed"


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: bytes of other encodings on a command line cannot."""
    return not any(0xD800 <= ord(char) < 0xE000 for char in text)


def _cut(name: str) -> str:
    return name.encode("utf-8", "replace")[:LONGEST_NAME].decode("utf-8", "ignore")
