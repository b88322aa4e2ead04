"""What a learner writes and reads: EPyMARL's model files, and the rest that a bit-exact continuation needs."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any, Protocol

import torch as th

from learners.optimisation import LossSpec, learning_rate
from utils.errors import CheckpointError
from utils.rng import load_generator


class Trained(Protocol):
    """What is saved of a learner."""

    mac: Any
    args: SimpleNamespace
    optimisers: dict[str, th.optim.Adam]
    generator: th.Generator
    training_steps: int
    log_stats_t: int
    first_bad: th.Tensor
    _pending: dict[str, dict[str, th.Tensor] | None]

    @property
    def LOSSES(self) -> tuple[LossSpec, ...]: ...
    @property
    def TARGETS(self) -> tuple[str, ...]: ...
    @property
    def STATISTICS(self) -> tuple[str, ...]: ...


def write_models(learner: Trained, path: str) -> None:
    """agent.th, one <module>.th per other module, <first module>_opt.th per loss."""
    learner.mac.save_models(path)
    for spec in learner.LOSSES:
        for name in spec.modules:
            if name != "agent":
                th.save(getattr(learner, name).state_dict(), os.path.join(path, f"{name}.th"))
        th.save(learner.optimisers[spec.name].state_dict(), os.path.join(path, f"{spec.modules[0]}_opt.th"))


def read_models(learner: Trained, path: str) -> None:
    """Read what `write_models` wrote."""
    learner.mac.load_models(path)
    for spec in learner.LOSSES:
        for name in spec.modules:
            if name != "agent":
                getattr(learner, name).load_state_dict(_load(path, f"{name}.th"))
        learner.optimisers[spec.name].load_state_dict(_load(path, f"{spec.modules[0]}_opt.th"))


def collect_state(learner: Trained) -> dict[str, Any]:
    """What the model files leave out; tensors, numbers, strings, containers.

    And the optimisers again, by loss: their files are named by module, so two losses of one module share a file.
    """
    return {
        "targets": {name: getattr(learner, f"target_{name}").state_dict() for name in learner.TARGETS},
        "statistics": {name: getattr(learner, name).state_dict() for name in learner.STATISTICS},
        "optimisers": {name: optimiser.state_dict() for name, optimiser in learner.optimisers.items()},
        "generator": learner.generator.get_state(),
        "training_steps": learner.training_steps,
        "log_stats_t": learner.log_stats_t,
        "first_bad": learner.first_bad,
        "pending": learner._pending,
    }


def restore_state(learner: Trained, state: dict[str, Any]) -> None:
    """Continue from `collect_state`. Raises CheckpointError where it does not fit."""
    try:
        for name in learner.TARGETS:
            getattr(learner, f"target_{name}").load_state_dict(state["targets"][name])
        for name in learner.STATISTICS:
            getattr(learner, name).load_state_dict(state["statistics"][name])
        for spec in learner.LOSSES:
            optimiser = learner.optimisers[spec.name]
            optimiser.load_state_dict(state["optimisers"][spec.name])
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(learner.args, spec)  # a rate changed for the continuation counts
        learner.training_steps = int(state["training_steps"])
        load_generator(learner.generator, state["generator"], learner.training_steps, "the learner", keys="use_cuda")
        learner.log_stats_t = int(state["log_stats_t"])
        learner.first_bad.copy_(state["first_bad"])
        device = learner.first_bad.device
        learner._pending = {
            name: None if stats is None else {key: value.to(device) for key, value in stats.items()}
            for name, stats in state["pending"].items()
        }
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"the checkpoint's training state does not fit {type(learner).__name__} ({error}): "
            "continue with the configuration it was saved with"
        ) from error


def _load(path: str, name: str) -> dict[str, Any]:
    state: dict[str, Any] = th.load(
        os.path.join(path, name), map_location=lambda storage, loc: storage, weights_only=True
    )
    return state
