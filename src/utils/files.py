"""Files that survive a power cut."""

import os
from pathlib import Path


def flush_to_disk(path: Path) -> None:
    """Make the kernel write a file or directory entry out now, so that a rename after it never shows less."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
