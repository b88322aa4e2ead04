"""What three seeds trained together cost, in single runs: processor time per update, batches included.

    python benchmarks/lanes.py [--repeats 9] [--only comadice bc] [--lanes 3]

Shapes are those of Cooperative Navigation (3 agents, observations of 18, 2 actions) and networks and batch sizes are of
each algorithm's own file, as in `benchmarks/learners.py`; the data are random values. One thread. A block of updates of
a single learner and one of all lanes alternate, so that other load on the machine meets both. The ratio is that of the
fastest blocks; beside it stands the median of the ratios of neighbouring blocks. An update samples a batch, or one for
each lane, and trains on it, without logging; evaluations and files are not measured, for lanes save nothing there.
`recording` is the processor time of the first two updates, in which the losses are recorded.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.append(str(Path(__file__).resolve().parents[1]))

import torch as th

from benchmarks.command import positive, run
from components.offline_buffer import sample_together
from learners.lanes import Lanes
from utils.rng import seed_everything

# isort: split
from benchmarks.learners import Case
from benchmarks.noise import SHAPES, random_dataset

ALGORITHMS = ("bc", "comadice", "matd3_bc", "implicit_q", "omiga")
UPDATES = 10  # in a block
HEADER = ("algorithm", "rows", "one ms", "lanes ms", "ratio", "median ratio", "recording s")


def seconds(update: Callable[[], None], updates: int = UPDATES) -> float:
    """Processor time of an update, a mean over a block."""
    start = time.process_time()
    for _ in range(updates):
        update()
    return (time.process_time() - start) / updates


def measure(name: str, lanes: int, repeats: int, transitions: int) -> str:
    """One line of the table."""
    shape = SHAPES["navigation"]
    data = random_dataset(shape, transitions)
    single, *cases = (Case(shape, data, name) for _ in range(lanes + 1))
    seed_everything(0)
    buffers = [cases[0].buffer.with_seed(seed) for seed in range(lanes)]
    stack, t = Lanes([case.learner for case in cases]), 0

    def alone() -> None:
        single.train(single.buffer.sample(single.rows))

    def together() -> None:
        nonlocal t
        t += 1
        stack.train(sample_together(buffers, single.rows), t)

    recording = 2 * seconds(together, 2)
    for update in (alone, together):
        seconds(update)
    pairs = [(seconds(alone), seconds(together)) for _ in range(repeats)]
    one, all_ = (min(times) for times in zip(*pairs, strict=True))
    middle = statistics.median(after / before for before, after in pairs)
    figures = f"{1e3 * one:.2f} | {1e3 * all_:.2f} | {all_ / one:.2f} | {middle:.2f} | {recording:.2f}"
    return f"| {name} | {single.rows} | {figures} |"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=positive, default=9, help="alternating blocks per algorithm")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=ALGORITHMS, help="algorithm files")
    parser.add_argument("--lanes", type=positive, default=3, help="seeds trained together")
    parser.add_argument("--transitions", type=positive, default=100_000, help="number of transitions in the buffer")
    options = parser.parse_args(argv)
    th.set_num_threads(1)
    print(f"torch {th.__version__}, one thread, {options.lanes} lanes, {options.repeats} repeats\n")
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    for name in options.only:
        print(measure(name, options.lanes, options.repeats, options.transitions), flush=True)
    return 0


if __name__ == "__main__":
    run(main)
