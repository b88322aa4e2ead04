"""A run's description: `run.json` beside its checkpoints says what ran, so that nothing need be said again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.documents import DocumentKind
from utils.errors import CheckpointError, cause
from utils.files import writing_file

FILE = "run.json"
FORMAT, VERSION = "epymarl-offline run", 1
ADVICE = (
    "restore it, or write it anew: python src/policy.py describe RUN --force --config=... --env-config=... with "
    "seed=... and the run's other overrides"
)
CHECKSUM = "checksum"
_LARGEST = 1 << 25  # bytes; a card with the moments of wide observations takes a few hundred thousand
_KIND = DocumentKind("run description", FORMAT, VERSION, "format_version", _LARGEST, ADVICE, CheckpointError)
# Entries that readers rely on, with their types. An entry whose type is a tuple may be null.
_ENTRIES: dict[str, type | tuple[type, None]] = {
    "name": str, "algorithm": str, "config": dict, "env_info": dict, "scheme": dict, "dataset": (dict, None),
    "environment": (dict, None), "input_statistics": str, "code": dict, "versions": dict, "sacred": dict,
    "continues": (str, None),
}  # fmt: skip
_LATER: dict[str, Any] = {"given": {}}  # entries that earlier commits of 0.2.0 did not write, with what stands for them


def write_description(folder: Path, description: dict[str, Any]) -> Path:
    """Write `run.json` into a run's model folder, whole or not at all; returns its path.

    Raises OSError where the folder cannot be written.
    """
    path = folder / FILE
    content = {"format": FORMAT, "format_version": VERSION, **description}
    content[CHECKSUM] = checksum(content)
    with writing_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def find_description(directory: Path) -> Path | None:
    """The description of a run's model folder, or of the run that a step directory belongs to; None without one.

    Checkpoints of earlier releases and of stock EPyMARL have none. Raises CheckpointError where the folder may not be
    looked into.
    """
    for folder in (directory, directory.parent) if directory.name.isdigit() else (directory,):
        try:
            (folder / FILE).lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise CheckpointError(f"{folder} cannot be looked into ({cause(error)}); change its permissions") from error
        return folder / FILE
    return None


def read_description(path: Path) -> dict[str, Any]:
    """What `write_description` wrote.

    Raises CheckpointError, in one sentence, for a file that is damaged, of another program or of a later release.
    """
    content = _KIND.read(path)
    if CHECKSUM in content and content[CHECKSUM] != checksum(content):  # earlier releases wrote none
        raise CheckpointError(f"{path} is damaged or was edited (its content does not match its checksum); {ADVICE}")
    for key, absent in _LATER.items():
        if not isinstance(content.get(key, absent), type(absent)):
            raise CheckpointError(f"{path}: its entry '{key}' is no {type(absent).__name__}; {ADVICE}")
    for key, kind in _ENTRIES.items():
        expected, null = (kind[0], True) if isinstance(kind, tuple) else (kind, False)
        value = content.get(key)
        if key not in content or not (isinstance(value, expected) or (null and value is None)):
            raise CheckpointError(f"{path}: its entry '{key}' is missing or no {expected.__name__}; {ADVICE}")
    return content


def checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of all entries of a description but the checksum itself."""
    rest = {key: value for key, value in content.items() if key != CHECKSUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode("ascii")).hexdigest()


def plain_values(value: Any) -> Any:
    """Nested containers and NumPy's numbers as JSON has them."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain_values(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(entry) for entry in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
