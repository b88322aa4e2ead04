"""Runs' folders with untrained policies of every kind, made in milliseconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch as th

from components.scheme import build_scheme, extend_scheme
from deployment.loaded import LoadedPolicy, load_policy
from loops.controller import build_mac
from loops.described import described_settings
from tests.command_line import ROOT
from utils.description import write_description

EXPERT = ROOT / "offline_data" / "mpe" / "simple_spread" / "policies" / "expert"
CONTINUOUS = ("mean", "gaussian", "tanh_gaussian")
# Bounds that differ between the agents.
OWN_BOUNDS = {"action_low": [[-1, -2], [-1, -1], [0, -3]], "action_high": [[1, 2], [0.5, 1], [1, 3]]}
# Every kind of output, every agent, with and without what is remembered.
KINDS: list[dict[str, Any]] = [
    {"agent_output_type": "mean", "agent": "mlp_ns"},
    {"agent_output_type": "gaussian", "agent": "rnn", "obs_agent_id": True, "obs_last_action": True},
    {"agent_output_type": "tanh_gaussian", "agent": "rnn_ns"},
    {"agent_output_type": "mean", "agent": "mlp", "obs_agent_id": True, "obs_last_action": True},
    {"agent_output_type": "q", "agent": "rnn", "obs_agent_id": True, "obs_last_action": True},
    {"agent_output_type": "q", "agent": "mlp_ns"},
    {"agent_output_type": "pi_logits", "agent": "rnn_ns", "obs_last_action": True},
]


def kind_name(kind: dict[str, Any]) -> str:
    """A name for a test's parameter."""
    return "-".join([kind["agent_output_type"], kind["agent"], *[key for key, value in kind.items() if value is True]])


def description(env_info: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """The description of a run on Cooperative Navigation with other keys."""
    found: dict[str, Any] = json.loads((EXPERT / "run.json").read_text())
    own = {"action_selector": "auto", "hidden_dim": 16}
    if "agent" in keys:
        own["mac"] = "non_shared_mac" if keys["agent"].endswith("_ns") else "basic_mac"
    found["config"] |= own | keys
    if keys.get("agent_output_type", "mean") not in CONTINUOUS:
        found["env_info"] |= {"action_space": "discrete", "n_actions": 5}
        for key in ("action_low", "action_high", "action_dim"):
            del found["env_info"][key]
        for env_args in (found["config"]["env_args"], found["environment"]["env_args"]):
            env_args["continuous_actions"] = False
    found["env_info"] |= env_info or {}
    return found


def make_run(folder: Path, env_info: dict[str, Any] | None = None, **keys: Any) -> Path:
    """A run's folder with one checkpoint, of step 10, of an untrained policy."""
    content = description(env_info, **keys)
    args = described_settings(content, "cpu")
    scheme, groups, preprocess = build_scheme(content["env_info"], args)
    with th.random.fork_rng():
        th.manual_seed(0)
        mac = build_mac(extend_scheme(scheme, preprocess), groups, args)
    (folder / "10").mkdir(parents=True)
    mac.save_models(str(folder / "10"))
    write_description(folder, content)
    return folder


def make_policy(folder: Path, env_info: dict[str, Any] | None = None, **keys: Any) -> LoadedPolicy:
    """The policy of `make_run`."""
    return load_policy(make_run(folder, env_info, **keys))
