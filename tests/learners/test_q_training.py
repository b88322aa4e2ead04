"""Training by IQL, VDN and QMIX: small games with known answers, targets, continuation, refusals."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch as th
from torch import Tensor

from learners.optimisation import target_schedule
from tests.learners.learner_tester import assert_same, make_batch, make_learner, train
from tests.no_device_reads import NoDeviceReads
from utils.config import CONFIG, read_yaml
from utils.errors import CheckpointError, ConfigError


def play(alg: str, payoff: list[list[float]]) -> tuple[Any, Tensor]:
    """Train on a one-state game of two agents; the learner and its Q_tot for every pair of actions, (2, 2)."""
    learner = make_learner(
        alg, n_agents=2, state_shape=8, use_rnn=False, hidden_dim=32, q_lr=0.003, standardise_rewards=False
    )
    batch = make_batch(learner.args, rows=4, steps=2)
    batch["obs"][:], batch["state"][:] = 1.0, 1.0
    pairs = th.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    batch["actions"][:, 0, :, 0] = pairs
    batch["reward"][:, 0, 0] = th.tensor(payoff).flatten()
    batch["terminated"][:, 0] = 1
    for step in range(800):
        learner.train(batch, step + 1, 0)
    with th.no_grad():
        values = learner.unroll(learner.mac, batch, slice(0, 1))[0, 0]  # (2, 2)
        qs = values[th.arange(2), pairs].unsqueeze(1)  # (4, 1, 2)
        total = learner.mixer(qs, batch["state"][:, :1]).view(2, 2)
    greedy = values.argmax(-1).tolist()
    assert payoff[greedy[0]][greedy[1]] == max(max(row) for row in payoff)
    return learner, total


@pytest.mark.parametrize("alg", ["vdn", pytest.param("vdn_ns", marks=pytest.mark.slow)])
def test_vdn_solves_an_additive_game_exactly(alg: str) -> None:
    payoff = [[1.0, -1.0], [3.0, 1.0]]  # (1 or 3) + (0 or -2)
    _, total = play(alg, payoff)
    th.testing.assert_close(total, th.tensor(payoff), rtol=0, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("alg", ["qmix", "qmix_ns"])
def test_qmix_solves_a_monotone_game_that_vdn_cannot_represent(alg: str) -> None:
    payoff = [[0.0, 1.0], [1.0, 8.0]]
    _, total = play(alg, payoff)
    th.testing.assert_close(total, th.tensor(payoff), rtol=0, atol=0.1)
    _, sums = play("vdn", payoff)
    assert (sums - th.tensor(payoff)).abs().max() > 1.0  # the best sum misses every entry by 1.5


@pytest.mark.parametrize("alg", ["iql", "vdn", "qmix"])
def test_targets_are_copied_every_200_updates(alg: str) -> None:
    learner = make_learner(alg, target_update_interval_or_tau=200)
    names = [name for name in learner.state_dict() if name.startswith("target_")]
    start = {name: learner.state_dict()[name].clone() for name in names}
    train(learner, 0, 199)
    assert all(th.equal(learner.state_dict()[name], start[name]) for name in names)
    train(learner, 199, 200)
    now = learner.state_dict()
    assert all(th.equal(now[name], now[name.removeprefix("target_")]) for name in names)
    assert not th.equal(now["target_agent.fc2.weight"], start["target_agent.fc2.weight"])


def test_shares_move_targets_every_update() -> None:
    learner = make_learner("qmix", target_update_interval_or_tau=0.25)
    start = {k: v.clone() for k, v in learner.state_dict().items()}
    train(learner, 0, 1)
    for name in ("agent.fc2.weight", "mixer.V.2.weight"):
        moved = th.lerp(start[f"target_{name}"], learner.state_dict()[name], 0.25)
        th.testing.assert_close(learner.state_dict()[f"target_{name}"], moved)


@pytest.mark.parametrize(
    ("keys", "schedule"),
    [
        ({}, (200, 1.0)),
        ({"target_update_interval_or_tau": 7}, (7, 1.0)),
        ({"target_update_interval_or_tau": 1}, (1, 1.0)),
        ({"target_update_interval_or_tau": 0.01}, (1, 0.01)),
        ({"target_update_interval_or_tau": 7, "target_update_interval": 5, "tau": 0.1}, (5, 0.1)),
        ({"target_update_interval": 5}, (5, 1.0)),
        ({"tau": 0.1}, (1, 0.1)),
    ],
)
def test_target_schedule(keys: dict[str, Any], schedule: tuple[int, float]) -> None:
    assert target_schedule(SimpleNamespace(**keys)) == schedule


@pytest.mark.parametrize("value", [0, -1, 2.5, "often", True])
def test_target_schedule_refuses(value: Any) -> None:
    with pytest.raises(ConfigError, match=f"target_update_interval_or_tau={value}: this must be a whole number"):
        target_schedule(SimpleNamespace(target_update_interval_or_tau=value))


@pytest.mark.parametrize("alg", ["iql", "vdn", "qmix"])
def test_running_statistics_continue_bit_exactly(alg: str, tmp_path: Path) -> None:
    """train(2N) == train(N) + save + load + train(N), targets copied in both halves; episodes of four rows."""
    keys = {"standardise_returns": True, "standardise_rewards": True, "target_update_interval_or_tau": 3}

    def steps(learner: Any, start: int, stop: int) -> Any:
        for step in range(start, stop):
            learner.train(make_batch(learner.args, seed=step, steps=4), step + 1, 0)
        return learner

    straight = steps(make_learner(alg, **keys), 0, 10)
    first = steps(make_learner(alg, **keys), 0, 5)
    first.save_models(str(tmp_path))
    th.save(first.training_state(), tmp_path / "training.th")
    second = make_learner(alg, seed=99, **keys)
    second.load_models(str(tmp_path))
    state = th.load(tmp_path / "training.th", weights_only=True)
    assert set(state["statistics"]) == {"rew_ms", "ret_ms"} and state["statistics"]["ret_ms"]["count"] > 1
    second.load_training_state(state)
    steps(second, 5, 10)
    assert_same(straight.state_dict(), second.state_dict())
    assert_same(straight.training_state(), second.training_state())
    assert straight.logger.stats == first.logger.stats + second.logger.stats
    del state["statistics"]["ret_ms"]
    with pytest.raises(CheckpointError, match="training state does not fit QLearner"):
        second.load_training_state(state)


def test_losses_leave_the_statistics_alone() -> None:
    learner = make_learner("qmix", standardise_returns=True)
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    learner("q", make_batch(learner.args), {})
    assert_same(dict(learner.state_dict()), before)


@pytest.mark.parametrize("alg", ["iql", "vdn_ns", "qmix"])
def test_nothing_is_read_off_the_device_in_an_update(alg: str) -> None:
    learner = make_learner(
        alg, learner_log_interval=10**6, standardise_returns=True, target_update_interval_or_tau=2, loss_chunk=4
    )
    train(learner, 0, 3)
    batch = make_batch(learner.args, steps=4)
    with NoDeviceReads():
        for step in range(3, 8):
            learner.train(batch, step + 1, 0)


def test_log_has_stocks_names() -> None:
    learner = make_learner("qmix")
    train(learner, 0, 2)
    names = [key for key, _, _ in learner.logger.stats]
    assert names == ["q_loss", "q_grad_norm", "td_error_abs", "q_taken_mean", "target_mean"]


@pytest.mark.parametrize("mixer", [None, "vdn", "qmix", "monotone"])
def test_other_algorithms_files_train_on_defaults(mixer: str | None) -> None:
    """`--config=bc_discrete with learner=q_learner mixer=... agent_output_type=q ...` needs no key of its own."""
    default = read_yaml(CONFIG / "default.yaml")
    keys = {key: default[key] for key in ("gamma", "evaluation_epsilon")}
    q = {"agent_output_type": "q", "action_selector": "epsilon_greedy"}
    learner = make_learner("bc_discrete", learner="q_learner", mixer=mixer, **keys, **q)
    assert learner.double_q and learner.rew_ms is None and learner.target_interval == 200
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    train(learner, 0, 3)
    moved = [key for key, value in learner.state_dict().items() if not th.equal(value, before[key])]
    trained = [key for key in before if key.startswith(("agent.fc", "mixer.V"))]
    assert set(trained) <= set(moved)
    assert any(key.startswith("mixer.V") for key in trained) == (mixer == "qmix")


@pytest.mark.parametrize(
    ("alg", "updates", "words"),
    [
        (
            "iql",
            {"agent_output_type": "pi_logits", "action_selector": "multinomial"},
            "set agent_output_type=q action_selector=epsilon_greedy",
        ),
        ("vdn", {"common_reward": False}, "mixer=vdn needs one team reward: set common_reward=True, or mixer=None"),
        ("qmix", {"common_reward": False}, "mixer=qmix needs one team reward"),
        ("qmix", {"mixer": "qmx"}, "mixer=qmx: choose one of qmix, vdn, monotone, None"),
        ("qmix", {"hypernet_layers": 3}, "hypernet_layers=3: this must be a whole number of at least 1 and at most 2"),
        (
            "spacql",
            {"learner": "q_learner", "agent_output_type": "mean", "action_selector": "deterministic"},
            "discrete actions only",
        ),
    ],
)
def test_bad_keys_are_one_clear_sentence(alg: str, updates: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_learner(alg, **updates)
