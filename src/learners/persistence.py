"""What a learner writes and reads: EPyMARL's model files, and the rest that a bit-exact continuation needs."""

from __future__ import annotations

import math
import os
from types import SimpleNamespace
from typing import Any, Protocol

import torch as th

from learners.optimisation import LossSpec, learning_rate
from utils.errors import CheckpointError, one_line
from utils.rng import load_generator
from utils.training_state import LARGEST, is_whole


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
    @property
    def LATER(self) -> frozenset[str]: ...


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
                absent = name in learner.LATER and not os.path.exists(os.path.join(path, f"{name}.th"))
                getattr(learner, name).load_state_dict({} if absent else _load(path, f"{name}.th"))
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
        _check_kinds(learner, state)
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
    except (LookupError, RuntimeError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        reason = one_line(error)
        raise CheckpointError(
            f"the checkpoint's training state does not fit {type(learner).__name__} ({reason}): "
            "continue with the configuration it was saved with"
        ) from error


def _check_kinds(learner: Trained, state: dict[str, Any]) -> None:
    """Raise ValueError for entries that would load, and only later fail or change what is learned."""
    for key, least in (("training_steps", 0), ("log_stats_t", -LARGEST)):
        if not is_whole(state[key], least):
            raise ValueError(f"its {key} is no step")
    first_bad = state["first_bad"]
    if first_bad.shape != learner.first_bad.shape or first_bad.dtype != learner.first_bad.dtype:
        raise ValueError("its first_bad has not one entry per loss")
    names = {spec.name for spec in learner.LOSSES}
    for name, stats in state["pending"].items():
        if name not in names or not (stats is None or all(value.is_floating_point() for value in stats.values())):
            raise ValueError("its pending statistics are not those of its losses")
    for name, optimiser in learner.optimisers.items():
        _check_optimiser(name, optimiser, state["optimisers"][name])


def _check_optimiser(name: str, optimiser: th.optim.Adam, state: dict[str, Any]) -> None:
    """Raise ValueError where an optimiser's state is not one of these parameters."""
    for group, here in zip(state["param_groups"], optimiser.state_dict()["param_groups"], strict=True):
        for key in here.keys() & group.keys():  # another version of torch may have others
            alike = _kind(group[key]) == _kind(here[key]) or (here[key] is None and isinstance(group[key], bool))
            if not alike or (key == "params" and group[key] != here[key]):
                raise ValueError(f"the {name} optimiser's {key} is of another kind")
            if isinstance(group[key], int | float) and not 0 <= group[key] < math.inf:
                raise ValueError(f"the {name} optimiser's {key} is out of range")
            if key == "betas" and not (len(group[key]) == 2 and all(0 <= beta < 1 for beta in group[key])):
                raise ValueError(f"the {name} optimiser's betas are no shares")
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for index, moments in state["state"].items():
        shape = parameters[index].shape
        if not {"step", "exp_avg", "exp_avg_sq"} <= moments.keys():
            raise ValueError(f"the {name} optimiser lacks a moment of parameter {index}")
        if any(moment.shape != (() if key == "step" else shape) for key, moment in moments.items()):
            raise ValueError(f"the {name} optimiser's moments of parameter {index} have another shape")
        if not 0 <= float(moments["step"]) < math.inf:
            raise ValueError(f"the {name} optimiser's step of parameter {index} is out of range")


def _kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) else type(value).__name__


def _load(path: str, name: str) -> dict[str, Any]:
    state: dict[str, Any] = th.load(
        os.path.join(path, name), map_location=lambda storage, loc: storage, weights_only=True
    )
    return state
