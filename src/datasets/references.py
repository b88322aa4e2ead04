"""Reference returns: published random and expert returns, by which scores are normalised.

The normalised score is 100 (S - S_random) / (S_expert - S_random). S is the undiscounted return of the mean reward over
agents (Cooperative Navigation) or of the shared reward (the others). OMAR (Pan et al. 2022), CFCQL (Shao et al. 2023)
and SPaCQL (Jin & Montana) normalise by these values, which MADiff (Zhu et al. 2024) lists in appendix G.1.
"""

from collections.abc import Mapping
from typing import Any

_SOURCE = "MADiff appendix G.1, for the OMAR datasets"

# (env, key): (expert, random)
_PUBLISHED: dict[tuple[str, str], tuple[float, float]] = {
    ("mpe", "simple_spread"): (516.8, 159.8),
    ("mpe", "simple_tag"): (185.6, -4.1),
    ("mpe", "simple_world"): (79.5, -6.8),
    ("mamujoco", "HalfCheetah-2x3"): (3568.8, -284.0),
}


# Arguments with which the returns of the particle environments were measured; others change the returns.
_MPE_ARGUMENTS = {"time_limit": 25, "continuous_actions": True}


def reference_returns(env: str | None, env_args: Mapping[str, Any]) -> dict[str, Any] | None:
    """Reference returns {"random", "expert", "source"}; None where none are published for these arguments."""
    found = _PUBLISHED.get((env or "", env_args.get("key") or ""))
    if found is None:
        return None
    measured = _MPE_ARGUMENTS if env == "mpe" else {}
    if any(env_args.get(name, value) != value for name, value in measured.items()):
        return None
    return {"random": found[1], "expert": found[0], "source": _SOURCE}
