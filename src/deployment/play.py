"""Films of episodes, played by a policy in the environment of its run."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from deployment.loaded import LoadedPolicy
from envs import REGISTRY as env_REGISTRY
from envs import MultiAgentEnv, make_env
from envs.mpe.replay import FRAMES_PER_SECOND, save_gif
from envs.vector_env import episode_end
from utils.config import choose
from utils.errors import EnvError, PolicyError
from utils.files import check_writable, output_error, writing_file
from utils.memory import require_memory

ENDINGS = (".gif", ".mp4")


def film(policy: LoadedPolicy, path: Path, episodes: int = 1, sample: bool = False, replace: bool = False) -> list[str]:
    """Play the first `episodes` episodes of the run's evaluations into a film; returns a line about each and the film.

    path: a name that ends in .gif or .mp4. sample: draw actions as in training. replace: whether an existing file goes.
    Raises PolicyError for another ending, for an existing file, where a package is missing and where the run has no
    environment, ConfigError where the folder cannot be written to, EnvError for an environment without pictures,
    MemoryShortage for more pictures than fit, and OutputError where the disk refuses.
    """
    if path.suffix.lower() not in ENDINGS:
        raise PolicyError(f"-o {path}: a film's name ends in {' or '.join(ENDINGS)}")
    if path.exists() and not replace:
        raise PolicyError(f"-o {path}: it exists; choose another name, or add --force to replace it")
    if episodes < 1:
        raise PolicyError(f"--episodes={episodes}: a film needs at least one episode")
    if path.suffix.lower() == ".mp4":
        _encoder()
    check_writable(path.parent, "-o", make=False)
    env = _environment(policy)
    frames: list[np.ndarray] = []
    lines = []
    try:
        for i in range(episodes):
            seed = getattr(policy.args, "evaluation_seed", 0) + i
            rewards = _play(policy, env, seed, sample, frames)
            lines.append(f"episode {i + 1}: {len(rewards)} steps, return {np.sum(rewards):.2f} (mean over agents)")
            if i == 0:
                need = (episodes - 1) * len(frames) * frames[0].nbytes
                require_memory(need, f"--episodes={episodes}, as long as the first,", "lower --episodes")
    finally:
        env.close()
    try:
        (save_gif if path.suffix.lower() == ".gif" else _save_mp4)(path, frames)
    except OSError as error:
        raise output_error(path, error) from error
    return [*lines, f"{path}: {len(frames)} pictures"]


def _environment(policy: LoadedPolicy) -> MultiAgentEnv:
    """The run's environment, with pictures. Raises EnvError where it has none or is not the policy's any more."""
    there = policy.environment
    if there is None:
        raise PolicyError(f"{policy.directory} was trained without an environment, so there is nothing to film")
    choose(env_REGISTRY, "env", there["env"])
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*render_mode")  # Gymnasium's, of what the error says
            arguments = {**there["env_args"], "render_mode": "rgb_array"}
            if there["env"] == "mpe":  # pictures are mpe2's, which computes in float64 alone
                arguments.pop("dtype", None)
            env = make_env(there["env"], arguments, False, "mean")
    except EnvError as error:
        reason = str(error).partition(": leave out render=True")[0]  # advice for main.py
        raise EnvError(f"episodes of this run cannot be filmed: {reason}") from error
    info = env.get_env_info()
    for key, here in (("n_agents", policy.n_agents), ("n_actions", policy.n_actions)):
        if info[key] != here:
            env.close()
            raise EnvError(f"{there['env']} has {key} {info[key]}, the policy {here}; install the run's version of it")
    return env


def _play(policy: LoadedPolicy, env: MultiAgentEnv, seed: int, sample: bool, frames: list[np.ndarray]) -> list[float]:
    """One episode; returns the mean reward over agents of each step, and appends a picture per state to `frames`."""
    env.reset(seed=seed)
    policy.reset()
    rewards: list[float] = []
    terminated = truncated = False
    while not (terminated or truncated):
        frames.append(_picture(env))
        actions = policy.act(np.stack(env.get_obs()), np.asarray(env.get_avail_actions()), sample)
        _, reward, terminated, truncated, info = env.step(actions)
        rewards.append(float(np.mean(reward)))
        terminated, truncated = episode_end(terminated, truncated, info, len(rewards) >= env.episode_limit)
    frames.append(_picture(env))
    return rewards


def _picture(env: MultiAgentEnv) -> np.ndarray:
    frame = env.render()
    if frame is None:
        raise EnvError("the environment draws in a window of its own and gives no pictures")
    return np.asarray(frame)  # no copy: the environment keeps the same array


# -- MP4 ---------------------------------------------------------------------------------------------------------------


def _encoder() -> Any:
    """The package that holds the encoder. Raises PolicyError where it is not installed."""
    try:
        import imageio_ffmpeg
    except ModuleNotFoundError as error:
        raise PolicyError(
            "an .mp4 needs the package imageio-ffmpeg, which is not installed: pip install -c constraints.txt "
            "-e '.[video]', or name a .gif"
        ) from error
    return imageio_ffmpeg


def _save_mp4(path: Path, frames: list[np.ndarray]) -> None:
    """Write uint8 frames (height, width, 3) to `path`. Raises OSError where the disk or the encoder refuses."""
    height, width = frames[0].shape[:2]
    with writing_file(path) as temporary:
        # the encoder takes the format from the name's end; `temporary` has another
        writer = _encoder().write_frames(
            str(temporary), (width, height), fps=FRAMES_PER_SECOND, macro_block_size=2, output_params=["-f", "mp4"]
        )
        writer.send(None)
        for frame in frames:
            writer.send(np.ascontiguousarray(frame))
        writer.close()
