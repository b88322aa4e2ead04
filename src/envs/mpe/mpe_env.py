"""mpe2's environments, and our scenarios on them, behind the `MultiAgentEnv` interface."""

import importlib
import inspect
import os
from typing import Any

from envs.arguments import REFUSALS, check_arguments, check_flag, check_flags, refusal, refuse_limit
from envs.mpe.keys import OWN_KEYS, check_dtype, check_key, check_time_limit
from envs.wrappers.limits import OwnLimits
from envs.wrappers.simulators import PettingZooSimulator
from envs.wrappers.wrapped_env import WrappedEnv, check_render_mode
from utils.errors import EnvError

# Set by the wrapper; env_args must not give them.
RESERVED = ("max_cycles", "continuous_actions", "render_mode")
MPE2_DTYPE = "float64"


class MPEEnv(WrappedEnv):
    """OMAR's `simple_spread`, `simple_tag`, `simple_world`, or any environment of mpe2 (`simple_tag_v3`, ...).

    Episodes are truncated after `time_limit` steps and never terminate; the last step keeps its real reward. The rest
    is as in `envs.wrappers.wrapped_env.WrappedEnv`.

    Further keywords (`N`, `local_ratio`, `num_good`, ...) go to mpe2's environment. OMAR's tasks also take the `dtype`
    of their vectorised environments, where it is `float64`, in which mpe2 computes. With `render_mode="rgb_array"`
    frames are kept until the next reset, and `save_replay` writes them to `replay_path` as a GIF.

    Raises `EnvError` for an unknown key or keyword, and for actions of a wrong shape or value.
    """

    MASKS_IN_INFO = False

    def __init__(
        self,
        key: str,
        seed: int | None = None,
        time_limit: int = 25,
        continuous_actions: bool = True,
        common_reward: bool = True,
        reward_scalarisation: str = "sum",
        render_mode: str | None = None,
        replay_path: str = "results/replay.gif",
        **scenario_args: Any,
    ) -> None:
        check_render_mode(render_mode)
        check_time_limit(time_limit)
        check_flag("continuous_actions", continuous_actions)
        env = _make_simulator(key, time_limit, continuous_actions, render_mode, scenario_args)
        if render_mode is None:
            env.unwrapped.screen = None  # mpe2 allocates a canvas of 2 MB per environment
        super().__init__(
            key, PettingZooSimulator(key, env), seed, time_limit, common_reward, reward_scalarisation, render_mode,
            replay_path, OwnLimits(env, {"max_cycles": time_limit}),
        )  # fmt: skip

    def get_env_info(self) -> dict[str, Any]:
        """As elsewhere; where a prey's policy is part of the environment, `simulator` holds its checksum."""
        prey = getattr(getattr(getattr(self._simulator.env, "unwrapped", None), "scenario", None), "prey", None)
        return super().get_env_info() | ({} if prey is None else {"simulator": {"prey": prey.checksum}})


def without_dtype(scenario_args: dict[str, Any]) -> dict[str, Any]:
    """The arguments without the vectorised physics' type. Raises `EnvError` where it is another than mpe2's."""
    rest = dict(scenario_args)
    if check_dtype(rest.pop("dtype")) != MPE2_DTYPE:
        raise EnvError(
            f"env_args.dtype={scenario_args['dtype']} is for runner=vector without pictures, as mpe2 computes in "
            f"{MPE2_DTYPE}: leave it out here"
        )
    return rest


def _make_simulator(
    key: str, time_limit: int, continuous_actions: bool, render_mode: str | None, scenario_args: dict[str, Any]
) -> Any:
    """A PettingZoo parallel environment, headless unless render_mode is human."""
    if render_mode != "human":
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    check_key(key)
    module = importlib.import_module(f"envs.mpe.{key}" if key in OWN_KEYS else f"mpe2.{key}")
    if key in OWN_KEYS and "dtype" in scenario_args:
        scenario_args = without_dtype(scenario_args)
    refuse_limit("max_cycles", scenario_args)
    own_args = set(inspect.signature(MPEEnv).parameters) - {"key", "scenario_args"}
    parameters = inspect.signature(module.raw_env).parameters
    check_arguments(key, scenario_args, own_args | set(parameters) - set(RESERVED))
    check_flags(scenario_args, parameters)
    try:
        return module.parallel_env(
            max_cycles=time_limit, continuous_actions=continuous_actions, render_mode=render_mode, **scenario_args
        )
    except REFUSALS as error:
        raise refusal(key, scenario_args, error) from error
