"""Inputs for the readers of checkpoints: damaged files, odd places, other states and weights, false archives."""

from __future__ import annotations

import atexit
import functools
import io
import json
import os
import pickle
import random
import shutil
import tempfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch as th

from datasets.sources.xor import generate_xor
from tests.robustness.damage import BYTES, PickledCanary, edited, misplaced, text, value
from tests.robustness.harness import Call, Generator, Target, ask
from tests.robustness.readers import TINY
from utils.description import CHECKSUM, checksum

RUN = ("--config=bc_discrete", "--env-config=matrix_game", "with", *TINY[1:])
STATE = "train_state.th"


@functools.cache
def base() -> Path:
    """A folder with a dataset and the checkpoints of a run on it; it is there until this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="robustness-base-"))
    atexit.register(shutil.rmtree, folder)
    generate_xor("AB,BA", folder / "xor.h5", episodes=4)
    words = ("-u", *RUN[:-1], "save_model=True", "save_model_interval=1", "t_max=2", "test_interval=100",
             f"dataset={folder / 'xor.h5'}", f"local_results_path={folder / 'results'}")  # fmt: skip
    outcome = ask(Call("main", words), folder)
    assert outcome.code == 0, outcome.err
    (models,) = (folder / "results" / "models").iterdir()
    models.rename(folder / "run")
    return folder


def put_sound(folder: Path) -> Path:
    """The run's folder of steps."""
    return Path(shutil.copytree(base() / "run", folder / "run"))


def newest(run: Path) -> Path:
    steps = [path for path in run.iterdir() if path.name.isascii() and path.name.isdigit()]
    return max(steps, key=lambda path: int(path.name))


def described(rng: random.Random, folder: Path) -> list[Call]:
    """A run's description with other values, from which a command without `--config` takes everything."""
    run = put_sound(folder)
    description = json.loads((run / "run.json").read_text())
    key = rng.choice(sorted(description))
    part = {key: description.pop(key)}
    description |= edited(rng, part)
    if CHECKSUM in description:  # one that fits, so that the values are looked at
        description[CHECKSUM] = checksum(description)
    (run / "run.json").write_text(json.dumps(description))
    return uses(rng, folder, str(run))


def uses(rng: random.Random, folder: Path, path: str = "", **limits: Any) -> list[Call]:
    """Continued or evaluated, by the path of the run or of the step."""
    run = folder / "run"
    path = path or str(rng.choice((run, run, newest(run) if run.is_dir() and not limits else run)))
    own = (f"checkpoint_path={path!r}", f"dataset={base() / 'xor.h5'}", f"local_results_path={folder / 'results'}")
    ways = (("t_max=3", "test_interval=100"), ("evaluate=True",))
    configured = RUN if rng.random() < 0.5 else ("with", "test_nepisode=4", "batch_size_run=4", "save_model=False")
    words = ("-u", *configured, *own, *rng.choice(ways))
    remains = ("run/3.writing", "run/.3.writing")  # a run that continues clears what killed writers left
    return [Call("main", words, writes=("results", *remains), keeps=("results/", *remains), **limits)]


def some_file(rng: random.Random, folder: Path) -> Path:
    files = sorted(newest(put_sound(folder)).iterdir())
    return rng.choice([*files, newest(folder / "run") / STATE, folder / "run" / "run.json"])


def damaged(change: Callable[[random.Random, bytes], bytes]) -> Generator:
    def generate(rng: random.Random, folder: Path) -> list[Call]:
        path = some_file(rng, folder)
        path.write_bytes(change(rng, path.read_bytes()))
        return uses(rng, folder)

    return generate


def elsewhere(rng: random.Random, folder: Path) -> list[Call]:
    path = some_file(rng, folder)
    place = rng.choice((path, path, path, newest(folder / "run"), folder / "run"))
    return uses(rng, folder, str(folder / "run"), unprivileged=misplaced(rng, place))


def steps(rng: random.Random, folder: Path) -> list[Call]:
    """Names of step folders, and things that are none."""
    run = put_sound(folder)
    for _ in range(rng.choice((1, 2))):
        name = rng.choice(
            ("²", "٣", "-1", "1e3", "007", "9" * 200, "3.writing", ".3.writing", " 4", "a\x1b[2J", "x\ny")
        )
        kind = rng.randrange(4)
        place = run / name
        if place.exists() or place.is_symlink():
            continue
        if kind == 0:
            place.mkdir()
        elif kind == 1:
            place.write_bytes(b"")
        elif kind == 2:
            os.mkfifo(place)
        else:
            newest(run).rename(place)
            if not any(path.name.isascii() and path.name.isdigit() for path in run.iterdir()):
                break
    path = str(rng.choice((run, run, *run.iterdir())))
    return uses(rng, folder, path)


def names(rng: random.Random, folder: Path) -> list[Call]:
    """Paths that lead nowhere, and steps that there are not."""
    run = put_sound(folder)
    if rng.random() < 0.5:
        return uses(rng, folder, text(rng).replace("\0", "") or "x")
    (call,) = uses(rng, folder, str(run))
    step = rng.choice(("1", "2", "10**9", "-1", "1.5", "None", "True", "1e999", "'1'", "99999999999999999999999"))
    return [Call("main", (*call.arguments, f"load_step={step}"), writes=call.writes, keeps=call.keeps)]


# -- what the files hold ----------------------------------------------------------------------------------------------


def unlisted(step: Path) -> None:
    """Take away what vouches for the files, as in checkpoints that were written before there was such a thing."""
    for path in step.iterdir():
        if path.suffix != ".th":
            path.unlink()


def content(rng: random.Random, folder: Path) -> list[Call]:
    """A state, weights or an optimiser of other kinds and sizes, in a sound archive."""
    step = newest(put_sound(folder))
    unlisted(step)
    path = rng.choice(sorted(step.glob("*.th")))
    state = th.load(path, weights_only=True)
    if rng.random() < 0.1:
        state = value(rng)
    else:
        edited(rng, state, lambda source: tensor(source) if source.random() < 0.5 else value(source))
    if isinstance(state, OrderedDict):
        state = OrderedDict(state)
    th.save(state, path)
    return uses(rng, folder)


def tensor(rng: random.Random) -> th.Tensor:
    """Tensors of odd types, sizes and values; some say that they are larger than what is stored."""
    kinds: list[Callable[[], th.Tensor]] = [
        lambda: th.zeros(0), lambda: th.zeros(()), lambda: th.full((3,), float("nan")), lambda: th.ones(2, 3),
        lambda: th.zeros(4, dtype=th.complex64), lambda: th.zeros(5, dtype=th.uint8), lambda: th.zeros(2).bool(),
        lambda: th.zeros(1).expand(10**9), lambda: th.zeros(1, 1).expand(10**5, 10**5), lambda: th.zeros(2).half(),
        lambda: th.sparse_coo_tensor(th.tensor([[0]]), th.tensor([1.0]), (10**9,), check_invariants=True),
        lambda: th.zeros(7).double(),
        lambda: th.full((4, 4), 1e38), lambda: th.zeros(3, requires_grad=True), lambda: th.zeros(2, device="meta"),
        lambda: th.quantize_per_tensor(th.zeros(2), 0.1, 0, th.qint8), lambda: th.zeros(5056, dtype=th.uint8),
    ]  # fmt: skip
    return rng.choice(kinds)()


def archive(rng: random.Random, folder: Path) -> list[Call]:
    """A zip archive with entries that are missing, doubled, renamed, of other sizes, or squeezed."""
    step = newest(put_sound(folder))
    unlisted(step)
    path = rng.choice(sorted(step.glob("*.th")))
    with zipfile.ZipFile(path) as file:
        entries = [(info.filename, file.read(info)) for info in file.infolist()]
    index = rng.randrange(len(entries))
    name, data = entries[index]
    kind = rng.randrange(8)
    if kind == 0:
        del entries[index]
    elif kind == 1:
        entries.append((rng.choice(("../../canary", "/tmp/canary", name, f"{name}x", "archive/data/99")), data))
    elif kind == 2:
        entries[index] = (rng.choice(("archive/data.pkl", "x", "../x", name.upper(), "a\x1b[2J")), data)
    elif kind == 3:
        entries[index] = (
            name,
            rng.choice((b"", data + data, data[: len(data) // 2], rng.randbytes(64), PickledCanary)),
        )
    elif kind == 4:
        entries = [(each, PickledCanary if each.endswith("data.pkl") else data) for each, data in entries]
    elif kind == 5:
        entries[index] = (name, data + bytes(10**8))
    elif kind == 6:
        entries = entries[::-1]
    else:
        entries = [(each.replace("/", "\\"), data) for each, data in entries]
    squeezed = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    if kind == 5:
        squeezed = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", squeezed) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of doubled names, which are meant
        for each, data in entries:
            file.writestr(each, data)
    return uses(rng, folder)


class Command:
    """An object that runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary",)


def pickles(rng: random.Random, folder: Path) -> list[Call]:
    """Files that would run a command, were they unpickled."""
    step = newest(put_sound(folder))
    if rng.random() < 0.7:
        unlisted(step)
    path = rng.choice(sorted(step.glob("*.th")))
    state = th.load(path, weights_only=True)
    stream = io.BytesIO()
    kind = rng.randrange(5)
    if kind == 0:
        pickle.dump(Command(), stream)
    elif kind == 1:
        pickle.dump({"t": Command()}, stream, protocol=rng.choice((0, 2, 4, 5)))
    else:
        if isinstance(state, dict) and kind < 4:
            state[rng.choice(sorted(map(str, state)))] = Command()
        else:
            state = [Command()]
        th.save(state, stream, _use_new_zipfile_serialization=rng.random() < 0.7)
    path.write_bytes(stream.getvalue())
    return uses(rng, folder)


CHECKPOINTS = Target(
    "checkpoint",
    {**{name: damaged(change) for name, change in BYTES.items()}, "places": elsewhere, "steps": steps, "names": names,
     "description": described, "content": content, "archive": archive, "pickles": pickles},
)  # fmt: skip
