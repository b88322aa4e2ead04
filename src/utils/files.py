"""Checks that a folder can be written to, and writes that survive a power cut."""

import os
import tempfile
from pathlib import Path

from utils.errors import ConfigError


def flush_to_disk(path: Path) -> None:
    """Make the kernel write a file or directory to disk now, before it is renamed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(folder: Path, key: str) -> None:
    """Make `folder` and test that it can be written to, before work whose result goes there.

    Raises ConfigError, naming the configuration's `key`, where it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"{key}: nothing can be written to {folder} ({error.strerror}); choose another place"
        ) from error
