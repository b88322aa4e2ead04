"""Which share of a run's time evaluations take at the default intervals, for each task with bundled data.

    python benchmarks/evaluation_share.py [--only halfcheetah_2x3 bc] [--updates 20]

Each row is one algorithm file on one environment file with the file's `test_interval`, `test_nepisode` and `t_max`.
Nothing is trained to its end: one evaluation and a few updates are timed, and a run has `t_max` updates, one evaluation
at the start, one after every `test_interval` updates and one at the end. Times are processor time of all threads of one
process, sampling included, with torch on one thread. The fastest of two evaluations counts, and as if its longest
episode had lasted to the time limit: an untrained Hopper falls at once. Reading data, saving and logging are left out.
They take time too, so shares of whole runs are smaller.
"""

import argparse
import logging
import sys
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.append(str(Path(__file__).resolve().parents[1]))

import torch as th

from benchmarks.command import positive
from loops.build import Parts, build
from loops.configured import configured
from loops.resolve import run_settings
from utils.errors import UserError
from utils.logging import Logger

LIMIT = 0.15
HEADER = ("task", "algorithm", "updates", "ms", "evaluations", "episodes", "seconds", "share")
WARM_UP = 5  # updates that are not timed
# Environment file and a bundled dataset; the size of a dataset has no effect on these times.
TASKS = {
    "mpe": "mpe/simple_spread/medium-100k",
    "simple_tag": "mpe/simple_tag/medium-replay",
    "simple_world": "mpe/simple_world/medium-replay",
    "hopper": "mamujoco/Hopper-3x1/medium-20k",
    "ant": "mamujoco/Ant-2x4/medium-20k",
    "halfcheetah_2x3": "mamujoco/HalfCheetah-2x3/medium-20k",
    "mamujoco": "mamujoco/HalfCheetah-6x1/medium-20k",
    "matrix_game": "matrix_game/xor/random",
    "bridge": "bridge/mix",
}
# Algorithm files, each with its sibling for discrete actions where it has one.
ALGORITHMS = {
    "bc": "bc_discrete", "optdice": None, "comadice": "comadice_discrete", "matd3_bc": None, "b3c": None,
    "omiga": None, "implicit_q": None, "icq": "icq_discrete", "bcq": None, "macql": None, "omar": None, "cfcql": None,
    "spacql": "spacql_discrete", "alberdice": None,
}  # fmt: skip


class Row(NamedTuple):
    """One line of the table. update, evaluation: seconds of processor time. episodes: of an evaluation."""

    task: str
    algorithm: str
    updates: int
    update: float
    evaluations: int
    episodes: int
    evaluation: float

    @property
    def share(self) -> float:
        """Of the evaluations in the time of updates and evaluations."""
        evaluating = self.evaluations * self.evaluation
        return evaluating / (evaluating + self.updates * self.update)

    def __str__(self) -> str:
        training = f"{self.updates} | {1e3 * self.update:.2f} | {self.evaluations}"
        evaluating = f"{self.episodes} | {self.evaluation:.2f} | {self.share:.1%}"
        return f"| {self.task} | {self.algorithm} | {training} | {evaluating} |"


def evaluations(t_max: int, interval: int) -> int:
    """How many evaluations a run has: at the start, after every interval, and at the end."""
    return 1 + -(-t_max // interval)


def parts_of(task: str, algorithm: str) -> Parts:
    """The parts of a run of the two files. Raises UserError where the algorithm refuses the task's actions."""
    log = logging.getLogger("evaluation_share")
    quiet = log.debug
    final = configured(algorithm, task, {"dataset": TASKS[task], "use_cuda": False}, False, quiet, quiet).final
    return build(run_settings(final | {"seed": 0}, log), Logger(log))


def measure(task: str, algorithm: str, updates: int) -> Row:
    """Time two evaluations and `updates` updates of one algorithm on one task."""
    parts = parts_of(task, algorithm)
    assert parts.evaluator is not None and parts.learner is not None
    args, played = parts.args, []
    for _ in range(2):
        start = time.process_time()
        longest = parts.evaluator.evaluate(0).episodes.lengths.max()
        played.append((time.process_time() - start) * parts.runner.episode_limit / longest)
    for t in range(1, WARM_UP + updates + 1):
        if t == WARM_UP + 1:
            start = time.process_time()
        parts.learner.train(parts.buffer.sample(args.batch_size), t, t)
    update = (time.process_time() - start) / updates
    parts.runner.close_env()
    n_evaluations = evaluations(args.t_max, args.test_interval)
    return Row(task, algorithm, args.t_max, update, n_evaluations, args.test_nepisode, min(played))


def rows(tasks: list[str], algorithms: list[str], updates: int) -> list[Row]:
    """Print and return the rows; an algorithm's file for discrete actions where it has one and the task needs it.

    What has no row is named on stderr, with the reason.
    """
    found = []
    for task in tasks:
        for name in algorithms:
            for algorithm in filter(None, (name, ALGORITHMS[name])):
                try:
                    row = measure(task, algorithm, updates)
                except UserError as error:  # it refuses the task's kind of actions, or something is not installed
                    refusal = f"{algorithm} on {task} is left out: {error}"
                    continue
                print(row, flush=True)
                found.append(row)
                break
            else:
                print(refusal, file=sys.stderr)
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choices = (*TASKS, *ALGORITHMS)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=choices, default=[], help=", ".join(choices))
    parser.add_argument("--updates", type=positive, default=20, help="updates to time")
    options = parser.parse_args(argv)
    th.set_num_threads(1)
    logging.disable(logging.WARNING)
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    tasks = [name for name in TASKS if name in options.only] or list(TASKS)
    found = rows(tasks, [name for name in ALGORITHMS if name in options.only] or list(ALGORITHMS), options.updates)
    over = [f"{row.algorithm} on {row.task}" for row in found if row.share > LIMIT]
    print(f"\nabove {LIMIT:.0%}: {', '.join(over) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
