"""Inputs for `track.py push`: directories of finished runs, damaged in bytes, places and values."""

from __future__ import annotations

import atexit
import functools
import json
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets.sources.xor import generate_xor
from tests.robustness.checkpoints import RUN
from tests.robustness.damage import BYTES, edited, misplaced, text
from tests.robustness.harness import Call, Generator, Target, ask

DOCUMENTS = ("run.json", "config.json", "info.json", "metrics.json")
ADDRESS = "localhost:27017:sacred"


@functools.cache
def base() -> Path:
    """A finished run's directory and the sources beside it; there until this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="robustness-base-"))
    atexit.register(shutil.rmtree, folder)
    generate_xor("AB,BA", folder / "xor.h5", episodes=4)
    words = (*RUN, "t_max=2", "test_interval=1", f"dataset={folder / 'xor.h5'}", f"local_results_path={folder}")
    outcome = ask(Call("main", words), folder)
    assert outcome.code == 0, outcome.err
    (run,) = folder.glob("sacred/*/*/1")
    return run.parent


def put_run(folder: Path) -> Path:
    """A copy; returns the run's directory."""
    return Path(shutil.copytree(base(), folder / "runs")) / "1"


def pushed(path: Path | str, **limits: Any) -> list[Call]:
    return [Call("push", ("push", str(path), "-m", ADDRESS), **limits)]


def some_file(rng: random.Random, run: Path) -> Path:
    """A document of the run most times, else any of its files or sources."""
    files = sorted(path for path in run.parent.rglob("*") if path.is_file())
    return rng.choice([*(run / name for name in DOCUMENTS), run / "cout.txt", rng.choice(files)])


def damaged(change: Callable[[random.Random, bytes], bytes]) -> Generator:
    def generate(rng: random.Random, folder: Path) -> list[Call]:
        run = put_run(folder)
        path = some_file(rng, run)
        path.write_bytes(change(rng, path.read_bytes() or b"\n"))
        return pushed(run)

    return generate


def elsewhere(rng: random.Random, folder: Path) -> list[Call]:
    run = put_run(folder)
    place = rng.choice((some_file(rng, run), some_file(rng, run), run, run.parent / "_sources"))
    return pushed(run, unprivileged=misplaced(rng, place))


def documents(rng: random.Random, folder: Path) -> list[Call]:
    """Values of other kinds and sizes in one of the documents."""
    run = put_run(folder)
    path = run / rng.choice(DOCUMENTS)
    content = json.loads(path.read_text())
    if rng.random() < 0.5:  # of an entry of its own, as lists of sources and times have most of the places
        key = rng.choice(sorted(content))
        content |= edited(rng, {key: content.pop(key)})
    else:
        edited(rng, content)
    path.write_text(json.dumps(content))
    return pushed(run)


def names(rng: random.Random, folder: Path) -> list[Call]:
    """Paths that lead nowhere, and files that the run names elsewhere."""
    run = put_run(folder)
    if rng.random() < 0.5:
        name = text(rng).replace("\0", "") or "."
        return pushed(f"./{name}" if name.startswith("-") else name)
    entry = json.loads((run / "run.json").read_text())
    odd = rng.choice(("../../secret", "/etc/passwd", "..", ".", "", "x" * 5000, "a\0b", "~", text(rng)))
    if rng.random() < 0.5:
        entry["artifacts"].append(odd)
    else:
        entry["experiment"]["sources"].append([odd, odd])
    (run / "run.json").write_text(json.dumps(entry))
    return pushed(run)


def sound_runs(rng: random.Random, folder: Path) -> list[Call]:
    return pushed(put_run(folder))


RUNS = Target(
    "finished run",
    {**{name: damaged(change) for name, change in BYTES.items()}, "places": elsewhere, "documents": documents,
     "names": names},
)  # fmt: skip
