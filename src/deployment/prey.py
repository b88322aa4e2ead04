"""A prey for Predator-Prey and World: from OMAR's file or from a policy trained here, to a file for `env_args.prey`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch as th
from safetensors.numpy import save
from torch import Tensor

from deployment.loaded import load_policy
from deployment.lone_agent import lone_network
from envs.mpe.prey import LAYERS, load_prey
from envs.mpe.tasks import TASKS
from utils.errors import CheckpointError, OutputError, PolicyError, cause
from utils.files import writing_file
from utils.manifest import Damage, regular_file
from utils.paths import user_path
from utils.tensor_files import UNREADABLE

PURSUITS = tuple(key for key, task in TASKS.items() if task.hit_reward)
_SLOT = 3  # of the prey among OMAR's agents; its predators are no experts and are not read
_EPSILON = 1e-5  # of torch's batch normalisation, which OMAR's prey has on its inputs
_LARGEST = 2**26  # bytes of OMAR's file, which has a million

Layers = list[tuple[Tensor, Tensor]]


def write_prey(source: str, key: str, out: str, replace: bool = False) -> list[str]:
    """Write the file that `env_args.prey` names; return lines that say what was written.

    source: OMAR's `pretrained_adv_model.pt`, or the run of a prey that was trained with `env_args.control=prey`. key:
    the task, `simple_tag` or `simple_world`. replace: whether an existing file goes.

    Raises CheckpointError and PolicyError where the source holds no such policy, OutputError where the file cannot be
    written. Nothing is unpickled.
    """
    path = user_path(source, "SOURCE", folder=True)
    layers = _published(path) if path.is_file() else _trained(source, key)
    _check_sizes(source, key, layers)
    named = {}
    for i, (weight, bias) in enumerate(layers):
        named[f"{i}.weight"], named[f"{i}.bias"] = (part.to(th.float64).contiguous().numpy() for part in (weight, bias))
    file = user_path(out, "-o", written=True)
    try:
        with writing_file(file, replace) as temporary:
            temporary.write_bytes(save(named))
            prey = load_prey(key, str(temporary), TASKS[key].prey_obs_dim)
    except FileExistsError as error:
        raise OutputError(f"{file} exists; choose another name, or add --force to replace it") from error
    except OSError as error:
        raise OutputError(f"{file} cannot be written: {cause(error)}; choose another place") from error
    return [f"{file}: a prey for env_args.key={key}, checksum {prey.checksum}"]


def _check_sizes(source: str, key: str, layers: Layers) -> None:
    """Raise PolicyError unless the layers are finite, follow one another and act on what a prey of the task sees."""
    width = TASKS[key].prey_obs_dim
    for weight, bias in layers:
        if weight.dim() != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
            break
        width = len(weight)
    else:
        if width == 2 and all(bool(part.isfinite().all()) for layer in layers for part in layer):
            return
    raise PolicyError(
        f"{source} holds no prey of {key}, which makes 2 actions of {TASKS[key].prey_obs_dim} numbers by layers that "
        "follow one another: is it another task's?"
    )


def _published(path: Path) -> Layers:
    """The layers in OMAR's file, whose batch normalisation becomes part of the first."""
    try:
        with regular_file(path) as file:
            if file.seek(0, 2) > _LARGEST:
                raise Damage(path, f"is larger than {_LARGEST} bytes")
            file.seek(0)
            content = th.load(file, map_location="cpu", weights_only=True)
        policy: Mapping[str, Any] = content["agent_params"][_SLOT]["policy"]
        norm = {name: policy[f"in_fn.{name}"].double() for name in ("weight", "bias", "running_mean", "running_var")}
        layers = [(policy[f"fc{i}.weight"].double(), policy[f"fc{i}.bias"].double()) for i in range(1, LAYERS + 1)]
        scale = norm["weight"] / th.sqrt(norm["running_var"] + _EPSILON)  # (O,)
        return _folded(layers, scale, norm["bias"] - norm["running_mean"] * scale)
    except Damage as error:
        raise CheckpointError(f"{error}; give OMAR's pretrained_adv_model.pt or the run of a prey") from error
    except OSError as error:
        raise CheckpointError(f"{path}: {cause(error)}") from error
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path} is damaged or not OMAR's pretrained_adv_model.pt, whose fourth agent is the prey"
        ) from error


def _trained(source: str, key: str) -> Layers:
    """The layers of a prey that was trained here, whose standardisation of inputs becomes part of the first."""
    policy = load_policy(source)
    env_args = (policy.environment or {}).get("env_args", {})
    if (env_args.get("key"), env_args.get("control")) != (key, "prey"):
        raise PolicyError(f"{source} was not trained with env_args.key={key} env_args.control=prey; train such a prey")
    agent: Any = lone_network(policy.mac.agent, 0, policy.args.agent)
    if policy.recurrent or not all(hasattr(agent, f"fc{i}") for i in range(1, LAYERS + 1)):
        raise PolicyError(f"a prey is a feed-forward policy, not agent={policy.args.agent}; train it with agent=mlp_ns")
    layers = [_plain(getattr(agent, f"fc{i}")) for i in range(1, LAYERS + 1)]
    scale = 1.0 / agent.normaliser.std.double().flatten()  # (O,)
    return _folded(layers, scale, -agent.normaliser.mean.double().flatten() * scale)


def _plain(layer: Any) -> tuple[Tensor, Tensor]:
    """Weight (out, in) and bias (out,) of a layer; those of networks per agent are (1, in, out)."""
    weight, bias = layer.weight.detach().double(), layer.bias.detach().double().flatten()
    return (weight[0].T if weight.dim() == 3 else weight), bias


def _folded(layers: Layers, scale: Tensor, shift: Tensor) -> Layers:
    """Layers that give for x what the given ones give for `scale * x + shift`.

    Sums are rounded once, for a matrix product adds in an order of its processor's, and the checksum tells preys apart.
    """
    weight, bias = layers[0]
    rows = zip(bias.tolist(), (weight * shift).tolist(), strict=True)
    return [(weight * scale, th.tensor([math.fsum((b, *row)) for b, row in rows], dtype=th.float64)), *layers[1:]]
