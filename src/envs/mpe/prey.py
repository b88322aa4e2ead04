"""The prey of Predator-Prey and World: part of the environment, with a policy of its own in a file."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from utils.errors import ConfigError, EnvError, cause
from utils.manifest import Damage, regular_file
from utils.paths import CHECKOUT, user_path

PREDATORS, PREY = slice(0, 3), 3  # places among the bodies
CONTROLS = ("predators", "prey")
LAYERS = 3
LARGEST = 2**22  # bytes of a prey's file; the bundled ones have 45 000
_MAKE = "make one with: python src/policy.py prey SOURCE --task TASK -o FILE"


class Prey:
    """Deterministic policy: two hidden ReLU layers, actions squashed by tanh.

    weights, biases: of the layers, (out, in) and (out,), float64. checksum: SHA-256 of these numbers, which tells preys
    apart whatever their files are called.
    """

    def __init__(self, weights: list[np.ndarray], biases: list[np.ndarray]) -> None:
        self.weights, self.biases = weights, biases
        content = b"".join(np.ascontiguousarray(part, "<f8").tobytes() for part in (*weights, *biases))
        self.checksum = hashlib.sha256(content).hexdigest()

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions in [-1, 1]^2 (E, 2) for observations (E, O)."""
        x = observations
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.maximum(x @ weight.T + bias, 0.0)  # (E, H)
        return np.asarray(np.tanh(x @ self.weights[-1].T + self.biases[-1]))


def prey_file(key: str, path: str | None) -> Path:
    """The file that `env_args.prey` names, or the bundled one for None."""
    if path is None:
        return CHECKOUT / "offline_data" / "mpe" / key / "prey.safetensors"
    return user_path(path, "env_args.prey")


def load_prey(key: str, path: str | None, obs_dim: int) -> Prey:
    """Read the prey's policy. path: the value of `env_args.prey`. obs_dim: length of the prey's observation.

    Raises EnvError where there is no such file, where it is damaged or of another kind, and where it belongs to another
    task. Nothing is unpickled.
    """
    try:
        file = prey_file(key, path)
    except ConfigError as error:
        raise EnvError(str(error)) from error
    try:
        with regular_file(file) as source:
            content = source.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise Damage(file, f"is larger than {LARGEST} bytes")
        tensors = load(content)
    except FileNotFoundError as error:
        raise EnvError(f"env_args.prey: there is no file {file}; {_MAKE}") from error
    except OSError as error:
        raise EnvError(f"env_args.prey: {file}: {cause(error)}") from error
    except (Damage, SafetensorError, KeyError, ValueError) as error:
        reason = error.reason if isinstance(error, Damage) else "is damaged or no safetensors file"
        raise EnvError(f"env_args.prey: {file} {reason}; {_MAKE}") from error
    return _checked(file, tensors, obs_dim)


def _checked(file: Path, tensors: dict[str, Any], obs_dim: int) -> Prey:
    """The prey of these tensors. Raises EnvError unless they are the finite layers of a policy of these sizes."""
    names = [f"{i}.{kind}" for i in range(LAYERS) for kind in ("weight", "bias")]
    if sorted(tensors) != sorted(names) or any(tensors[name].dtype.kind != "f" for name in names):
        raise EnvError(f"env_args.prey: {file} is no policy of a prey, which holds {', '.join(names)}; {_MAKE}")
    weights = [tensors[f"{i}.weight"].astype(np.float64) for i in range(LAYERS)]
    biases = [tensors[f"{i}.bias"].astype(np.float64) for i in range(LAYERS)]
    width = obs_dim
    for weight, bias in zip(weights, biases, strict=True):
        if weight.ndim != 2 or weight.shape[1] != width or bias.shape != (len(weight),):
            raise EnvError(
                f"env_args.prey: the sizes in {file} do not fit a prey that observes {obs_dim} numbers: is it another "
                f"task's? {_MAKE}"
            )
        width = len(weight)
    if width != 2 or not all(np.isfinite(part).all() for part in (*weights, *biases)):
        raise EnvError(f"env_args.prey: {file} must give 2 actions by finite numbers; {_MAKE}")
    return Prey(weights, biases)


def check_control(control: str) -> str:
    """Return `control` unchanged. Raises EnvError unless it is one of `CONTROLS`."""
    if control not in CONTROLS:
        raise EnvError(f"env_args.control must be one of {', '.join(CONTROLS)}, not {control!r}")
    return control


def chase(to_prey: np.ndarray) -> np.ndarray:
    """Actions of predators that run straight at the prey. to_prey: its place relative to them, (..., 2, E)."""
    largest = np.abs(to_prey).max(axis=-2, keepdims=True)
    return np.asarray(to_prey / np.maximum(largest, 1e-6))
