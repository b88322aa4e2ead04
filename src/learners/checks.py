"""What several learners ask of the data before anything is built; each refusal is one sentence."""

from collections.abc import Mapping
from typing import Any

from modules.layers.sizes import field_size
from utils.errors import ConfigError


def check_team_reward(scheme: Mapping[str, Any], learner: str) -> None:
    """Raise ConfigError where agents have rewards of their own."""
    if field_size(scheme, "reward") != 1:
        raise ConfigError(f"{learner} needs one team reward: set common_reward=True")
