"""Gymnasium's MuJoCo robots by name, how gymnasium-robotics shares them out, and which simulator moves them."""

import hashlib
import importlib.metadata
import inspect
import math
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
from gymnasium.envs.registration import load_env_creator

from envs.arguments import REFUSALS, check_arguments, check_flag, refusal, refuse_limit
from utils.errors import EnvError, nearest

# Robot: its partitions in gymnasium-robotics' notation. "2x3": two agents with three joints each.
PARTITIONS: dict[str, tuple[str, ...]] = {
    "Ant": ("2x4", "2x4d", "4x2"),
    "HalfCheetah": ("2x3", "6x1"),
    "Hopper": ("3x1",),
    "Humanoid": ("9|8",),
    "HumanoidStandup": ("9|8",),
    "Pusher": ("3p",),
    "Reacher": ("2x1",),
    "Swimmer": ("2x1",),
    "Walker2d": ("2x3",),
}
LIMIT = "max_episode_steps"
# Constructor arguments of the robots that the wrapper sets itself, and those that would change sizes unseen.
_NOT_OFFERED = ("self", "kwargs", "xml_file", "frame_skip", "default_camera_config", "observation_space")
# Of the counters in MjData: after one of these MuJoCo has put the robot back to its first pose, in mid-episode.
_UNSTABLE = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)


def check_names(key: Any, partition: Any) -> None:
    """Raise EnvError, with the nearest match, for a robot or a partition that does not exist."""
    if not isinstance(key, str) or key not in PARTITIONS:
        raise EnvError(f"env_args.key={key!r} is no robot; {nearest(str(key), PARTITIONS)}")
    if partition not in PARTITIONS[key]:
        known = PARTITIONS[key]
        raise EnvError(f"env_args.partition={partition!r} is no partition of {key}; {nearest(str(partition), known)}")


def make_robot(key: str, own_args: dict[str, Any], render_mode: str | None, known: set[str]) -> tuple[Any, int]:
    """The single-agent robot `<key>-v5` without Gymnasium's wrappers, and its own time limit.

    own_args: keywords of the robot. known: further names that env_args may hold. Raises EnvError for unknown ones, and
    for values that the robot refuses.
    """
    spec = gymnasium.spec(f"{key}-v5")
    creator = load_env_creator(str(spec.entry_point))
    refuse_limit(LIMIT, own_args)
    parameters = inspect.signature(creator).parameters
    check_arguments(key, own_args, known | (set(parameters) - set(_NOT_OFFERED)))
    for name, value in own_args.items():
        if name != "main_body":  # a number or a text
            _check_value(name, value, parameters[name].default)
    mujoco.set_mju_user_warning(_tell)
    if render_mode == "rgb_array":
        draw_without_window()
    try:
        robot: Any = creator(**{**spec.kwargs, **own_args}, render_mode=render_mode)
        if "main_body" in own_args:  # which the robot itself looks for in its steps only
            robot.data.body(own_args["main_body"])
    except REFUSALS as error:
        raise refusal(key, own_args, error) from error
    assert spec.max_episode_steps is not None
    return robot, spec.max_episode_steps


def draw_without_window() -> None:
    """Choose the renderer where there is no display, as the default one draws in a window. EGL is Linux's alone."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")


def _check_value(name: str, value: Any, default: Any) -> None:
    """Raise EnvError for a value of another kind than the default's, or out of range.

    Robots notice some in a reset or in mid-episode only, and a range with its ends exchanged never.
    """
    if isinstance(default, bool):
        check_flag(name, value)
        return
    if isinstance(default, tuple):
        fits = isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value))
        fits, kind = fits and value[0] <= value[1], "two numbers, the smaller one first"
    elif name == "reset_noise_scale":  # which is half the width of a uniform distribution
        fits, kind = _is_number(value) and 0 <= value < math.inf, "a finite number of at least 0"
    else:
        fits, kind = _is_number(value) and math.isfinite(value), "a finite number"
    if not fits:
        raise EnvError(f"env_args.{name} must be {kind}, not {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _tell(message: str) -> None:
    """Take in a warning of MuJoCo, which would write it into a file MUJOCO_LOG.TXT in the working directory.

    That of an unstable simulation is told by the step in which it arises, that of an old word in a robot's XML is of no
    use to anyone here.
    """
    if "settotalmass" not in message and "unstable" not in message:
        warnings.warn(f"MuJoCo: {message}", stacklevel=2)


def is_unstable(data: Any) -> bool:
    """Whether MuJoCo has given up a simulation since its last reset."""
    return any(data.warning[kind].number for kind in _UNSTABLE)


def fingerprint(robot: Any) -> dict[str, str]:
    """What determines the numbers of a simulation: versions, and the robot's file with its SHA-256."""
    path = Path(robot.fullpath)
    return {
        "mujoco": mujoco.__version__,
        "gymnasium": importlib.metadata.version("gymnasium"),
        "robot": path.name,
        "robot_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
