"""Versions of the code and the packages that made a result."""

import importlib.metadata
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commit() -> str | None:
    """Commit of the checkout, with `+changes` where files differ from it; None outside a git checkout."""
    try:
        top, head, changed = (
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "--show-toplevel"], ["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    if Path(top).resolve() != ROOT:  # a copy of the code inside another repository
        return None
    return head + ("+changes" if changed else "")


def installed(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of the packages, without those that are not installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
