"""Milliseconds per update of every offline learner, and what share of the time matrix products take.

    python benchmarks/learners.py [--repeats 9] [--only comadice ant] [--width 256] [--also KEY=VALUE]

Shapes: Cooperative Navigation (3 agents, observations of 18, the state their concatenation, 2 actions) and three robots
of multi-agent MuJoCo with the observations of the offline papers, where every agent sees the state and its one-hot
index. State sizes are those of gymnasium-robotics' version 5 (Hopper 11, Ant 105, HalfCheetah 17). The data are random
values in an `OfflineBuffer`, because speed does not depend on values.

Measured is every algorithm file that learns from data. One that refuses continuous actions has discrete data of these
shapes: five actions, episodes of at most 25 steps, for some learn from whole ones. Left out are siblings for discrete
actions of files that take both. `fqe` values policies that are not trained.

Every algorithm has the networks, batch size and other values of its own file, so a row of the table is the cost of a
run of that file, not of equal work; `--width` gives all of them one `hidden_dim`. On Cooperative Navigation SPaCQL is
measured a second time, with the values tuned for it (the paper's length and intervals). `--also` measures the rows of
all algorithms that have the key a second time, such as `critic_dtype=bfloat16` or `matmul_precision=medium`. `rows` is
the number of windows per batch, which are transitions in most files.

Times are processor time of one process on one thread, in float32 but for `--also`, not compiled. An update is one call
of `learner.train` on a new batch, with all losses and target updates that are due and without logging. A repeat is a
block of at least five updates, long enough that each loss and each target update that is not rare are due equally often
in every block, and its time is the mean per update. Algorithms alternate block by block, so that other load on the
machine affects all of them. The table gives the minimum and the median over repeats. Sampling a batch is timed
separately, as the median over blocks. The last lines say what share of one processor the process had. Far below 100 %,
other programs ran too: times are still right, but the shares, which are measured by the wall clock, are not.

The share outside matrix products is 1 - (self time of `PRODUCTS`, forward and backward) / (time of a block of
updates). Torch's profiler records both: operations without the time of operations inside them, and one span around the
updates, which includes Python. Batches are sampled before, and the fastest of several recorded blocks counts. oneDNN's
product with a fused bias and ReLU counts as a product; copies of operands, and of a bias before a product, do not.
Recording costs about a microsecond per operation, mostly outside products, so the share is too high where operations
are small.
`recorded` is the ratio of the recorded block's time to the fastest block's.

`GFLOP/s` are useful ones: 2 m k n for each product of (m, k) and (k, n) in an update, over its fastest time; nothing
else counts. Below the table stands the peak, what the same core reaches in one product of two large matrices.
"""

import argparse
import itertools
import logging
import math
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

os.environ["KINETO_LOG_LEVEL"] = "6"  # otherwise the profiler logs every start and stop
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.append(str(Path(__file__).resolve().parents[1]))

import torch as th
from torch.autograd.profiler import profile, record_function

from benchmarks.command import positive, run
from components.episode_buffer import EpisodeBatch
from components.scheme import build_scheme
from datasets.dataset import OfflineDataset
from datasets.loading import build_buffer, data_statistics
from learners import REGISTRY as learner_REGISTRY
from loops.build import build_learning, check_learner
from loops.resolve import resolve
from utils.config import CONFIG, algorithm, config_names, merge, merged, read_yaml, tuned_files
from utils.errors import ConfigError
from utils.overrides import overrides
from utils.rng import seed_everything
from utils.settings import Settings

# isort: split
from benchmarks.noise import SHAPES, Shape, random_dataset
from benchmarks.products import PRODUCTS, flops, peak, self_times

UPDATES = 5  # updates in a block, or a multiple of it
WARM_UP = 1  # blocks that are not counted
PAPER_LENGTH = "mpe/simple_spread/medium"  # dataset of the tuned values; the four files differ only in alpha_cql
RECORDINGS = 3
NO_CHANGES: Mapping[str, Any] = MappingProxyType({})
Variants = Mapping[str, Mapping[str, Any]]  # what is added to an algorithm's name, and the values that it changes
SPAN = "updates"  # name of the span around a recorded block
RARE = 25  # targets that are copied less often than this may be copied in some blocks only
HEADER = ("shapes", "algorithm", "rows", "ms min", "ms median", "sampling ms", "outside products", "recorded",
          "GFLOP/s")  # fmt: skip


class Row(NamedTuple):
    """One line of the table; times are in milliseconds per update."""

    shapes: str
    algorithm: str
    rows: int
    fastest: float
    median: float
    sampling: float
    outside: float
    recorded: float
    speed: float

    def __str__(self) -> str:
        times = f"{self.fastest:.2f} | {self.median:.2f} | {self.sampling:.3f}"
        shares = f"{100 * self.outside:.1f} % | {self.recorded:.2f}x | {self.speed:.1f}"
        return f"| {self.shapes} | {self.algorithm} | {self.rows} | {times} | {shares} |"


class _Silent:
    def log_stat(self, key: str, value: float, t: int, /) -> None:
        """Ignore statistics."""


def offline_algorithms() -> list[str]:
    """Algorithm files that learn from data, without siblings for discrete actions alone."""
    names = config_names("algs")
    found = [name for name in names if algorithm(name).get("offline") and algorithm(name).get("learner")]
    return [
        name for name in found if name.removesuffix("_discrete") == name or name.removesuffix("_discrete") not in names
    ]


def configuration(name: str, tuned: str | None = None, changes: Mapping[str, Any] = NO_CHANGES) -> Settings:
    """The algorithm file's values over the defaults, and the values tuned for the dataset `tuned` over both.

    changes: values over all of these.
    """
    config = merge(read_yaml(CONFIG / "default.yaml"), algorithm(name))
    config = merged((config, *tuned_files(name, tuned).values())) if tuned else config
    config = merge(config, changes)
    return Settings(**config | {"device": "cpu", "seed": 0, "use_cuda": False, "learner_log_interval": 10**9})


class Case:
    """One algorithm on one shape: its buffer, its learner and its measured times."""

    def __init__(self, shape: Shape, dataset: OfflineDataset, algorithm: str, tuned: str | None = None,
                 changes: Mapping[str, Any] = NO_CHANGES) -> None:  # fmt: skip
        env_info = dataset.env_info()
        args = resolve(configuration(algorithm, tuned, changes), env_info)
        self.shape, self.name = shape, f"{algorithm}, paper length" if tuned else algorithm
        self.precision = args.matmul_precision
        seed_everything(0)
        learner = check_learner(args, env_info)
        scheme, groups, preprocess = build_scheme(env_info, args)
        extras = getattr(learner, "EXTRAS", ())
        self.buffer = build_buffer(args, dataset, scheme, groups, preprocess, logging.getLogger(), extras)
        statistics = data_statistics(dataset, self.buffer, args.gamma)
        _, self.learner = build_learning(learner, self.buffer.scheme, groups, _Silent(), args, statistics)
        self.rows: int = args.batch_size
        intervals = [getattr(args, spec.interval) for spec in self.learner.LOSSES if spec.interval is not None]
        copied = self.learner.target_interval if self.learner.TARGETS else 1
        self.block = math.lcm(UPDATES, *intervals, copied if copied <= RARE else 1)
        self.t, self.operations = 0, 0.0
        self.updates: list[float] = []
        self.samplings: list[float] = []
        self.recordings: list[tuple[float, float]] = []

    def train(self, batch: EpisodeBatch) -> None:
        th.set_float32_matmul_precision(self.precision)  # one for the whole process, so before each update
        self.t += 1
        self.learner.train(batch, self.t, self.t)

    def measure(self) -> None:
        """Measure one block: seconds of processor time per update and per batch."""
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
        """Profile one block: seconds per update, and the share outside matrix products."""
        batches = [self.buffer.sample(self.rows) for _ in range(self.block)]
        with profile() as recording, record_function(SPAN):
            for batch in batches:
                self.train(batch)
        assert recording.kineto_results is not None  # `key_averages` gives the same but takes seconds
        events = [(event.start_ns(), -event.duration_ns(), event.name()) for event in recording.kineto_results.events()]
        own = self_times(events)
        products = sum(duration for name, duration in own.items() if name in PRODUCTS)
        total = sum(own.values())
        self.recordings.append((total / self.block / 1e9, 1 - products / total))

    def count(self) -> None:
        """Count the operations of the products in a block of updates, per update."""
        batches = [self.buffer.sample(self.rows) for _ in range(self.block)]
        with profile(record_shapes=True) as recording:
            for batch in batches:
                self.train(batch)
        assert recording.kineto_results is not None
        products = (event for event in recording.kineto_results.events() if event.name() in PRODUCTS)
        self.operations = sum(flops(event.name(), event.shapes()) for event in products) / self.block

    def forget(self) -> None:
        """Drop the times of the warm-up."""
        for taken in (self.updates, self.samplings, self.recordings):
            taken.clear()

    def row(self) -> Row:
        self.learner.check_finite(self.t)
        fastest, (recorded, outside) = min(self.updates), min(self.recordings)
        median, sampling = statistics.median(self.updates), statistics.median(self.samplings)
        times = (1e3 * fastest, 1e3 * median, 1e3 * sampling)
        speed = self.operations / fastest / 1e9
        return Row(self.shape.title, self.name, self.rows, *times, outside, recorded / fastest, speed)


def cases(name: str, algorithms: list[str], n_transitions: int, variants: Variants) -> Iterator[Case]:
    """Make the cases of the algorithms on one shape, over the same data, or discrete ones where they take no others."""
    shape = SHAPES[name]
    kinds = [random_dataset(shape, n_transitions, discrete) for discrete in (False, True)]
    wanted: list[tuple[str, str | None]] = [(algorithm, None) for algorithm in algorithms]
    if name == "navigation" and "spacql" in algorithms:
        wanted.append(("spacql", PAPER_LENGTH))
    for (algorithm_name, tuned), (added, changes) in itertools.product(wanted, variants.items()):
        if has_keys(algorithm_name, changes):
            discrete = "continuous" not in learner_REGISTRY[algorithm(algorithm_name)["learner"]].action_types
            case = Case(shape, kinds[discrete], algorithm_name, tuned, changes)
            case.name += added
            yield case


def has_keys(name: str, keys: Iterable[str]) -> bool:
    """Whether an algorithm has all of these keys."""
    return set(keys) <= set(vars(configuration(name)))


def alternate(there: list[Case], repeats: int, recordings: int) -> None:
    """Run rounds of one block per case: first the measured rounds, then the recorded ones."""
    for _ in range(repeats):
        for case in there:
            case.measure()
    for _ in range(recordings):
        for case in there:
            case.record()


def measure(
    shapes: list[str], algorithms: list[str], repeats: int, n_transitions: int, variants: Variants
) -> Iterator[Row]:
    """Yield the rows of the table, shape by shape; all on one thread."""
    threads = th.get_num_threads()
    th.set_num_threads(1)
    try:
        for name in shapes:
            there = list(cases(name, algorithms, n_transitions, variants))
            alternate(there, WARM_UP, 1)
            for case in there:
                case.count()
                case.forget()
            alternate(there, repeats, RECORDINGS)
            yield from [case.row() for case in there]
    finally:
        th.set_num_threads(threads)
        th.set_float32_matmul_precision("highest")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=positive, default=9, help="alternating blocks per algorithm")
    every = offline_algorithms()
    choices = (*SHAPES, *every)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=choices, default=[], help=", ".join(choices))
    parser.add_argument("--width", type=positive, default=None, help="hidden_dim of all networks instead of the files'")
    parser.add_argument("--also", metavar="KEY=VALUE", help="measure the rows again with this value")
    parser.add_argument("--transitions", type=positive, default=100_000, help="number of transitions in each buffer")
    options = parser.parse_args(argv)
    shapes = [name for name in SHAPES if name in options.only] or list(SHAPES)
    algorithms = [name for name in every if name in options.only] or every
    base = {} if options.width is None else {"hidden_dim": options.width}
    variants = {"": base}
    if options.also:
        variants[f", {options.also}"] = changes = base | overrides([options.also])
        if not any(has_keys(name, changes) for name in algorithms):
            raise ConfigError(f"--also {options.also}: none of {', '.join(algorithms)} has this key; mend its name")
    wall, processor = time.perf_counter(), time.process_time()
    width = "the files' widths" if options.width is None else f"width {options.width}"
    print(
        f"torch {th.__version__}, one thread, {options.repeats} repeats, {options.transitions} transitions, {width}\n"
    )
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    for row in measure(shapes, algorithms, options.repeats, options.transitions, variants):
        print(row, flush=True)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"\n{processor:.0f} s of processor time in {wall:.0f} s: {100 * processor / wall:.0f} % of one processor")
    print(f"peak: {peak():.0f} GFLOP/s")
    return 0


if __name__ == "__main__":
    run(main)
