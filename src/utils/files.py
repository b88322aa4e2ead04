"""Places that can be written to, and files that survive a power cut."""

import os
import tempfile
from pathlib import Path

from utils.errors import ConfigError


def flush_to_disk(path: Path) -> None:
    """Make the kernel write a file or directory entry out now, so that a rename after it never shows less."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(folder: Path, key: str) -> None:
    """Make `folder` and try it, before work is done whose result belongs there.

    Raises ConfigError, naming the configuration's `key`, where nothing can be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"{key}: nothing can be written to {folder} ({error.strerror}); choose another place"
        ) from error
