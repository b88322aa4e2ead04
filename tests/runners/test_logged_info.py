"""Which episodes runners play, and the names under which they are logged."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs import REGISTRY as env_REGISTRY
from envs import TWINS, VECTOR_REGISTRY, _looped
from envs.matrix_game import MatrixGameEnv
from runners import REGISTRY
from runners.episodes import Episodes
from tests.runners.made import DISCRETE, build
from utils.errors import EnvError
from utils.logging import Logger
from utils.settings import Settings


@pytest.mark.parametrize(
    ("returns", "headline"),
    [
        ([5.0, 7.0], {"test_return_mean": 6.0}),
        ([[5.0, 1.0], [7.0, 3.0]], {"test_agent_0_return_mean": 6.0, "test_total_return_mean": 8.0}),
    ],
)
def test_what_the_environment_reports_never_takes_a_name_of_ours(
    returns: list[float], headline: dict[str, float]
) -> None:
    infos = {"return": -1000.0, "total_return": -1.0, "return_per_agent": -2.0, "ep_length": -3.0, "won": 0.5}
    agents = {"agent_0_return": -4.0} if "test_agent_0_return_mean" in headline else {}
    logger = Logger(logging.getLogger("test"))
    Episodes(np.array(returns), np.array([3, 5]), infos | agents).log(logger, "test_", 9)
    logged = {name: [value for _, value in values] for name, values in logger.stats.items()}
    expected = headline | {"test_ep_length_mean": 4.0, "test_won_mean": 0.5}
    expected |= {f"test_env_{key}_mean": value for key, value in (infos | agents).items() if key != "won"}
    assert {name: values for name, values in logged.items() if name in expected} == {
        name: [value] for name, value in expected.items()
    }
    assert "test_return_per_agent_mean" not in logged


@pytest.mark.parametrize("key", TWINS)
def test_parallel_and_vector_differ_in_training_where_the_words_say_so(key: str) -> None:
    settings = Settings(
        env="mpe", env_args={"key": key, "seed": 5, "continuous_actions": True}, batch_size_run=2, common_reward=True,
        reward_scalarisation="mean",
    )  # fmt: skip
    trained, seeded = [], []
    for runner in ("vector", "parallel"):
        env = REGISTRY[runner].make_env(settings)
        for seeds, starts in ((None, trained), ([100, 101], seeded)):
            env.reset(seeds)
            starts.append(env.get_obs())
        env.close()
    assert not np.allclose(*trained)
    np.testing.assert_allclose(*seeded, rtol=1e-5, atol=1e-6)
    page = Path(__file__).parents[2] / "docs" / "reference" / "environments.md"
    for text in (page.read_text(), REGISTRY["parallel"].__doc__):
        (sentence,) = [
            words for words in text.replace("\n", " ").split(". ") if "play" in words and "same episodes" in words
        ]
        assert f"`{key}`" in sentence


class Own(MatrixGameEnv):
    """A user's own environment, with what it adds to a step's info and rewards as it is told; it may never end."""

    def __init__(self, note: Any = 0.5, endless: bool = False, own_rewards: bool = False, **ours: Any) -> None:
        super().__init__(episode_limit=3, **{**ours, "common_reward": ours["common_reward"] and not own_rewards})
        self.note, self.endless = note, endless

    def step(self, actions: Any) -> Any:
        obs, reward, _, truncated, info = super().step(actions)
        self._running = True
        return obs, reward, False, truncated and not self.endless, {**info, "note": self.note}


@pytest.mark.parametrize(
    ("runner", "given", "sentence"),
    [
        *((runner, {"note": "a word"}, "gives a word as note of a step's info") for runner in ("episode", "vector")),
        *((runner, {"note": None}, "gives None as note of a step's info") for runner in ("episode", "vector")),
        *((runner, {"note": [1.0, 2.0]}, r"gives \[1.0, 2.0\] as note") for runner in ("episode", "vector")),
        *((runner, {"endless": True}, "^own goes on after 3 steps, its") for runner in ("episode", "vector")),
        ("episode", {"own_rewards": True}, r"^own gives rewards of shape \(2,\); with common_reward=True .* a number$"),
    ],
)
def test_what_an_own_environment_must_not_give_is_one_sentence(
    runner: str, given: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(env_REGISTRY, "own", Own)
    monkeypatch.setitem(VECTOR_REGISTRY, "own", _looped(Own))
    made, _, logger = build(runner, env="own", env_args={"seed": 0}, **DISCRETE)
    made.run()
    assert logger.stats["note_mean"][0][1] == 0.5
    made, _, _ = build(runner, env="own", env_args={"seed": 0, **given}, **DISCRETE)
    with pytest.raises(EnvError, match=sentence):
        made.run()
