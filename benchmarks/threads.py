"""What several threads make of a SPaCQL critic update: wall time side by side, and whether results stay the same.

    python benchmarks/threads.py [--threads 2] [--penalty logsumexp policy] [--repeats 15]

The update is that of `critic_step.py`: the paper's settings on Cooperative Navigation's shapes, in chunks of 256 rows
(threads share the chunks) and whole (threads share the critics). Turns alternate. The ratio is the median over turns of
the wall time with several threads over that with one. Beside it stands the processor time of all threads, which says
what sharing costs, and how many cores the turn had: where that is below the number of threads, other programs ran too,
and the ratio says little. Gradients must be equal bit for bit, else the exit status is 1.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # before this folder, which has a `learners` too

import torch as th

from benchmarks.command import positive
from benchmarks.critic_step import FixedNoise, build
from components.episode_buffer import EpisodeBatch
from modules.threads import use_threads

CHUNKS = {"logsumexp": (256, None), "policy": (None,)}
Times = tuple[list[float], list[float]]  # seconds on the wall, and of all processors


def same_bits(learner: FixedNoise, batch: EpisodeBatch, threads: int) -> bool:
    """Whether loss and gradients are the same on one thread and on several."""
    found = []
    for number in (1, threads):
        use_threads(number)
        loss, gradients, _ = learner.gradients(learner.LOSSES[0], batch, False)
        found.append([loss, *gradients])
    return all(th.equal(a, b) for a, b in zip(*found, strict=True))


def measure(learner: FixedNoise, batch: EpisodeBatch, numbers: tuple[int, ...], repeats: int) -> dict[int, Times]:
    """Times of an update for each number of threads, turn by turn."""
    times: dict[int, Times] = {number: ([], []) for number in numbers}
    for turn in range(-1, repeats):  # the first one warms up
        for number in numbers:
            use_threads(number)
            wall, processor = time.perf_counter(), time.process_time()
            learner.update(0, batch)
            if turn >= 0:
                times[number][0].append(time.perf_counter() - wall)
                times[number][1].append(time.process_time() - processor)
    return times


def compare(penalty: str, chunk: int | None, threads: int, repeats: int) -> bool:
    """Print one line; return whether results are the same."""
    learner, batch = build(penalty, compiled=False, chunk=chunk)
    same = same_bits(learner, batch, threads)
    times = measure(learner, batch, (1, threads), repeats)
    ratio = statistics.median(many / one for many, one in zip(times[threads][0], times[1][0], strict=True))
    print(f"{penalty}, {'whole' if chunk is None else f'chunks of {chunk}'}: ratio {ratio:.2f}, ", end="")
    print("the same bits" if same else "OTHER RESULTS")
    for number, (wall, processor) in times.items():
        cores = statistics.median(p / w for p, w in zip(processor, wall, strict=True))
        print(
            f"  {number} thread(s): {1e3 * statistics.median(wall):7.1f} ms (fastest {1e3 * min(wall):.1f}), ", end=""
        )
        print(f"{1e3 * statistics.median(processor):7.1f} ms of processors, on {cores:.2f} cores", flush=True)
    return same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--penalty", nargs="+", choices=sorted(CHUNKS), default=sorted(CHUNKS))
    parser.add_argument("--repeats", type=positive, default=15, help="turns of each number of threads")
    options = parser.parse_args()
    th.set_num_threads(1)
    cases = [(penalty, chunk) for penalty in options.penalty for chunk in CHUNKS[penalty]]
    same = [compare(*case, options.threads, options.repeats) for case in cases]
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
