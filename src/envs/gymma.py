"""Any PettingZoo parallel environment and any Gymnasium multi-agent environment, by `env_args.key`."""

import copy
import importlib
import inspect
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator

from envs.arguments import REFUSALS, check_arguments, check_flag, check_flags, refusal, refuse_limit
from envs.mpe.keys import check_time_limit
from envs.wrappers.limits import OwnLimits
from envs.wrappers.simulators import GymnasiumSimulator, PettingZooSimulator, Simulator
from envs.wrappers.wrapped_env import WrappedEnv, check_render_mode
from utils.errors import EnvError, nearest, one_line

KEY_FORMS = (
    "write package:EnvId-v0 or EnvId-v0 for Gymnasium, "
    "pz-family-name-v0 or a module such as mpe2.simple_spread_v3 for PettingZoo"
)
# The keyword for the length of an episode in many environments.
PETTINGZOO_LIMIT = "max_cycles"
GYMNASIUM_LIMIT = "max_episode_steps"


class GymmaEnv(WrappedEnv):
    """The environment that `key` names, wrapped as `envs.wrappers.wrapped_env.WrappedEnv` describes.

    Keys for Gymnasium: `EnvId-v0`, or `module:EnvId-v0` where importing the module registers the id. Keys for
    PettingZoo: `pz-<family>-<name>` as in stock EPyMARL, or the dotted path of a module that has a `parallel_env`.
    `time_limit` None keeps the environment's own limit. Further keywords go to the environment.

    Raises `EnvError` for an unknown key, package or keyword, for a single-agent environment, and for spaces other than
    those of `envs.wrappers.spaces`.
    """

    def __init__(
        self,
        key: str,
        seed: int | None = None,
        time_limit: int | None = None,
        common_reward: bool = True,
        reward_scalarisation: str = "sum",
        render_mode: str | None = None,
        replay_path: str = "results/replay.gif",
        use_env_state: bool = False,
        **own_args: Any,
    ) -> None:
        check_render_mode(render_mode)
        if time_limit is not None:
            check_time_limit(time_limit)
        check_flag("use_env_state", use_env_state)
        if not isinstance(key, str) or not key:
            raise EnvError(f"env_args.key={key!r} names no environment: {KEY_FORMS}")
        if render_mode != "human":
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        make = _make_gymnasium if _is_gymnasium(key) else _make_pettingzoo
        simulator, limit, own_limits = make(key, time_limit, render_mode, own_args)
        modes = (getattr(simulator.env, "metadata", None) or {}).get("render_modes", ())
        if render_mode is not None and render_mode not in modes:
            known = ", ".join(modes) or "none"
            raise EnvError(
                f"{key} does not draw in the mode {render_mode}, it draws in the modes {known}: leave out render=True "
                "and env_args.render_mode, or set env_args.render_mode to one of these"
            )
        limit = own_limits.own if limit is None else limit
        if limit is None:
            raise EnvError(f"{key} has no time limit of its own: set env_args.time_limit")
        super().__init__(
            key, simulator, seed, limit, common_reward, reward_scalarisation, render_mode, replay_path, own_limits,
            use_env_state,
        )  # fmt: skip


def _is_gymnasium(key: str) -> bool:
    return not key.startswith("pz-") and (":" in key or re.search(r"-v\d+$", key) is not None)


# -------------------------------------------------------------------------------------------------------- PettingZoo


def _make_pettingzoo(
    key: str, time_limit: int | None, render_mode: str | None, own_args: dict[str, Any]
) -> tuple[Simulator, int | None, OwnLimits]:
    """The simulator, the time limit and its own ones; `max_cycles` is set to `time_limit` where it accepts that."""
    module = _pettingzoo_module(key)
    parameters = _parameters(module.parallel_env)
    if _takes_anything(parameters) and hasattr(module, "raw_env"):  # PettingZoo's own conversion hides its arguments
        parameters = _parameters(module.raw_env)
    taken = dict(own_args)
    if PETTINGZOO_LIMIT in parameters:
        refuse_limit(PETTINGZOO_LIMIT, own_args)
        if time_limit is None:
            time_limit = _default(parameters[PETTINGZOO_LIMIT])
        if time_limit is not None:
            taken[PETTINGZOO_LIMIT] = time_limit
    if render_mode is not None:
        taken["render_mode"] = render_mode
    if not _takes_anything(parameters):
        own = set(inspect.signature(GymmaEnv).parameters) - {"key", "own_args"}
        check_arguments(key, own_args, own | set(parameters) - {PETTINGZOO_LIMIT})
    check_flags(own_args, parameters)
    with _making(key, own_args):
        simulator = PettingZooSimulator(key, module.parallel_env(**taken))
    constructors = [module.raw_env] if hasattr(module, "raw_env") else []
    return simulator, time_limit, OwnLimits(simulator.env, taken, [module.parallel_env, *constructors])


@contextmanager
def _making(key: str, own_args: dict[str, Any]) -> Iterator[None]:
    """A context that makes an environment. Raises `EnvError` for what it refuses and for a package that it lacks."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise EnvError(f"{key} needs the package {error.name}, which is not installed: pip install it") from error
    except (gymnasium.error.Error, *REFUSALS) as error:
        raise refusal(key, own_args, error) from error


def _parameters(constructor: Any) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(constructor).parameters)


def _takes_anything(parameters: dict[str, inspect.Parameter]) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def _default(parameter: inspect.Parameter | None) -> int | None:
    """The whole number that a limit is by default; None where it is none, or there is no such argument."""
    return None if parameter is None or type(parameter.default) is not int else parameter.default


def _pettingzoo_module(key: str) -> ModuleType:
    """The module of a key. PettingZoo's family `mpe` is the package mpe2 since PettingZoo 1.25."""
    path = key
    if key.startswith("pz-"):
        family, _, name = key.removeprefix("pz-").partition("-")
        if not name:
            raise EnvError(f"env_args.key={key!r} names no environment: {KEY_FORMS}")
        path = f"{'mpe2' if family == 'mpe' else f'pettingzoo.{family}'}.{name.replace('-', '_')}"
    module = _import(key, path)
    if not callable(getattr(module, "parallel_env", None)):
        raise EnvError(f"env_args.key={key!r}: the module {path} has no parallel_env; {KEY_FORMS}")
    return module


def _import(key: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = error.name or path
    except Exception as error:  # a retired version, an invalid module path, or an error inside the module
        raise EnvError(f"env_args.key={key!r} cannot be imported: {one_line(error)}; {KEY_FORMS}") from error
    package, _, leaf = missing.rpartition(".")
    own = path.startswith(missing)  # otherwise the environment imports the missing package
    if own and package:
        raise EnvError(f"env_args.key={key!r}: the package {package} has no module {leaf}; {KEY_FORMS}")
    elsewhere = f", put its folder on PYTHONPATH, or {KEY_FORMS}" if own else ""
    raise EnvError(
        f"env_args.key={key!r} needs the package {missing.partition('.')[0]}, which is not installed: "
        f"pip install it{elsewhere}"
    )


# --------------------------------------------------------------------------------------------------------- Gymnasium


def _make_gymnasium(
    key: str, time_limit: int | None, render_mode: str | None, own_args: dict[str, Any]
) -> tuple[Simulator, int | None, OwnLimits]:
    """The simulator, the time limit and its own ones."""
    spec = copy.deepcopy(_gymnasium_spec(key))
    refuse_limit(GYMNASIUM_LIMIT, own_args)
    registered = {} if spec.max_episode_steps is None else {GYMNASIUM_LIMIT: spec.max_episode_steps}
    taken = own_args if render_mode is None else {**own_args, "render_mode": render_mode}
    with _making(key, own_args):
        creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
        parameters = _registered_parameters(creator, spec.kwargs)
        check_flags(own_args, parameters)
        limit = _move_limits(spec, parameters.get(GYMNASIUM_LIMIT), time_limit)
        env = gymnasium.make(spec, disable_env_checker=True, **taken)
    return GymnasiumSimulator(key, env), limit, OwnLimits(env, registered | spec.kwargs | own_args, [creator])


def _registered_parameters(creator: Any, registered: dict[str, Any]) -> dict[str, inspect.Parameter]:
    """The arguments of an environment's constructor, with the defaults of its registration."""
    try:
        parameters = _parameters(creator)
    except (TypeError, ValueError):  # not written in Python
        parameters = {}
    return {name: own.replace(default=registered.get(name, own.default)) for name, own in parameters.items()}


def _move_limits(spec: Any, parameter: inspect.Parameter | None, time_limit: int | None) -> int | None:
    """Move the limits in a registration behind the one in force; return that, None where there is none.

    parameter: the constructor's argument for it, if it has one. Some environments report this limit as a terminal state
    (level-based foraging does). One step further away, the wrapper truncates first.
    """
    argument = spec.kwargs.get(GYMNASIUM_LIMIT, _default(parameter))
    own_limits = [known for known in (argument, spec.max_episode_steps) if known is not None]
    limit = time_limit or min(own_limits, default=None)
    if limit is None:
        return None
    if GYMNASIUM_LIMIT in spec.kwargs or (argument is not None and argument <= limit):
        spec.kwargs[GYMNASIUM_LIMIT] = limit + 1
    if spec.max_episode_steps is not None and spec.max_episode_steps < limit:
        spec.max_episode_steps = limit + 1
    return limit


def _gymnasium_spec(key: str) -> Any:
    module, _, name = key.rpartition(":")
    if module:
        _import(key, module)
    try:
        return gymnasium.spec(name)
    except gymnasium.error.Error as error:
        raise EnvError(f"env_args.key={key!r} is no Gymnasium environment; {_near(module, name)}") from error


def _near(module: str, name: str) -> str:
    """Hint for an unknown id: the nearest registered one, or how to name the module that registers it."""
    if not module:
        return f"if a package registers it, {KEY_FORMS}"
    return nearest(name, gymnasium.registry)
