"""Updates per second of a dataset three times as large as a process's memory limit, against the same in memory.

The limit is on the address space of a process (`ulimit -v`), so that the set can neither be loaded nor mapped: what the
process has taken once its libraries are there, and `--limit` MB on top. The set's arrays take three times those MB.
Under the limit the set is imported, verified, inspected and trained from, by processes of their own. The data are
random, in PyMARL's layout and of the sizes of a large StarCraft map: 8 agents with observations of 150, a state of 200,
14 actions and episodes of 40 steps.

    python benchmarks/larger_than_memory.py [--limit 200] [--algorithm bc_discrete] [--updates 20] [--rounds 5]

An update is one call of `learner.train` on a new batch, on one thread. The process with the set in memory and the one
under the limit take turns, so that both meet the same machine; times are by the wall clock, as waiting for the disk
counts. The cache's files are dropped from the system's page cache before, and what is read stays there while memory is
free. `bc_discrete` has the cheapest updates, so its ratio is the least. Takes four times the set's size of disk space
in the folder for temporary files (TMPDIR), and some minutes.

Prints both rates (medians over rounds) and their ratio; exit status 1 where it is below 0.5 or a step fails.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.command import positive

ROOT = Path(__file__).resolve().parents[1]

TIMES = 3  # the set's size in limits
WANTED = 0.5
N_AGENTS, OBS, STATE, ACTIONS, STEPS = 8, 150, 200, 14, 40
EPISODE_BYTES = (STEPS + 1) * (4 * N_AGENTS * OBS + 4 * STATE + 12 * N_AGENTS + 1 + N_AGENTS * ACTIONS)
BLOCK = 64  # episodes written at once
Process = subprocess.Popen[str]


def write_foreign(path: Path, n_episodes: int) -> None:
    """Write random episodes in PyMARL's layout, most values 0 as those of unseen units are."""
    rng, rows = np.random.default_rng(0), STEPS + 1
    seen = np.zeros((BLOCK, rows, N_AGENTS * OBS + STATE), np.float32)
    seen[..., ::10] = rng.standard_normal(seen[..., ::10].shape, np.float32)
    with h5py.File(path, "w") as file:

        def column(name: str, row: tuple[int, ...], dtype: str) -> Any:
            return file.create_dataset(name, (n_episodes, rows, *row), dtype, chunks=(4, rows, *row))

        obs, state = column("obs", (N_AGENTS, OBS), "f4"), column("state", (STATE,), "f4")
        available, actions = column("avail_actions", (N_AGENTS, ACTIONS), "i4"), column("actions", (N_AGENTS, 1), "i8")
        reward, terminated = column("reward", (1,), "f4"), column("terminated", (1,), "u1")
        filled = column("filled", (1,), "i8")
        for start in range(0, n_episodes, BLOCK):
            count = min(BLOCK, n_episodes - start)
            part = slice(start, start + count)
            block = seen[:count] * np.float32(1 + rng.random())  # no two episodes are the same
            obs[part] = block[..., : N_AGENTS * OBS].reshape(count, rows, N_AGENTS, OBS)
            state[part] = block[..., N_AGENTS * OBS :]
            available[part] = 1
            available[part, :, :, 0] = rng.random((count, rows, N_AGENTS)) < 0.5
            actions[part] = rng.integers(1, ACTIONS, size=(count, rows, N_AGENTS, 1))
            paid = rng.standard_normal((count, rows, 1), np.float32)
            paid[:, -1] = 0  # no step starts from a final row
            reward[part] = paid
            terminated[part] = 0
            filled[part] = 1


def taken() -> int:
    """Bytes of address space that this process has taken."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def command_line(limit: int, *words: str) -> float:
    """Seconds that `dataset.py` takes with these words, under a limit in MB. Ends this program where it fails."""
    started = time.perf_counter()
    command = [sys.executable, __file__, "--limit", str(limit), "--command", *words]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        sys.exit(f"dataset.py {words[0]} failed under the limit: {found.stderr or found.stdout}")
    return time.perf_counter() - started


def limited_command(limit: int, words: list[str]) -> int:
    """Be `dataset.py` with these words under the limit."""
    import dataset

    resource.setrlimit(resource.RLIMIT_AS, (taken() + limit, -1))
    return dataset.main(words)


def drop_pages(folder: Path) -> None:
    """Have the system forget what it keeps in memory of the files in a folder."""
    for path in folder.rglob("*.npy"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def learn(file: str, algorithm_name: str, limit: int, n_updates: int) -> None:
    """Be the process that trains: say how the set is held, then answer every line of input with updates per second."""
    import torch as th

    from components.scheme import build_scheme
    from datasets.dataset import read_dataset
    from datasets.loading import build_buffer, data_statistics
    from loops.build import build_learning, check_learner
    from loops.resolve import resolve
    from utils.config import CONFIG, algorithm, merge, read_yaml
    from utils.rng import seed_everything
    from utils.settings import Settings

    class Silent:
        def log_stat(self, key: str, value: float, t: int, /) -> None:
            """Ignore statistics."""

    th.set_num_threads(1)
    if limit:
        resource.setrlimit(resource.RLIMIT_AS, (taken() + limit, -1))
    dataset = read_dataset(file)
    config = merge(read_yaml(CONFIG / "default.yaml"), algorithm(algorithm_name))
    config |= {"device": "cpu", "seed": 0, "use_cuda": False, "learner_log_interval": 10**9}
    args = resolve(Settings(**config), dataset.env_info())
    seed_everything(0)
    learner_class = check_learner(args, dataset.env_info())
    scheme, groups, preprocess = build_scheme(dataset.env_info(), args)
    extras = getattr(learner_class, "EXTRAS", ())
    buffer = build_buffer(args, dataset, scheme, groups, preprocess, logging.getLogger(), extras)
    statistics_of_data = data_statistics(dataset, buffer, args.gamma)
    _, learner = build_learning(learner_class, buffer.scheme, groups, Silent(), args, statistics_of_data)
    if limit:
        drop_pages(Path(f"{file}.cache"))
    print(type(dataset.arrays["obs"]).__name__, flush=True)
    update = 0
    for _ in sys.stdin:
        started = time.perf_counter()
        for _ in range(n_updates):
            update += 1
            learner.train(buffer.sample(args.batch_size), update, update)
        print(n_updates / (time.perf_counter() - started), flush=True)


def start(file: Path, options: argparse.Namespace, limit: int) -> Process:
    """Start a process that trains, and wait until it has read the set."""
    words = ["--learn", str(file), "--algorithm", options.algorithm, "--updates", str(options.updates)]
    words += ["--limit", str(limit)]
    process = subprocess.Popen(
        [sys.executable, __file__, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    kind = answer(process)
    print(f"{'under the limit' if limit else 'without a limit'}, observations are held as {kind}", flush=True)
    return process


def answer(process: Process) -> str:
    """The next line that a process says; ends this program where it says none."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        sys.exit("a process that trains ended before its time; its error is above")
    return line


def compare(file: Path, options: argparse.Namespace) -> float:
    """Ratio of the rates of updates from disk and in memory."""
    processes = {"in memory": start(file, options, 0), "from disk": start(file, options, options.limit)}
    rates: dict[str, list[float]] = {name: [] for name in processes}
    for _ in range(options.rounds):
        for name, process in processes.items():
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
            rates[name].append(float(answer(process)))
    for process in processes.values():
        process.communicate()
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, median in medians.items():
        print(f"{name}: {median:.1f} updates per second ({min(rates[name]):.1f} to {max(rates[name]):.1f})")
    return medians["from disk"] / medians["in memory"]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=positive, default=200, help="MB beyond what the libraries take")
    parser.add_argument("--algorithm", default="bc_discrete", help="one for discrete actions")
    parser.add_argument("--updates", type=positive, default=20, help="updates in a round")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--learn", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.learn is not None:
        learn(options.learn, options.algorithm, options.limit * 10**6, options.updates)
        return 0
    limit = options.limit * 10**6
    if options.command is not None:
        return limited_command(limit, options.command)
    n_episodes = TIMES * limit // EPISODE_BYTES + 1
    with tempfile.TemporaryDirectory() as folder:
        foreign, file = Path(folder) / "foreign.h5", Path(folder) / "set.h5"
        write_foreign(foreign, n_episodes)
        size = n_episodes * EPISODE_BYTES
        print(
            f"{n_episodes} episodes, {size / 1e6:.0f} MB of arrays; limit {options.limit} MB beyond the libraries",
            flush=True,
        )
        for words in (
            ("import", "pymarl", str(foreign), "-o", str(file)),
            ("verify", str(file)),
            ("inspect", str(file)),
        ):
            print(f"{words[0]} under the limit: {command_line(options.limit, *words):.0f} s", flush=True)
        foreign.unlink()
        ratio = compare(file, options)
    print(f"ratio: {ratio:.2f} (wanted: {WANTED})")
    return 0 if ratio >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
