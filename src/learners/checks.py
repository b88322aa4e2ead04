"""What learners ask of a configuration before anything is built; each refusal is one sentence."""

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from utils.errors import ConfigError


def require(args: SimpleNamespace, keys: Iterable[str], learner: str, config: str) -> None:
    """Raise ConfigError, one sentence, where a configuration made for another learner lacks keys of this one's."""
    missing = [key for key in keys if not hasattr(args, key)]
    if missing:
        raise ConfigError(
            f"{learner} needs {', '.join(missing)}, which this configuration lacks: use --config={config}"
        )


def check_choices(args: SimpleNamespace, choices: Mapping[str, tuple[str, ...]]) -> None:
    """Raise ConfigError, one sentence, for a key whose value is none of its choices."""
    for key, names in choices.items():
        if getattr(args, key) not in names:
            raise ConfigError(f"{key} must be one of {', '.join(names)}, not {getattr(args, key)!r}")


def check_team_reward(scheme: Mapping[str, Any], learner: str) -> None:
    """Raise ConfigError, one sentence, where agents have rewards of their own."""
    if scheme["reward"]["vshape"] not in (1, (1,)):
        raise ConfigError(f"{learner} needs one team reward: set common_reward=True")
