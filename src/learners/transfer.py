"""A checkpoint's weights in a new run's networks: policies always, other networks where names and shapes agree."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from modules.layers.normaliser import Normaliser
from utils.checkpoint import load_or_refuse
from utils.errors import CheckpointError, printable
from utils.manifest import Damage
from utils.tensor_files import load_tensors

# What is loaded together or not at all: a mixer's weights are for states as its normaliser leaves them.
_TOGETHER = ("mixer", "normaliser")


def load_weights(learner: Any, directory: Path) -> tuple[list[str], dict[str, str]]:
    """Load the weights of a checkpoint that was checked; targets become copies of what was loaded.

    A network is loaded with the statistics that its inputs are standardised by, whatever this run's dataset has: they
    are part of what it computes. A learner's other networks are those that its losses move, or of a stock learner all
    that it holds. Returns the names of what was loaded, and of what was not with the reason.
    Raises CheckpointError where the policies do not fit.
    """
    policies = _weights(directory, "agent")
    reason = "there is no agent.th" if policies is None else misfit(learner.mac.agent, policies)
    if reason:
        raise CheckpointError(
            f"the policies in {directory} do not fit this run ({reason}); give the agent, network sizes and data that "
            "they were saved with"
        )
    networks = _networks(learner)
    found = {name: _weights(directory, name) for name in (*networks, *_TOGETHER)}
    found |= {name: {} for name in getattr(learner, "LATER", ()) if found.get(name) is None}
    reasons = {name: _reason(network, found[name]) for name, network in networks.items()}
    together = [name for name in _TOGETHER if name in networks or found[name]]
    if any(name not in networks or reasons[name] for name in together):
        reasons |= {name: reasons[name] or "of no use alone" for name in together if name in networks}
    fitting = [name for name in networks if not reasons[name]]
    load_or_refuse(partial(learner.mac.agent.load_state_dict, policies), directory)
    for name in fitting:
        load_or_refuse(partial(networks[name].load_state_dict, found[name]), directory)
    _copy_targets(learner, networks)
    return ["policies", *fitting], {name: reason for name, reason in reasons.items() if reason}


def misfit(network: nn.Module, weights: Any) -> str:
    """Where weights differ from a network in names or shapes, in words; empty where they fit.

    Statistics of a normaliser may be absent, which means that it changes nothing.
    """
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        return "the file holds no weights"
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, Normaliser)}
    statistics = {
        f"{name}.{key}".lstrip("."): getattr(layer, key) for name, layer in layers.items() for key in ("mean", "std")
    }
    here = network.state_dict()
    for name in [*weights, *here]:
        mine, theirs = here.get(name, statistics.get(name)), weights.get(name)
        shown = printable(str(name)[:60])
        if mine is None:
            return f"{shown} is not part of this run's"
        if theirs is None and name not in statistics:
            return f"{shown} is not part of the checkpoint's"
        if theirs is not None and theirs.shape != mine.shape:
            return f"{shown} has shape {tuple(theirs.shape)} there, {tuple(mine.shape)} here"
    return ""


def _reason(network: nn.Module, weights: Any) -> str:
    return "not in the checkpoint" if weights is None else misfit(network, weights)


def _networks(learner: Any) -> dict[str, nn.Module]:
    """A learner's networks beside the policies, by the names of their files."""
    specs = getattr(learner, "LOSSES", None)
    if specs is not None:
        names = dict.fromkeys(name for spec in specs for name in spec.modules if name != "agent")
        return {name: getattr(learner, name) for name in names}
    held = {name: value for name, value in vars(learner).items() if isinstance(value, nn.Module)}
    return {name: value for name, value in held.items() if not name.startswith("target_") and name != "agent"}


def _copy_targets(learner: Any, networks: dict[str, nn.Module]) -> None:
    """Make target networks copies of what they follow."""
    if hasattr(learner, "target_mac"):
        learner.target_mac.load_state(learner.mac)
    for name, network in networks.items():
        target = getattr(learner, f"target_{name}", None)
        if target is not None:
            target.load_state_dict(network.state_dict())


def _weights(directory: Path, name: str) -> Any:
    """The content of a network's file, None where there is none."""
    file = directory / f"{name}.th"
    if not file.is_file():
        return None
    try:
        return load_tensors(file)
    except (Damage, OSError) as error:  # since it was checked
        raise CheckpointError(f"cannot read {file} ({error}); name another checkpoint") from error
