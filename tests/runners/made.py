"""Runners on small environments, with a controller that was not trained."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch as th

from components.scheme import build_scheme, extend_scheme
from controllers import REGISTRY as mac_REGISTRY
from loops.resolve import resolve
from runners import REGISTRY
from utils.logging import Logger
from utils.settings import Settings

RUNNERS = ("episode", "parallel", "vector")
AT_ONCE = {"episode": 1, "parallel": 2, "vector": 4}  # five episodes of an evaluation are no multiple of 2 or 4
FORAGING = "lbforaging:Foraging-5x5-2p-1f-v3"
DISCRETE = {"action_selector": "epsilon_greedy", "agent_output_type": "q"}


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Processes of the parallel runner end with the test that started them."""
    yield
    while MADE:
        MADE.pop().close_env()


MADE: list[Any] = []


def build(runner: str, key: str = "simple_spread", **keys: Any) -> tuple[Any, Settings, Logger]:
    settings = Settings(
        env="mpe", env_args={"key": key, "seed": 5, "continuous_actions": True}, common_reward=True,
        reward_scalarisation="mean", batch_size_run=AT_ONCE[runner], test_nepisode=5, device="cpu",
        evaluation_seed=100, runner_log_interval=50, render=False, agent="mlp_ns", mac="non_shared_mac", hidden_dim=8,
        agent_output_type="mean", action_selector="deterministic", obs_agent_id=False, obs_last_action=False,
        epsilon_start=1.0, epsilon_finish=0.1, epsilon_anneal_time=100, evaluation_epsilon=0.0,
    )  # fmt: skip
    settings = settings.extended(**keys)
    env = REGISTRY[runner].make_env(settings)
    args = resolve(settings, env.get_env_info())
    logger = Logger(logging.getLogger("test"))
    made = REGISTRY[runner](args, logger, env)
    MADE.append(made)
    scheme, groups, preprocess = build_scheme(made.get_env_info(), args)
    th.manual_seed(0)
    mac = mac_REGISTRY[args.mac](extend_scheme(scheme, preprocess), groups, args)
    made.setup(scheme, groups, preprocess, mac)
    return made, args, logger


def foraging(runner: str, **keys: Any) -> tuple[Any, Settings, Logger]:
    """Level-based foraging on a tiny field, where a random policy ends some episodes early and leaves others cut."""
    env_args = {"key": FORAGING, "seed": 3, "time_limit": 40}
    settings = {"epsilon_finish": 0.99, "epsilon_start": 1.0, **DISCRETE, **keys}
    return build(runner, env="gymma", env_args=env_args, reward_scalarisation="sum", **settings)
