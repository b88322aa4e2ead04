"""Reference returns: random and expert returns, published or measured here, by which scores are normalised.

The normalised score is 100 (S - S_random) / (S_expert - S_random). S is the undiscounted return of the mean reward over
agents (Cooperative Navigation) or of the shared reward (the others). OMAR (Pan et al. 2022), CFCQL (Shao et al. 2023)
and SPaCQL (Jin & Montana) normalise by these values, which MADiff (Zhu et al. 2024) lists in appendix G.1.
"""

from collections.abc import Mapping
from typing import Any

from datasets.robot_references import FILES, MEASURED, simulator_of
from envs.mpe.prey import load_prey
from envs.mpe.tasks import TASKS
from utils.errors import EnvError

_OMAR = "MADiff appendix G.1, for the OMAR datasets"
_HERE = "measured here: 40 000 episodes of uniform actions, 10 000 of the bundled policies/reference without noise"
_ROBOTS_HERE = (
    "measured here over 100 episodes with MuJoCo 4.0.0 and Gymnasium 1.4.0: uniform actions, and the bundled "
    "policies/expert without noise"
)

Entry = tuple[float, float, str]  # expert, random, source

_SPREAD: Entry = (516.8, 159.8, _OMAR)
# Predators' returns depend on the prey: by task and checksum of the prey's policy. The published prey has two: the
# second is of files that `policy.py prey` wrote before its sums were the same on every processor.
_PREDATORS: dict[tuple[str, str], Entry] = {
    ("simple_tag", "8cad4c7f115e5d194761163302e40e409526a619db17db758fafec59541224a1"): (185.6, -4.1, _OMAR),
    ("simple_tag", "56df3202f236c255e769bf8f9e6e8ef0bf9a98ea55577402f9e55c4e34073d05"): (185.6, -4.1, _OMAR),
    ("simple_world", "1a7c6eee8dfd0a7f42067a25c655b70cabcf4a4e916b82e332c9ab3e4f736175"): (79.5, -6.8, _OMAR),
    ("simple_world", "cce244d53192c9b8ece4e510110d38d9d3f024a7172414b3e4e5bc839eea797a"): (79.5, -6.8, _OMAR),
    ("simple_tag", "fbf17ef2be06cfde6799bb74bb816ade6b4c670dba38c3185ec5bf20cda0d239"): (135.25, -4.04, _HERE),
    ("simple_world", "bdd8e31ab3c51ca3e3dfa6fa78e4a6c0a4d8ec019939d03c901a0dfe2deb04b4"): (86.74, -6.45, _HERE),
}
BUNDLED_PREYS = frozenset(prey for (_, prey), entry in _PREDATORS.items() if entry[2] is _HERE)
# OMAR's own environment, on MuJoCo 2.0, which is not here.
_OMARS_CHEETAH: Entry = (3568.8, -284.0, _OMAR)
# Arguments with which the returns of the particle environments were measured; others change the returns.
_MPE_ARGUMENTS = {"time_limit": 25, "continuous_actions": True, "control": "predators"}
# Arguments that change no return of a robot: who sees what, pictures, threads. Any other value but None counts.
_ROBOT_ARGUMENTS = frozenset(
    ("key", "partition", "observations", "agent_obsk", "observe_torso", "include_cfrc_ext_in_observation", "seed",
     "render_mode", "replay_path", "threads")
)  # fmt: skip


def reference_returns(env: str | None, env_args: Mapping[str, Any]) -> dict[str, Any] | None:
    """Reference returns {"random", "expert", "source"}; None where none are known for these arguments."""
    found = {"mpe": _of_particles, "mamujoco": _of_robots}.get(env or "", _unknown)(env_args)
    return None if found is None else {"random": found[1], "expert": found[0], "source": found[2]}


def normalised_score(value: float, random: float, expert: float) -> float:
    """100 (S - S_random) / (S_expert - S_random) of the return S `value`."""
    return 100.0 * (value - random) / (expert - random)


def _unknown(env_args: Mapping[str, Any]) -> Entry | None:
    return None


def _of_particles(env_args: Mapping[str, Any]) -> Entry | None:
    if any(env_args.get(name, value) != value for name, value in _MPE_ARGUMENTS.items()):
        return None
    key = env_args.get("key") or ""
    if key == "simple_spread":
        return _SPREAD
    return _PREDATORS.get((key, prey_checksum(env_args) or ""))


def prey_checksum(env_args: Mapping[str, Any]) -> str | None:
    """The checksum of the prey that plays with these arguments; None where there is none, or no sound file."""
    key = env_args.get("key") or ""
    if key not in TASKS or not TASKS[key].hit_reward:
        return None
    try:
        return load_prey(key, env_args.get("prey"), TASKS[key].prey_obs_dim).checksum
    except EnvError:  # a file that is not here, as away from where the data were made
        return None


def _of_robots(env_args: Mapping[str, Any]) -> Entry | None:
    if any(value is not None for name, value in env_args.items() if name not in _ROBOT_ARGUMENTS):
        return None
    key = env_args.get("key") or ""
    if key == "HalfCheetah-2x3":
        return _OMARS_CHEETAH
    found = MEASURED.get((key, env_args.get("partition") or ""))
    return None if found is None or found.expert is None else (found.expert, found.random, _ROBOTS_HERE)


def reference_simulator(env: str | None, env_args: Mapping[str, Any]) -> dict[str, Any] | None:
    """The simulator in which the reference returns of these arguments were measured; None where that is unknown."""
    known = env == "mamujoco" and env_args.get("key") in FILES and _of_robots(env_args) is not None
    return {"simulator": simulator_of(env_args["key"])} if known else None
