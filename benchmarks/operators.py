"""What a SPaCQL critic update gains by code that is not the plain formula: each piece against its alternative.

    python benchmarks/operators.py [--penalty policy logsumexp] [--repeats 25]

The update is that of `critic_step.py`: the paper's settings on Cooperative Navigation's shapes. A row has one
alternative in the place of what the code uses. It gives the time of the whole update, the ratio to the update as it
is, and how far the gradient is from that one's (norm of the difference over norm). Above 1 the code as it is is faster.
A private operator of torch stays in the code where the public formula makes the update at least 3 % slower.

Every alternative has a process of its own, with one thread, and the processes take turns. Times are processor time, and
a ratio is the median over turns, so that load from elsewhere meets all of them.
"""

import argparse
import multiprocessing
import statistics
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # before this folder, which has a `learners` too

import torch as th
from torch import Tensor

from benchmarks.command import positive
from benchmarks.critic_step import CHUNK, FixedNoise, build
from components.episode_buffer import EpisodeBatch
from learners import base_learner, optimisation
from modules.critics import counterfactual_layers as layers
from modules.processor import described

AS_IS = "as it is"
N_UPDATES = {"policy": 4, "logsumexp": 1}  # in a turn


def product_with_gate(values: Tensor, gate: Tensor, out: Tensor) -> None:
    th.mul(values, gate > 0, out=out)


def foreach_clip(gradients: list[Tensor], limit: float, by_member: bool) -> Tensor:
    norm: Tensor = th.linalg.vector_norm(th.stack(th._foreach_norm(gradients)))
    th._foreach_mul_(gradients, (limit / (norm + 1e-6)).clamp_max(1.0))
    return norm


# What each alternative puts in a name's place: module, name, value.
ALTERNATIVES: dict[str, tuple[tuple[Any, str, Any], ...]] = {
    AS_IS: (),
    "values * (gate > 0) for a ReLU's gradient": ((layers, "_where_positive", product_with_gate),),
    "one formula for the loop over critics": ((layers, "_on_cpu", layers.plain_values),),
    "products by torch's default library": ((layers, "_ONEDNN_DTYPES", ()),),
    "the other library for a transposed matrix": ((layers, "_COPIES_PAY", not layers._COPIES_PAY),),
    "freed memory given back": ((base_learner, "keep_freed_memory", lambda: None),),
    "private: clipping by torch._foreach_*": (
        (base_learner, "clip_gradients", foreach_clip),
        (optimisation, "clip_gradients", foreach_clip),
    ),
}


def gradient(learner: FixedNoise, batch: EpisodeBatch) -> Tensor:
    """The critics' gradient, clipped, as one vector."""
    _, gradients, _ = learner.gradients(learner.LOSSES[0], batch, False)
    optimisation.clip_gradients(gradients, learner.args.grad_norm_clip, False)
    return th.cat([part.flatten() for part in gradients])


def distance(left: Tensor, right: Tensor) -> float:
    """Norm of the difference over the norm of `right`."""
    return float((left - right).norm() / right.norm())


def work(connection: Connection, name: str, penalty: str) -> None:
    """One alternative's process: send the gradient, then at every request the processor time of an update."""
    th.set_num_threads(1)
    for module, attribute, value in ALTERNATIVES[name]:
        setattr(module, attribute, value)
    learner, batch = build(penalty, compiled=False, chunk=CHUNK[penalty])
    connection.send(gradient(learner, batch).numpy())
    while connection.recv():
        learner.update(0, batch)  # what other processes left in the cache goes
        start = time.process_time()
        for _ in range(N_UPDATES[penalty]):
            learner.update(0, batch)
        connection.send((time.process_time() - start) / N_UPDATES[penalty])


def compare(penalty: str, repeats: int) -> None:
    """Print one penalty's table."""
    context = multiprocessing.get_context("spawn")
    connections, gradients = {}, {}
    for name in ALTERNATIVES:
        connections[name], end = context.Pipe()
        context.Process(target=work, args=(end, name, penalty), daemon=True).start()
    for name, connection in connections.items():
        gradients[name] = th.from_numpy(connection.recv())
    times: dict[str, list[float]] = {name: [] for name in ALTERNATIVES}
    for turn in range(repeats):
        for name in list(times) if turn % 2 else reversed(times):
            connections[name].send(True)
            times[name].append(connections[name].recv())
    print(f"\n{penalty}, {torch_and_processor()}")
    for name, own in times.items():
        ratio = statistics.median(a / b for a, b in zip(own, times[AS_IS], strict=True))
        apart = distance(gradients[name], gradients[AS_IS])
        print(f"  {name:45s}{statistics.median(own) * 1e3:8.1f} ms   {ratio:6.3f}x   gradient {apart:.0e} apart")
        connections[name].send(False)


def torch_and_processor() -> str:
    """What the ratios depend on."""
    wanted, found = ("model name", "cpu family", "model"), described()
    return f"torch {th.__version__}, " + ", ".join(f"{key} {found[key]}" for key in wanted if key in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--penalty", nargs="+", choices=sorted(CHUNK), default=sorted(CHUNK))
    parser.add_argument("--repeats", type=positive, default=25, help="turns of each alternative")
    options = parser.parse_args()
    for penalty in options.penalty:
        compare(penalty, options.repeats)


if __name__ == "__main__":
    main()
