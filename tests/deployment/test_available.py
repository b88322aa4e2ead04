"""A policy that is given no mask chooses actions that its agents have, or asks for one."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from datasets import from_episodes
from datasets.dataset import read_dataset
from deployment.export import export_policy
from deployment.loaded import load_policy
from envs import REGISTRY, VECTOR_REGISTRY
from envs.multiagentenv import MultiAgentEnv
from loops.describe import available_of
from tests.deployment.made import make_run
from tests.envs.toy_env import parallel_env
from utils.description import read_description, write_description
from utils.errors import CheckpointError, PolicyError

OWN = [[1, 1, 0, 0, 0], [1] * 5, [1, 0, 0, 0, 0]]


def run_with(folder: Path, available: Any) -> Path:
    """A run of a discrete policy, whose description has `available`; None: as of an earlier release."""
    make_run(folder, agent="mlp_ns", agent_output_type="q")
    content = read_description(folder / "run.json")
    write_description(folder, content | ({} if available is None else {"available": available}))
    return folder


def about(folder: Path) -> dict[str, Any]:
    files = {"policy.json": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        th.jit.load(str(folder / "agent_0.pt"), _extra_files=files)
    found: dict[str, Any] = json.loads(files["policy.json"])
    return found


def test_agents_with_fewer_actions_choose_their_own(tmp_path: Path) -> None:
    policy = load_policy(run_with(tmp_path / "run", OWN))
    obs = np.random.default_rng(0).standard_normal((200, 3, 18))
    for actions in (policy.act(obs), policy.act(obs, sample=True)):
        assert (actions.max(0) == [1, 4, 0]).all()
    export_policy(policy, "torchscript", tmp_path / "out")
    assert about(tmp_path / "out")["avail_actions"] == OWN[0] and about(tmp_path / "out")["mask_required"] is True


def test_a_mask_that_changed_in_training_must_be_given(tmp_path: Path) -> None:
    policy = load_policy(run_with(tmp_path / "run", "varies"))
    with pytest.raises(PolicyError, match=r"give avail_actions, .* of shape \(3, 5\)$"):
        policy.act(np.zeros((3, 18)))
    assert (policy.act(np.zeros((3, 18)), np.eye(5)[[2, 3, 4]]) == [2, 3, 4]).all()
    export_policy(policy, "torchscript", tmp_path / "out")
    assert about(tmp_path / "out")["avail_actions"] is None and about(tmp_path / "out")["mask_required"] is True


@pytest.mark.parametrize(("available", "required"), [("all", False), (None, None)])
def test_other_files_say_whether_ones_will_do(tmp_path: Path, available: Any, required: bool | None) -> None:
    policy = load_policy(run_with(tmp_path / "run", available))
    assert (policy.act(np.random.default_rng(0).standard_normal((200, 3, 18)))[:, 0] > 1).any()
    export_policy(policy, "torchscript", tmp_path / "out")
    assert about(tmp_path / "out")["mask_required"] is required


@pytest.mark.parametrize("damage", [[[1, 1]], "some", [[2] * 5] * 3])
def test_damage_is_one_sentence(tmp_path: Path, damage: Any) -> None:
    with pytest.raises(CheckpointError, match="describes no policy"):
        load_policy(run_with(tmp_path / "run", damage))


@pytest.mark.parametrize(
    ("n_actions", "masks", "expected"),
    [
        ([2, 4], None, [[1, 1, 0, 0], [1, 1, 1, 1]]),
        (4, None, "all"),
        (4, [[1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 0, 0]], "all"),  # the final row leaves one
        (4, [[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], "varies"),
    ],
)
def test_a_run_describes_the_masks_of_its_data(tmp_path: Path, n_actions: Any, masks: Any, expected: Any) -> None:
    episode: dict[str, Any] = {
        "obs": np.zeros((3, 2, 3)), "actions": np.zeros((2, 2), int), "reward": np.zeros(2), "terminated": True,
    }  # fmt: skip
    if masks is not None:
        episode["avail_actions"] = np.repeat(np.asarray(masks)[:, None], 2, axis=1)
    from_episodes([episode], tmp_path / "set.h5", n_actions=n_actions)
    parts: Any = SimpleNamespace(dataset=read_dataset(tmp_path / "set.h5"), env_info={})
    assert available_of(parts) == expected


@pytest.mark.parametrize("others", [{"observation": spaces.Discrete(3)}, {"position": spaces.Discrete(3)}, {}])
def test_a_run_describes_the_masks_of_its_environment(others: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """others: what b observes beside its mask."""
    space = spaces.Dict(others | {"action_mask": spaces.MultiBinary(2)})
    monkeypatch.setattr(parallel_env, "observation_space", lambda self, agent: space)
    assert available_in(gymma("tests.envs.toy_env")) == "varies"


@pytest.mark.parametrize(("size", "expected"), [(3, None), (2, [[1, 1, 1], [1, 1, 0]])])
def test_masks_may_come_in_information(size: int, expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They only take away more than what an agent with fewer actions lacks."""
    sizes = {"a": 3, "b": size}
    monkeypatch.setattr(parallel_env, "action_space", lambda self, agent: spaces.Discrete(sizes[agent]))
    monkeypatch.setattr(parallel_env, "observation_space", lambda self, agent: spaces.Discrete(3))
    assert available_in(gymma("tests.envs.toy_env")) == expected


def gymma(key: str) -> Any:
    return REGISTRY["gymma"](key=key, time_limit=9, common_reward=False, reward_scalarisation="sum")


def available_in(env: MultiAgentEnv) -> Any:
    parts: Any = SimpleNamespace(dataset=None, env_info=env.get_env_info())
    return available_of(parts)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("mpe", {"key": "simple_spread_v3", "continuous_actions": False}),
        ("mpe", {"key": "simple_spread", "continuous_actions": False}),
        ("mamujoco", {"key": "Hopper", "partition": "3x1"}),
        ("matrix_game", {"key": "xor"}),
        ("bridge", {}),
    ],
)
def test_our_environments_say_that_all_actions_are_there(name: str, keys: dict[str, Any]) -> None:
    assert available_in(REGISTRY[name](**keys)) == "all"
    assert VECTOR_REGISTRY[name](2, **keys).get_env_info()["available"] == "all"


def test_nothing_is_said_for_an_environment_that_does_not_state_it() -> None:
    game = REGISTRY["bridge"]()
    assert available_in(SimpleNamespace(get_env_info=lambda: MultiAgentEnv.get_env_info(game))) is None  # type: ignore[arg-type]
