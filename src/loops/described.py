"""Parts of a run made again from its description, without repeating its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.scheme import build_scheme, extend_scheme
from controllers.basic_controller import BasicMAC
from loops.build import build_mac
from loops.resolve import ROOT, resolve
from utils.checkpoint import find_checkpoint, load_or_refuse
from utils.description import find_description, read_description
from utils.errors import CheckpointError
from utils.settings import Settings


@dataclass(frozen=True)
class DescribedPolicy:
    """The policy of a checkpoint. directory: its step directory. args: the settings of the run that trained it."""

    directory: Path
    description: dict[str, Any]
    args: Settings
    mac: BasicMAC


def described_policy(checkpoint_path: str, load_step: int = 0, device: str = "cpu") -> DescribedPolicy:
    """Load the policy of a run's checkpoint, the newest for `load_step` 0.

    Raises CheckpointError where there is no such checkpoint, where it is damaged, and where it has no description, as
    those of earlier releases and of stock EPyMARL.
    """
    directory = find_checkpoint(checkpoint_path, load_step)
    path = find_description(directory)
    if path is None:
        raise CheckpointError(
            f"{directory} has no run.json that describes its run, as an earlier release wrote it; continue it first"
        )
    description = read_description(path)
    args = described_settings(description, device)
    scheme, groups, preprocess = build_scheme(description["env_info"], args)
    mac = build_mac(extend_scheme(scheme, preprocess), groups, args)
    load_or_refuse(lambda: mac.load_models(str(directory)), directory)
    if device != "cpu":
        mac.cuda()
    return DescribedPolicy(directory, description, args, mac)


def described_settings(description: dict[str, Any], device: str) -> Settings:
    """The resolved settings of a described run, on another device."""
    config = description["config"]
    own = {"device": device, "unique_token": description["name"], "results": ROOT / config["local_results_path"]}
    return resolve(Settings(**config).extended(**own), description["env_info"])
