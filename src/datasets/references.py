"""Reference returns: published random and expert returns, by which scores are normalised.

The normalised score is 100 (S - S_random) / (S_expert - S_random). S is the undiscounted return of the mean reward over
agents (Cooperative Navigation) or of the shared reward (the others). OMAR (Pan et al. 2022), CFCQL (Shao et al. 2023)
and SPaCQL (Jin & Montana) normalise by these values, which MADiff (Zhu et al. 2024) lists in appendix G.1.
"""

from collections.abc import Mapping
from typing import Any

from envs.mpe.prey import load_prey
from envs.mpe.tasks import TASKS
from utils.errors import EnvError

_SOURCE = "MADiff appendix G.1, for the OMAR datasets"

# (env, key): (expert, random)
_PUBLISHED: dict[tuple[str, str], tuple[float, float]] = {
    ("mpe", "simple_spread"): (516.8, 159.8),
    ("mpe", "simple_tag"): (185.6, -4.1),
    ("mpe", "simple_world"): (79.5, -6.8),
    ("mamujoco", "HalfCheetah-2x3"): (3568.8, -284.0),
}
# Checksums of OMAR's preys, against whom the published returns were measured; another prey changes the returns.
_PUBLISHED_PREYS = {
    "simple_tag": "56df3202f236c255e769bf8f9e6e8ef0bf9a98ea55577402f9e55c4e34073d05",
    "simple_world": "cce244d53192c9b8ece4e510110d38d9d3f024a7172414b3e4e5bc839eea797a",
}


# Arguments with which the returns of the particle environments were measured; others change the returns.
_MPE_ARGUMENTS = {"time_limit": 25, "continuous_actions": True, "control": "predators"}


def reference_returns(env: str | None, env_args: Mapping[str, Any]) -> dict[str, Any] | None:
    """Reference returns {"random", "expert", "source"}; None where none are published for these arguments."""
    key = env_args.get("key") or ""
    found = _PUBLISHED.get((env or "", key))
    if found is None:
        return None
    measured = _MPE_ARGUMENTS if env == "mpe" else {}
    if any(env_args.get(name, value) != value for name, value in measured.items()):
        return None
    if key in _PUBLISHED_PREYS and _prey_of(key, env_args) != _PUBLISHED_PREYS[key]:
        return None
    return {"random": found[1], "expert": found[0], "source": _SOURCE}


def _prey_of(key: str, env_args: Mapping[str, Any]) -> str | None:
    """Checksum of the prey's policy; None where its file cannot be read, as away from where the data were made."""
    try:
        return load_prey(key, env_args.get("prey"), TASKS[key].prey_obs_dim).checksum
    except EnvError:
        return None
