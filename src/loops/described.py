"""Parts of a run made again from its description, without repeating its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.scheme import build_scheme, extend_scheme
from controllers.basic_controller import BasicMAC
from loops.controller import build_mac
from loops.resolve import resolve
from utils.checkpoint import check_checkpoint, find_checkpoint, load_or_refuse
from utils.description import find_description, plain_values, read_description
from utils.errors import CheckpointError, ConfigError
from utils.paths import results_folder
from utils.settings import Settings


@dataclass(frozen=True)
class DescribedPolicy:
    """The policy of a checkpoint. directory: its step directory. args: the settings of the run that trained it."""

    directory: Path
    description: dict[str, Any]
    args: Settings
    mac: BasicMAC


def described_policy(
    checkpoint_path: str, load_step: int = 0, device: str = "cpu", key: str = "checkpoint_path"
) -> DescribedPolicy:
    """Load the policy of a run's checkpoint, the newest for `load_step` 0. key: the configuration's, for messages.

    Raises CheckpointError where there is no such checkpoint, where it is damaged, and where it has no description, as
    those of earlier releases and of stock EPyMARL.
    """
    directory = find_checkpoint(checkpoint_path, load_step, key)
    path = find_description(directory)
    if path is None:
        raise CheckpointError(
            f"{directory} has no run.json that describes its run, as release 0.1.0 wrote it; make one with "
            "python src/policy.py describe"
        )
    description = read_description(path)
    args = described_settings(description, device)
    scheme, groups, preprocess = build_scheme(description["env_info"], args)
    mac = build_mac(extend_scheme(scheme, preprocess), groups, args)
    check_checkpoint(directory)
    try:
        load_or_refuse(lambda: mac.load_models(str(directory)), directory)
    except CheckpointError as error:
        if not (valued := description["config"].get("policy_path")):
            raise
        raise CheckpointError(
            f"{key}={checkpoint_path}: that run has only valued the policy of {valued}; give that path ({error})"
        ) from error
    if device != "cpu":
        mac.cuda()
    return DescribedPolicy(directory, description, args, mac)


def described_settings(description: dict[str, Any], device: str) -> Settings:
    """The resolved settings of a described run, on another device."""
    config = description["config"]
    own = {
        "device": device,
        "unique_token": description["name"],
        "results": results_folder(config["local_results_path"]),
    }
    return resolve(Settings(**config).extended(**own), description["env_info"])


# What a learner for a given policy takes over from the run that trained it.
POLICY_KEYS = ("mac", "agent", "agent_output_type", "action_selector", "use_rnn", "obs_agent_id", "obs_last_action",
               "mask_before_softmax")  # fmt: skip
SIZES = ("n_agents", "obs_shape", "n_actions", "action_space", "action_low", "action_high")


def fixed_policy(args: Settings, env_info: dict[str, Any]) -> tuple[Settings, BasicMAC]:
    """The controller that `policy_path` names, and the settings with the keys that describe it.

    `policy_step` becomes the step that was found. Raises ConfigError where there is no path, and CheckpointError where
    the policy cannot be loaded, is for other sizes than the data, or was itself only valued by its run.
    """
    path = getattr(args, "policy_path", "")  # another learner's configuration has no such key
    if not path:
        raise ConfigError(f"learner={args.learner} values a given policy: set policy_path to the directory of its run")
    policy = described_policy(path, args.policy_step, args.device, "policy_path")
    valued = policy.description["config"].get("policy_path")
    if valued:
        raise CheckpointError(
            f"policy_path={path}: that run has only valued the policy of {valued}; set policy_path to it"
        )
    for key in SIZES:
        there, here = policy.description["env_info"].get(key), plain_values(env_info.get(key))
        if there != here:
            raise CheckpointError(
                f"policy_path={path}: its policy is for {key} {there}, the dataset has {here}; choose data "
                "of the policy's environment"
            )
    own = {key: getattr(policy.args, key) for key in POLICY_KEYS}
    return args.extended(**own, policy_step=int(policy.directory.name)), policy.mac
