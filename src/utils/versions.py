"""Versions of the code and the packages that made a result."""

import functools
import importlib.metadata
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Packages whose version can change what an environment does.
SIMULATORS = ("mpe2", "pettingzoo", "gymnasium", "gymnasium-robotics", "mujoco", "lbforaging", "numpy")


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


def code_state() -> dict[str, str | bool | None]:
    """Commit of the checkout, and whether files differed from it (`dirty`); "unknown" and None outside a checkout."""
    found = commit()
    if found is None:
        return {"commit": "unknown", "dirty": None}
    head, sign, _ = found.partition("+")
    return {"commit": head, "dirty": bool(sign)}


def changed_files() -> list[str] | None:
    """Files of the checkout that git knows and that differ from its commit; None outside a git checkout."""
    if commit() is None:
        return None
    words = ["git", "status", "--porcelain", "--untracked-files=no"]
    status = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, errors="replace", check=True)
    return [line[3:] for line in status.stdout.splitlines()]


@functools.cache
def _version(package: str) -> str:
    return importlib.metadata.version(package)


def installed(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of the packages, without those that are not installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = _version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def _owners() -> Mapping[str, list[str]]:
    """The installed packages that each top-level module belongs to; to find them takes a quarter of a second."""
    return importlib.metadata.packages_distributions()


def packages_of(module: str) -> tuple[str, ...]:
    """Names of the installed packages that a top-level module belongs to; empty where it belongs to none."""
    return tuple(sorted(set(_owners().get(module, ()))))


def installed_imports() -> dict[str, str]:
    """Versions of every installed package of which something is imported, and of Python."""
    imported = {name.partition(".")[0] for name in sys.modules}
    owners = _owners()
    packages = {package for name in imported for package in owners.get(name, ())}
    return {"python": sys.version.split()[0], **installed(tuple(sorted(packages)))}
