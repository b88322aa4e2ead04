"""What several learners ask of the data before anything is built; each refusal is one sentence."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from modules.layers.sizes import field_size
from utils.errors import ConfigError


def check_team_reward(scheme: Mapping[str, Any], learner: str) -> None:
    """Raise ConfigError where agents have rewards of their own."""
    if field_size(scheme, "reward") != 1:
        raise ConfigError(f"{learner} needs one team reward: set common_reward=True")


def check_linear_mixer(args: SimpleNamespace, learner: str) -> None:
    """Raise ConfigError unless the mixer is a sum of the agents' values with one weight k_i(s) each."""
    if args.mixer != "monotone" or args.mixer_layers != 1:
        raise ConfigError(
            f"mixer={args.mixer} mixer_layers={args.mixer_layers}: {learner} needs one weight per agent; "
            "set mixer=monotone mixer_layers=1"
        )
