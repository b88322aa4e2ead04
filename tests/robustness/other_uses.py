"""Other readers of the checkpoints that `checkpoints` damages: policies for use elsewhere, and `load_weights`."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.robustness.checkpoints import CHECKPOINTS, RUN, base, put_sound
from tests.robustness.harness import Call, Generator, Target

Reword = Callable[[random.Random, Path, Call, str, tuple[str, ...]], list[Call]]
KEPT = ("run/3.writing", "run/.3.writing")  # cleared by whoever reads a run's folder


def reworded(generate: Generator, reword: Reword) -> Generator:
    """The inputs of another generator, for another reader of the same path and step."""

    def generated(rng: random.Random, folder: Path) -> list[Call]:
        (call,) = generate(rng, folder)
        (said,) = (word for word in call.arguments if word.startswith("checkpoint_path="))
        steps = tuple(word for word in call.arguments if word.startswith("load_step="))
        return reword(rng, folder, call, ast.literal_eval(said.partition("=")[2]), steps)

    return generated


def policy_uses(rng: random.Random, folder: Path, call: Call, path: str, steps: tuple[str, ...]) -> list[Call]:
    """Asked for an action, exported, filmed or described anew."""
    path = f"./{path}" if path.startswith("-") else path
    number = [each.partition("=")[2] for each in steps if each.partition("=")[2].isdecimal()]
    step = ("--step", number[0]) if number else ()
    out = str(folder / "exported")
    own = ("--config=bc_discrete", "--env-config=matrix_game", "with", "seed=1", "hidden_dim=4", "use_cuda=False",
           f"dataset={base() / 'xor.h5'}")  # fmt: skip
    uses: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
        ("act", (path, *number), ()),
        ("act", (path, *number), ()),
        ("policy", ("export", path, "--to", "torchscript", "-o", out, *step), ("exported",)),
        ("policy", ("play", path, "-o", str(folder / "film.gif"), *step), ("film.gif",)),
        ("policy", ("describe", path, "--force", *own), ("run/run.json",)),
    )
    reader, words, writes = rng.choice(uses)
    return [replace(call, reader=reader, arguments=words, writes=(*writes, *KEPT), keeps=KEPT)]


def weight_uses(rng: random.Random, folder: Path, call: Call, path: str, steps: tuple[str, ...]) -> list[Call]:
    """A new run that starts from the weights, of the same learner or of one with further networks."""
    alg = rng.choice(("--config=bc_discrete", "--config=bc_discrete", "--config=spacql_discrete"))
    own = (f"load_weights={path!r}", f"dataset={base() / 'xor.h5'}", f"local_results_path={folder / 'results'}")
    words = ("-u", alg, *RUN[1:], "t_max=1", "test_interval=100", *own, *steps)
    return [replace(call, arguments=words, writes=("results", *KEPT), keeps=("results/", *KEPT))]


def sound_policies(rng: random.Random, folder: Path) -> list[Call]:
    (call,) = policy_uses(rng, folder, Call("policy", ()), str(put_sound(folder)), ())
    return [] if call.arguments[0] == "play" else [call]  # the game has no pictures


def sound_weights(rng: random.Random, folder: Path) -> list[Call]:
    return weight_uses(rng, folder, Call("main", ()), str(put_sound(folder)), ())


def as_target(name: str, reword: Reword) -> Target:
    return Target(name, {each: reworded(generate, reword) for each, generate in CHECKPOINTS.generators.items()})


POLICIES = as_target("policy", policy_uses)
WEIGHTS = as_target("foreign weights", weight_uses)
