"""Environments by name. This package imports no simulator: each factory imports its own when it is called."""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from envs.arguments import check_arguments, own_arguments, own_copy, refuse_limit
from envs.multiagentenv import MultiAgentEnv
from envs.vector_env import SyncVectorEnv, VectorEnv
from utils.errors import EnvError

__all__ = ["REGISTRY", "VECTOR_REGISTRY", "MultiAgentEnv", "SyncVectorEnv", "VectorEnv", "make_env", "make_vector_env"]

# What each family imports, and how that is installed.
SIMULATORS = {
    "gymma": (("gymnasium", "pettingzoo"), "gymnasium pettingzoo"),
    "mpe": (("mpe2", "pettingzoo", "pygame", "gymnasium"), "mpe2 pettingzoo gymnasium pygame-ce"),
    "mamujoco": (("mujoco", "gymnasium", "gymnasium_robotics", "pettingzoo"), "mujoco gymnasium gymnasium-robotics"),
}
UNUSED_BY_TWINS = {"key", "render_mode", "replay_path"}  # env_args that not every vectorised environment takes
# Vectorised environments of OMAR's tasks: module and class.
TWINS = {
    "simple_spread": ("envs.mpe.spread_twin", "SpreadTwin"),
    "simple_tag": ("envs.mpe.pursuit_twin", "PursuitTwin"),
    "simple_world": ("envs.mpe.pursuit_twin", "PursuitTwin"),
}


@contextmanager
def needs(family: str) -> Iterator[None]:
    """A context that imports simulators. Raises `EnvError` where a package of the family is not installed."""
    modules, packages = SIMULATORS[family]
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in modules:
            raise
        raise EnvError(
            f"the {family} environments need the package {missing}, which is not installed: "
            f"pip install -c constraints.txt {packages}"
        ) from error


def mpe_fn(**env_args: Any) -> MultiAgentEnv:
    """Make a `MultiAgentEnv` on mpe2; `envs.mpe.mpe_env.MPEEnv` lists the keywords.

    Raises `EnvError` where a package is missing or an argument is wrong.
    """
    if "key" not in env_args:
        raise EnvError("env_args.key is missing: name an environment, such as simple_spread, or add --env-config=mpe")
    with needs("mpe"):
        from envs.mpe.mpe_env import MPEEnv

        return MPEEnv(**env_args)


def mpe_vector_fn(
    n_envs: int, /, common_reward: bool = True, reward_scalarisation: str = "sum", **env_args: Any
) -> VectorEnv:
    """Make the vectorised environment of OMAR's tasks, without rendering, else a loop over ordinary ones."""
    key = env_args.get("key")
    if isinstance(key, str) and key in TWINS and env_args.get("render_mode") is None:
        twin = getattr(importlib.import_module(TWINS[key][0]), TWINS[key][1])
        accepted = set(inspect.signature(twin).parameters)
        given = {name: value for name, value in env_args.items() if name not in UNUSED_BY_TWINS - accepted}
        refuse_limit("max_cycles", given)
        check_arguments(key, given, accepted - {"n_envs"} | UNUSED_BY_TWINS)
        made: VectorEnv = twin(n_envs, common_reward=common_reward, reward_scalarisation=reward_scalarisation, **given)
        return made
    return sync_vector_env(mpe_fn, n_envs, common_reward, reward_scalarisation, **env_args)


def gymma_fn(**env_args: Any) -> MultiAgentEnv:
    """Make any PettingZoo or Gymnasium environment; `envs.gymma.GymmaEnv` lists the keywords.

    Raises `EnvError` where a package is missing or an argument is wrong.
    """
    if "key" not in env_args:
        raise EnvError("env_args.key is missing: name an environment, such as lbforaging:Foraging-8x8-2p-3f-v3")
    with needs("gymma"):
        from envs.gymma import GymmaEnv

        return GymmaEnv(**env_args)


def mamujoco_fn(**env_args: Any) -> MultiAgentEnv:
    """Make one of MuJoCo's robots; `envs.mamujoco.robot_env.RobotEnv` lists the keywords.

    Raises `EnvError` where a package is missing or an argument is wrong.
    """
    robot: MultiAgentEnv = _robots("robot_env.RobotEnv", env_args)
    return robot


def mamujoco_vector_fn(n_envs: int, /, **env_args: Any) -> VectorEnv:
    """Make `n_envs` robots that several threads step; keywords and errors as those of `mamujoco_fn`."""
    robots: VectorEnv = _robots("robot_vector.RobotVector", env_args, n_envs)
    return robots


def _robots(name: str, env_args: Mapping[str, Any], *given: int) -> Any:
    """An instance of a class of `envs.mamujoco`. Raises `EnvError` where a package or a needed argument is missing."""
    for key, example in (("key", "HalfCheetah"), ("partition", "6x1")):
        if key not in env_args:
            raise EnvError(f"env_args.{key} is missing: name one, such as {example}")
    module, _, own = name.partition(".")
    with needs("mamujoco"):
        return getattr(importlib.import_module(f"envs.mamujoco.{module}"), own)(*given, **env_args)


def matrix_game_fn(**env_args: Any) -> MultiAgentEnv:
    """Make the XOR or the penalty game; `envs.matrix_game.MatrixGameEnv` lists the keywords. Raises `EnvError`."""
    from envs.matrix_game import MatrixGameEnv

    return _game("matrix_game", MatrixGameEnv, env_args)


def bridge_fn(**env_args: Any) -> MultiAgentEnv:
    """Make the Bridge game; `envs.bridge.BridgeEnv` lists the keywords. Raises `EnvError`."""
    from envs.bridge import BridgeEnv

    return _game("bridge", BridgeEnv, env_args)


def _game(name: str, game: Callable[..., MultiAgentEnv], env_args: dict[str, Any]) -> MultiAgentEnv:
    """Make a game. Raises `EnvError` for an unknown keyword, and for a render mode: games cannot be drawn."""
    from envs.game_env import NO_PICTURES

    if env_args.get("render_mode") is not None:
        raise EnvError(NO_PICTURES)
    check_arguments(name, env_args, inspect.signature(game).parameters)
    return game(**env_args)


def _looped(factory: Callable[..., MultiAgentEnv]) -> Callable[..., VectorEnv]:
    """Make the `VECTOR_REGISTRY` entry of an environment that has no vectorised implementation."""

    def vector_fn(
        n_envs: int, /, common_reward: bool = True, reward_scalarisation: str = "sum", **env_args: Any
    ) -> VectorEnv:
        return sync_vector_env(factory, n_envs, common_reward, reward_scalarisation, **env_args)

    return vector_fn


def sync_vector_env(
    factory: Callable[..., MultiAgentEnv],
    n_envs: int,
    common_reward: bool,
    reward_scalarisation: str,
    /,
    **env_args: Any,
) -> VectorEnv:
    """Make `n_envs` environments that step in a loop; number i has seed + i, as in EPyMARL's parallel runner."""
    seed = env_args.pop("seed", None)

    def make_env(i: int) -> MultiAgentEnv:
        return factory(**own_copy(env_args), seed=None if seed is None else seed + i, common_reward=False)

    return SyncVectorEnv(n_envs, make_env, common_reward, reward_scalarisation)


REGISTRY: dict[str, Callable[..., MultiAgentEnv]] = {
    "mpe": mpe_fn,
    "gymma": gymma_fn,
    "mamujoco": mamujoco_fn,
    "matrix_game": matrix_game_fn,
    "bridge": bridge_fn,
}
VECTOR_REGISTRY: dict[str, Callable[..., VectorEnv]] = {
    "mpe": mpe_vector_fn,
    "mamujoco": mamujoco_vector_fn,
    **{name: _looped(REGISTRY[name]) for name in ("gymma", "matrix_game", "bridge")},
}


def make_env(name: str, env_args: Mapping[str, Any], common_reward: bool, reward_scalarisation: str) -> MultiAgentEnv:
    """Make the environment `REGISTRY[name]` with a copy of `env_args` that is its own. Raises `EnvError`."""
    arguments = own_arguments(env_args)
    return REGISTRY[name](**arguments, common_reward=common_reward, reward_scalarisation=reward_scalarisation)


def make_vector_env(
    name: str, n_envs: int, env_args: Mapping[str, Any], common_reward: bool, reward_scalarisation: str
) -> VectorEnv:
    """Make the environment `VECTOR_REGISTRY[name]` with a copy of `env_args` that is its own. Raises `EnvError`."""
    ours = {"common_reward": common_reward, "reward_scalarisation": reward_scalarisation}
    return VECTOR_REGISTRY[name](n_envs, **own_arguments(env_args), **ours)
