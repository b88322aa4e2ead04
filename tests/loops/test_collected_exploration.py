"""Whatever the card says of exploration holds for every collected episode, and it is the trained policy's own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.action_selectors import EpsilonGreedyActionSelector
from components.epsilon_schedules import exploration_step
from datasets.dataset import read_dataset
from deployment.loaded import load_policy
from loops import collect
from tests.deployment.made import make_policy, make_run
from tests.loops.in_process import LOG, parts_of, save
from utils.logging import Logger

KEYS: dict[str, Any] = {"env_args": {"key": "simple_spread", "continuous_actions": False, "time_limit": 25},
                        "hidden_dim": 8, "epsilon_anneal_time": 400, "runner": "vector",
                        "batch_size_run": 4}  # fmt: skip
SAVED = 100  # steps after which a quarter of epsilon is annealed


def played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **keys: Any) -> tuple[list[float], str]:
    """Epsilon at every step of twelve collected episodes, and what the card says of the behaviour."""
    seen: list[float] = []
    select = EpsilonGreedyActionSelector.select_action

    def watched(self: Any, *inputs: Any, **options: Any) -> Any:
        chosen = select(self, *inputs, **options)
        seen.append(self.epsilon)
        return chosen

    monkeypatch.setattr(EpsilonGreedyActionSelector, "select_action", watched)
    path = tmp_path / "made.h5"
    given = {"collect": True, "collect_episodes": 12, "collect_to": str(path), **KEYS, **keys}
    run: Any = SimpleNamespace(info={}, add_artifact=lambda *names, **options: None)
    collect.run(parts_of("iql", "mpe", tmp_path, **given), Logger(LOG), run)
    return seen, read_dataset(path).card["behaviour"]


@pytest.mark.parametrize(
    ("trained_from_data", "epsilon", "runner"),
    [(False, 1 - 0.95 * SAVED / 400, "vector"), (True, 0.05, "vector"), (False, 1 - 0.95 * SAVED / 400, "episode")],
)
def test_every_episode_explores_as_the_card_says(
    trained_from_data: bool, epsilon: float, runner: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = save(parts_of("iql", "mpe", tmp_path, **KEYS), tmp_path / "run", SAVED)
    more = {"runner": runner, "batch_size_run": 1 if runner == "episode" else 4}
    seen, behaviour = played(monkeypatch, tmp_path, checkpoint_path=str(folder), offline=trained_from_data, **more)
    assert len(seen) > 75 and seen == pytest.approx([epsilon] * len(seen))
    assert behaviour.startswith(f"epsilon_greedy actions (epsilon {epsilon:g}) of iql, run/{SAVED}/agent.th")


def test_an_untrained_network_explores_as_at_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen, behaviour = played(monkeypatch, tmp_path)
    assert set(seen) == {1.0} and "epsilon 1)" in behaviour


def test_samples_of_a_policy_have_no_epsilon(tmp_path: Path) -> None:
    parts = parts_of("mappo", "mpe", tmp_path, batch_size=4, buffer_size=4, **KEYS)
    assert collect.exploration(parts.runner) == "multinomial actions"
    parts.runner.run()
    assert "return_mean" in parts.runner.logger.stats and "epsilon" not in parts.runner.logger.stats


def test_a_loaded_policy_that_learned_from_data_explores_little(tmp_path: Path) -> None:
    """A run's ten updates are no ten steps of annealing."""
    kind: dict[str, Any] = {"agent": "mlp", "agent_output_type": "q", "action_selector": "epsilon_greedy"}
    obs, share = np.zeros((2000, 3, 18)), {}
    for offline in (False, True):
        policy = make_policy(tmp_path / str(offline), offline=offline, **kind)
        share[offline] = (policy.act(obs, sample=True) != policy.act(obs)).mean()
    assert share[False] > 0.7 and 0 < share[True] < 0.1
    assert load_policy(make_run(tmp_path / "later", offline=True, **kind)).step == 10


def test_the_step_of_exploration() -> None:
    args = SimpleNamespace(offline=True, epsilon_anneal_time=50)
    assert [exploration_step(args, step) for step in (10, 90)] == [50, 90]
    args.offline = False
    assert exploration_step(args, 10) == 10
