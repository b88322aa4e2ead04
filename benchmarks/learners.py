"""Milliseconds an update of BC, SPaCQL and ComaDICE, and how much of it is spent outside matrix products.

    python benchmarks/learners.py [--repeats 9] [--only comadice ant] [--transitions 100000]

Shapes: Cooperative Navigation (the bundled datasets' cards: 3 agents, observations of 18, the state all of them side by
side, 2 actions) and three robots of multi-agent MuJoCo as the offline papers observe them: every agent sees the whole
state and its one-hot index. State sizes are those of gymnasium-robotics' version 5 robots (Hopper 11, Ant 105,
HalfCheetah 17). The data are noise, in an `OfflineBuffer` made as a run makes it: speed does not depend on values.

Every algorithm has its own file's values, networks and batch sizes included: a row of the table is what a run of that
file costs, not the same work done in another way. SPaCQL stands there again at the paper's length and rhythm, with the
values tuned for Cooperative Navigation, on these shapes only. `rows` are the transitions of a batch.

Times are processor time in one process on one thread, float32, eager. An update is `learner.train` on a batch of its
own: every loss whose turn it is, and targets, but no log. A repeat is a block of at least five updates, so many that
every loss and the targets have their turn equally often, and its time is their mean. The algorithms alternate block by
block, so that load from elsewhere meets all of them; the minimum and the median over repeats are given. Drawing a batch
is timed apart, the median of the blocks' means. The last line says how much of a processor the process had: where it is
far from 100 %, others ran there too, which times withstand and shares, recorded on a clock, do not.

The share outside matrix products is 1 - (self CPU time of `PRODUCTS`, forward and backward) / (CPU time of a block of
updates), both as torch's profiler records them: operations with their children's time taken off, and one span around
the updates, so that Python's own time counts. Batches are drawn before; of several recorded blocks the fastest counts.
oneDNN's product with a bias and a ReLU fused into it is a product; copies of operands, and of a bias ahead of a
product, are not. Recording costs every operation about a microsecond, most of it outside products: the share leans
high, the more the smaller the operations. `recorded` says how much slower the recorded block was than the fastest.
"""

import argparse
import logging
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

os.environ["KINETO_LOG_LEVEL"] = "6"  # or the profiler reports every start and stop
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch as th
from torch.autograd.profiler import profile, record_function

from components.episode_buffer import EpisodeBatch
from datasets.card import add_statistics
from datasets.dataset import OfflineDataset
from datasets.loading import build_buffer
from loops.build import build_mac, build_schemes, check_learner
from utils.config import CONFIG, algorithm, merge, read_yaml, tuned_layer
from utils.rng import seed_everything

UPDATES = 5  # a block holds a multiple of these
WARM_UP = 1  # blocks before the first that counts
PAPER_LENGTH = "mpe/simple_spread/medium"  # whose tuned values SPaCQL takes; the four differ in alpha_cql alone
RECORDINGS = 3
SPAN = "updates"  # the recorded name of all that happens in a block
PRODUCTS = frozenset(
    f"aten::{name}{how}" for name in ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv") for how in ("", "_")
)
PRODUCTS |= {"aten::mkldnn_linear", "mkldnn::_linear_pointwise"}


class Shape(NamedTuple):
    """state: its size where agents see all of it and their index; None where it is the observations side by side."""

    title: str
    n_agents: int
    obs: int
    state: int | None
    actions: int
    steps: int


SHAPES = {
    "navigation": Shape("Cooperative Navigation", 3, 18, None, 2, 25),
    "hopper": Shape("Hopper 3x1", 3, 11 + 3, 11, 1, 1000),
    "ant": Shape("Ant 2x4", 2, 105 + 2, 105, 4, 1000),
    "halfcheetah": Shape("HalfCheetah 6x1", 6, 17 + 6, 17, 1, 1000),
}
ALGORITHMS = ("bc", "spacql", "comadice")
HEADER = ("shapes", "algorithm", "rows", "ms min", "ms median", "sampling ms", "outside products", "recorded")


class Row(NamedTuple):
    """One line of the table; times in milliseconds an update."""

    shapes: str
    algorithm: str
    rows: int
    fastest: float
    median: float
    sampling: float
    outside: float
    recorded: float

    def __str__(self) -> str:
        times = f"{self.fastest:.2f} | {self.median:.2f} | {self.sampling:.3f}"
        shares = f"{100 * self.outside:.1f} % | {self.recorded:.2f}x"
        return f"| {self.shapes} | {self.algorithm} | {self.rows} | {times} | {shares} |"


class _Silent:
    def log_stat(self, key: str, value: float, t: int, /) -> None:
        """The log is not part of what is measured."""


def random_dataset(shape: Shape, n_transitions: int) -> OfflineDataset:
    """Whole episodes of noise, at least two, with the card that a run reads."""
    rng, n_episodes = np.random.default_rng(0), max(2, n_transitions // shape.steps)
    n_rows = n_episodes * (shape.steps + 1)
    actions = rng.uniform(-1, 1, (n_rows, shape.n_agents, shape.actions)).astype(np.float32)
    arrays: dict[str, np.ndarray] = {
        "actions": actions,
        "reward": np.repeat(rng.standard_normal((n_rows, 1), np.float32), shape.n_agents, axis=1),
        "terminated": np.zeros(n_rows, np.uint8),
    }
    if shape.state is None:
        arrays["obs"] = rng.standard_normal((n_rows, shape.n_agents, shape.obs), np.float32)
    else:
        arrays["state"] = rng.standard_normal((n_rows, shape.state), np.float32)
        index = np.broadcast_to(np.eye(shape.n_agents, dtype=np.float32), (n_rows, shape.n_agents, shape.n_agents))
        seen = np.broadcast_to(arrays["state"][:, None], (n_rows, shape.n_agents, shape.state))
        arrays["obs"] = np.concatenate([seen, index], axis=-1)
    offsets = np.arange(n_episodes + 1) * (shape.steps + 1)
    arrays["reward"][offsets[1:] - 1] = 0
    bounds = {"action_low": [-1.0] * shape.actions, "action_high": [1.0] * shape.actions}
    card: dict[str, Any] = {"action_space": "continuous", "n_actions": shape.actions, **bounds}
    add_statistics(card, arrays, offsets)
    return OfflineDataset(card, arrays, offsets, np.ones(n_episodes, bool), Path("noise"))


def configuration(name: str, tuned: str | None) -> SimpleNamespace:
    """The algorithm file's values over the defaults, and over both those tuned for the dataset `tuned`."""
    config = merge(read_yaml(CONFIG / "default.yaml"), algorithm(name))
    config = merge(config, tuned_layer(name, tuned)) if tuned else config
    return SimpleNamespace(**config | {"device": "cpu", "seed": 0, "use_cuda": False, "learner_log_interval": 10**9})


def self_times(events: list[tuple[int, int, str]]) -> dict[str, int]:
    """Time by name, without what other events inside took. events: (start, -duration, name) of one thread."""
    own: dict[str, int] = {}
    around: list[tuple[int, str]] = []  # (end, name) of the events that are under way
    for start, negative, name in sorted(events):
        while around and around[-1][0] <= start:
            around.pop()
        if around:
            own[around[-1][1]] += negative
        own[name] = own.get(name, 0) - negative
        around.append((start - negative, name))
    return own


class Case:
    """One algorithm on one shape: its buffer, its learner, and the times measured so far."""

    def __init__(self, shape: Shape, dataset: OfflineDataset, algorithm: str, tuned: str | None) -> None:
        args = configuration(algorithm, tuned)
        self.shape, self.name = shape, f"{algorithm}, paper length" if tuned else algorithm
        seed_everything(0)
        env_info = dataset.env_info()
        learner = check_learner(args, env_info)
        parts = build_schemes(env_info, args)
        extras = getattr(learner, "EXTRAS", ())
        self.buffer = build_buffer(args, dataset, *parts, logging.getLogger(), extras)
        mac = build_mac(self.buffer.scheme, parts[1], args)
        self.learner = learner(mac, self.buffer.scheme, _Silent(), args)
        self.rows: int = args.batch_size
        rhythms = [getattr(args, spec.interval) for spec in self.learner.LOSSES if spec.interval is not None]
        self.block = math.lcm(UPDATES, *rhythms, self.learner.target_interval if self.learner.TARGETS else 1)
        self.t = 0
        self.updates: list[float] = []
        self.samplings: list[float] = []
        self.recordings: list[tuple[float, float]] = []

    def train(self, batch: EpisodeBatch) -> None:
        self.t += 1
        self.learner.train(batch, self.t, self.t)

    def measure(self) -> None:
        """One block: seconds of processor time an update and a batch."""
        sampling = training = 0.0
        for _ in range(self.block):
            start = time.process_time()
            batch = self.buffer.sample(self.rows)
            drawn = time.process_time()
            self.train(batch)
            training += time.process_time() - drawn
            sampling += drawn - start
        self.updates.append(training / self.block)
        self.samplings.append(sampling / self.block)

    def record(self) -> None:
        """One block under the profiler: seconds an update, and the share of them outside matrix products."""
        batches = [self.buffer.sample(self.rows) for _ in range(self.block)]
        with profile() as recording, record_function(SPAN):
            for batch in batches:
                self.train(batch)
        assert recording.kineto_results is not None  # `key_averages` would take seconds to say the same
        events = [(event.start_ns(), -event.duration_ns(), event.name()) for event in recording.kineto_results.events()]
        own = self_times(events)
        products = sum(duration for name, duration in own.items() if name in PRODUCTS)
        total = sum(own.values())
        self.recordings.append((total / self.block / 1e9, 1 - products / total))

    def forget(self) -> None:
        """Drop what the warm-up took."""
        for taken in (self.updates, self.samplings, self.recordings):
            taken.clear()

    def row(self) -> Row:
        self.learner.check_finite(self.t)
        fastest, (recorded, outside) = min(self.updates), min(self.recordings)
        median, sampling = statistics.median(self.updates), statistics.median(self.samplings)
        times = (1e3 * fastest, 1e3 * median, 1e3 * sampling)
        return Row(self.shape.title, self.name, self.rows, *times, outside, recorded / fastest)


def cases(name: str, algorithms: list[str], n_transitions: int) -> list[Case]:
    """The algorithms on one shape, over the same data."""
    dataset = random_dataset(SHAPES[name], n_transitions)
    wanted: list[tuple[str, str | None]] = [(algorithm, None) for algorithm in algorithms]
    if name == "navigation" and "spacql" in algorithms:
        wanted.append(("spacql", PAPER_LENGTH))
    return [Case(SHAPES[name], dataset, *pair) for pair in wanted]


def alternate(there: list[Case], repeats: int, recordings: int) -> None:
    """Round after round, one block of every case; first the measured rounds, then the recorded ones."""
    for _ in range(repeats):
        for case in there:
            case.measure()
    for _ in range(recordings):
        for case in there:
            case.record()


def measure(shapes: list[str], algorithms: list[str], repeats: int, n_transitions: int) -> Iterator[Row]:
    """Rows of the table, each shape's as soon as they are known; on one thread."""
    threads = th.get_num_threads()
    th.set_num_threads(1)
    try:
        for name in shapes:
            there = cases(name, algorithms, n_transitions)
            alternate(there, WARM_UP, 1)
            for case in there:
                case.forget()
            alternate(there, repeats, RECORDINGS)
            yield from [case.row() for case in there]
    finally:
        th.set_num_threads(threads)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="alternating blocks an algorithm")
    choices = (*SHAPES, *ALGORITHMS)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=choices, default=[], help=", ".join(choices))
    parser.add_argument("--transitions", type=int, default=100_000, help="in each buffer")
    options = parser.parse_args(argv)
    shapes = [name for name in SHAPES if name in options.only] or list(SHAPES)
    algorithms = [name for name in ALGORITHMS if name in options.only] or list(ALGORITHMS)
    wall, processor = time.perf_counter(), time.process_time()
    print(f"torch {th.__version__}, one thread, {options.repeats} repeats, {options.transitions} transitions\n")
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    for row in measure(shapes, algorithms, options.repeats, options.transitions):
        print(row, flush=True)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"\n{processor:.0f} s of processor time in {wall:.0f} s: {100 * processor / wall:.0f} % of one processor")
    return 0


if __name__ == "__main__":
    sys.exit(main())
