"""The scheme: entries of a time step, shared by runners, buffers, controllers and learners."""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.transforms import OneHot, Transform

Scheme = dict[str, dict[str, Any]]
Groups = dict[str, int]
Preprocess = dict[str, tuple[str, list[Transform]]]


class Identity(Transform):
    """The encoding of continuous actions: unchanged."""

    def transform(self, tensor: Tensor) -> Tensor:
        return tensor

    def infer_output_info(self, vshape_in: tuple[int, ...], dtype_in: th.dtype) -> tuple[tuple[int, ...], th.dtype]:
        return vshape_in, dtype_in


def is_continuous(env_info: dict[str, Any]) -> bool:
    """Whether actions are real vectors; False where env_info lacks `action_space`, as in stock EPyMARL."""
    return bool(env_info.get("action_space", "discrete") == "continuous")


def build_scheme(env_info: dict[str, Any], args: SimpleNamespace) -> tuple[Scheme, Groups, Preprocess]:
    """Scheme, groups and preprocessing for an environment, as in stock's `run.py` and for continuous actions too.

    Continuous actions are float32 with `n_actions` dimensions; their `avail_actions` are ones, and `actions_onehot`,
    the encoding for networks, is the action itself.
    """
    continuous = is_continuous(env_info)
    n_actions = int(env_info["n_actions"])
    n_agents = int(env_info["n_agents"])
    scheme: Scheme = {
        "state": {"vshape": env_info["state_shape"]},
        "obs": {"vshape": env_info["obs_shape"], "group": "agents"},
        "actions": {
            "vshape": (n_actions,) if continuous else (1,),
            "group": "agents",
            "dtype": th.float32 if continuous else th.long,
        },
        "avail_actions": {"vshape": (n_actions,), "group": "agents", "dtype": th.int},
        "terminated": {"vshape": (1,), "dtype": th.uint8},
        "reward": {"vshape": (1,) if args.common_reward else (n_agents,)},
    }
    encode: Transform = Identity() if continuous else OneHot(out_dim=n_actions)
    return scheme, {"agents": n_agents}, {"actions": ("actions_onehot", [encode])}


def extend_scheme(scheme: Scheme, preprocess: Preprocess) -> Scheme:
    """Add the entries of preprocessing and masking (`actions_onehot`, `filled`) to a scheme.

    Raises ValueError where the scheme declares the reserved key `filled`, or lacks a key to preprocess.
    """
    if "filled" in scheme:
        raise ValueError('the scheme declares the reserved key "filled", which marks steps that hold data; rename it')
    extended = {key: dict(field) for key, field in scheme.items()}
    for key, (new_key, transforms) in preprocess.items():
        if key not in scheme:
            raise ValueError(f"preprocess names '{key}', which the scheme does not declare; add it to the scheme")
        vshape, dtype = scheme[key]["vshape"], scheme[key]["dtype"]
        for transform in transforms:
            vshape, dtype = transform.infer_output_info(vshape, dtype)
        inherited: dict[str, Any] = {
            name: scheme[key][name] for name in ("group", "episode_const") if name in scheme[key]
        }
        extended[new_key] = {"vshape": vshape, "dtype": dtype, **inherited}
    extended["filled"] = {"vshape": (1,), "dtype": th.long}
    return extended
