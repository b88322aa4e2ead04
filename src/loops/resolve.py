"""From a configuration to a run's settings: what its keys leave open is filled in here and nowhere else."""

from __future__ import annotations

import datetime
import logging
import re
from typing import Any

import torch as th

from components.scheme import is_continuous
from utils.bounds import per_agent, shortest
from utils.config import Config
from utils.paths import LONGEST_NAME, folder_name, place_of, results_folder, user_path
from utils.settings import Settings

# What chooses actions from each kind of network output, where `action_selector` is `auto`.
SELECTORS = {
    "q": "epsilon_greedy",
    "pi_logits": "multinomial",
    "mean": "deterministic",
    "gaussian": "gaussian_policy",
    "tanh_gaussian": "tanh_gaussian_policy",
}
# The same where it is `explore`: with noise that `auto` leaves out.
EXPLORERS = {**SELECTORS, "mean": "gaussian"}
# What `agent_output_type` may leave open, for continuous actions; discrete ones have pi_logits.
CONTINUOUS_OUTPUTS = {"auto": "mean", "stochastic": "tanh_gaussian"}


def run_settings(config: Config, log: logging.Logger) -> Settings:
    """Settings of a run before its environment or dataset is known.

    Adds `device`, `results` (the folder of all records) and `unique_token` (the run's name there). Collection plays for
    every agent's reward, which datasets keep, and no more episodes at once than it shall write.
    """
    settings = Settings(**config)
    if settings.use_cuda and not th.cuda.is_available():
        log.info("use_cuda=True, but no CUDA device is here: running on the CPU")
        settings = settings.extended(use_cuda=False)
    if settings.collect:
        at_once = min(settings.batch_size_run, settings.collect_episodes)
        settings = settings.extended(common_reward=False, batch_size_run=at_once)
    stamp = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
    # some keys hold a colon, which not every file system takes
    safe = re.sub(r"[^\w.+-]", "-", folder_name(place_of(vars(settings))))[:LONGEST_NAME]
    return settings.extended(
        device="cuda" if settings.use_cuda else "cpu",
        unique_token=f"{settings.name}_seed{settings.seed}_{safe}_{stamp}",
        results=results_folder(settings.local_results_path),
    )


def resolve(settings: Settings, env_info: dict[str, Any]) -> Settings:
    """Settings with what depends on the environment or dataset: sizes, action bounds, and what `auto` becomes."""
    outputs = resolved_outputs(settings.agent_output_type, settings.action_selector, is_continuous(env_info))
    return settings.extended(**dimensions(env_info), **outputs)


def dimensions(env_info: dict[str, Any]) -> dict[str, Any]:
    """The sizes that stock puts on `args`, and the action bounds; everything else is read from the scheme.

    Bounds are A numbers where all agents agree, else N lists of A.
    """
    sizes = {
        "n_agents": int(env_info["n_agents"]),
        "n_actions": int(env_info["n_actions"]),
        "state_shape": env_info["state_shape"],
    }
    if "action_low" not in env_info:
        return sizes
    low, high = (per_agent(env_info[key], sizes["n_agents"]) for key in ("action_low", "action_high"))
    return sizes | dict(zip(("action_low", "action_high"), shortest(low, high), strict=True))


def resolved_outputs(agent_output_type: str, action_selector: str, continuous: bool) -> dict[str, str]:
    """The values of these two keys where `auto`, `stochastic` and `explore` are replaced by what suits the actions."""
    if agent_output_type in CONTINUOUS_OUTPUTS:
        agent_output_type = CONTINUOUS_OUTPUTS[agent_output_type] if continuous else "pi_logits"
    choices = {"auto": SELECTORS, "explore": EXPLORERS}.get(action_selector, {})
    action_selector = choices.get(agent_output_type, action_selector)
    return {"agent_output_type": agent_output_type, "action_selector": action_selector}


def drawing_settings(settings: Settings) -> Settings:
    """Settings of an evaluation's drawn episode: one at a time, in an environment that keeps pictures."""
    given = settings.env_args.get("replay_path")
    path = settings.results / "replays" / f"{settings.unique_token}.gif"
    if given is not None:
        path = user_path(given, "env_args.replay_path", written=True)
    pictures = {"render_mode": "rgb_array", "replay_path": str(path)}
    return settings.extended(
        render=False, runner="episode", batch_size_run=1, test_nepisode=1, dataset=None,
        env_args={**settings.env_args, **pictures},
    )  # fmt: skip
