"""BCQ of discrete actions where observations do not tell what is available: play and targets agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from controllers.one_pass import to_policy
from deployment.export import export_policy
from learners.losses import NEXT
from stock.batched_controller import BatchedMAC, BatchedNonSharedMAC
from tests.deployment.made import make_policy
from tests.deployment.test_export import open_onnx, open_torchscript, play
from tests.learners.learner_tester import F64, N_AGENTS, make_batch, make_learner

AGENTS = ("bcq_ns", "bcq_rnn_ns")


class Fixed(nn.Module):
    """The same numbers whatever is seen, in a network's place, with or without a memory."""

    def __init__(self, numbers: list[float]) -> None:
        super().__init__()
        self.numbers = nn.Parameter(th.tensor(numbers, dtype=F64))

    def forward(self, seen: Tensor, hidden: Tensor | None = None) -> Any:
        found = self.numbers.expand(*seen.shape[:2], -1)
        return found if hidden is None else (found, hidden)


def case(agent: str, n_actions: int, **updates: Any) -> tuple[Any, EpisodeBatch]:
    """A learner whose targets are its networks, and a batch; every action is available."""
    learner = make_learner("bcq", dtype=F64, discrete=True, agent=agent, n_actions=n_actions, mixer=None, **updates)
    learner.target_agent.load_state_dict(learner.agent.state_dict())
    return learner, make_batch(learner.args, rows=40, steps=3, dtype=F64)


def withhold(batch: EpisodeBatch, share: float) -> None:
    """Make actions unavailable at random, but one of each agent at each step."""
    generator = th.Generator().manual_seed(7)
    can = batch["avail_actions"]
    left = th.rand(can.shape, generator=generator) > share
    left |= nn.functional.one_hot(th.randint(can.shape[-1], can.shape[:-1], generator=generator), can.shape[-1]) > 0
    can[:] = left.int()


def played(learner: Any, batch: EpisodeBatch) -> Tensor:
    """Greedy actions of the controller, step by step, (B, T, N)."""
    learner.mac.init_hidden(batch.batch_size)
    steps = range(batch.max_seq_length)
    return th.stack([learner.mac.select_actions(batch, t, 0, test_mode=True) for t in steps], dim=1)


@pytest.mark.parametrize("agent", AGENTS)
def test_the_likeliest_action_is_that_of_the_available_ones(agent: str) -> None:
    """Action 2 is the likeliest and is not there: of the others 1 is 400 times as likely as 0, though 0 is first."""
    learner, batch = case(agent, 3)
    learner.agent.behaviour[0] = Fixed([-6.0, 0.0, 3.0])
    for network in (learner.agent, learner.target_agent):
        network.q[0] = Fixed([5.0, 1.0, 2.0])
    batch["avail_actions"][..., 2] = 0
    assert (played(learner, batch) == 1).all()
    assert (learner.next_values(batch, {}) == 1.0).all()
    probabilities = learner.mac.forward_all(batch)  # (B, T, N, A), as losses and FQE read them
    assert th.equal(probabilities, th.tensor([0.0, 1.0, 0.0], dtype=F64).expand_as(probabilities))


@pytest.mark.parametrize("agent", AGENTS)
def test_targets_value_what_is_played(agent: str) -> None:
    """Random networks and actions missing at random: the next value is that of the action played there."""
    learner, batch = case(agent, 5, behaviour_threshold=0.9)
    withhold(batch, 0.6)
    chosen = played(learner, batch)  # (B, T, N)
    assert (batch["avail_actions"].gather(-1, chosen.unsqueeze(-1)) == 1).all()
    values = learner.over_time(learner.agent, "q", batch, NEXT)  # (N, R, A)
    index = chosen[:, NEXT].flatten(0, 1).T.unsqueeze(-1)  # (N, R, 1)
    th.testing.assert_close(learner.next_values(batch, {}), values.gather(-1, index).squeeze(-1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("agent", AGENTS)
def test_where_all_actions_are_available_nothing_changes(agent: str) -> None:
    """Bit for bit the outputs of agents that are told nothing of availability."""
    learner, batch = case(agent, 5)
    inputs = batch["obs"][:, 0].flatten(0, 1)  # (B*N, O)
    told = learner.agent(inputs, learner.agent.init_hidden(), batch["avail_actions"][:, 0].flatten(0, 1))
    untold = learner.agent(inputs, learner.agent.init_hidden())
    assert all(th.equal(*pair) for pair in zip(told, untold, strict=True))


@pytest.mark.parametrize("controller", [BatchedMAC, BatchedNonSharedMAC])
def test_controllers_for_stock_hand_availability_over(controller: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock's own `forward` calls agents without it; ours in stock plays what ours plays."""
    learner, batch = case("bcq_ns", 5, behaviour_threshold=0.9)
    withhold(batch, 0.6)
    expected = learner.mac.forward(batch, 0)

    def stocks(mac: Any, ep_batch: EpisodeBatch, t: int, test_mode: bool = False) -> Tensor:
        outputs, _ = mac.agent(mac._build_inputs(ep_batch, t), None)
        return to_policy(mac, outputs.view(ep_batch.batch_size, N_AGENTS, -1), ep_batch["avail_actions"][:, t])

    assert not th.equal(stocks(learner.mac, batch, 0), expected)
    monkeypatch.setattr(controller.__bases__[1], "forward", stocks)
    learner.mac.__class__ = controller
    assert th.equal(learner.mac.forward(batch, 0), expected)


@pytest.mark.parametrize(("to", "opener"), [("torchscript", open_torchscript), ("onnx", open_onnx)])
@pytest.mark.parametrize("agent", AGENTS)
def test_exported_agents_compare_available_actions(tmp_path: Path, agent: str, to: str, opener: Any) -> None:
    """With threshold 1 the likeliest available action is played, whatever the values say."""
    if to == "onnx":
        pytest.importorskip("onnx")
    keys = {"learner": "bcq_learner", "agent_output_type": "pi_logits", "behaviour_threshold": 1.0}
    policy = make_policy(tmp_path / "run", agent=agent, **keys)
    export_policy(policy, to, tmp_path / "out")
    random = np.random.default_rng(1)
    obs = random.standard_normal((4, 50, 3, 18)).astype(np.float32)  # (T, B, N, O)
    available = (random.random((4, 50, 3, 5)) < 0.4).astype(np.float32)
    available[..., 3] = 1
    likeliest = of_the_model(policy.mac.agent, obs, available)  # (T, B, N)
    for seen, can, expected in zip(obs, available, likeliest, strict=True):
        np.testing.assert_array_equal(policy.act(seen, can), expected)
    for i in range(3):
        actions = play(*opener(tmp_path / "out" / f"agent_{i}.{'pt' if to == 'torchscript' else 'onnx'}"),
                       obs[:, :, i], available[:, :, i])  # fmt: skip
        np.testing.assert_array_equal(np.stack(actions), likeliest[:, :, i])


def of_the_model(agent: Any, obs: np.ndarray, available: np.ndarray) -> np.ndarray:
    """The available action that the behaviour's model takes most often, (T, B, N)."""
    with th.no_grad():
        history = th.from_numpy(obs).transpose(0, 1)  # (B, T, N, O)
        logits = agent.over_time(agent.behaviour, history, None, slice(None))  # (N, B*T, A)
    logits = logits.unflatten(1, history.shape[:2]).permute(2, 1, 0, 3)  # (T, B, N, A)
    found: np.ndarray = logits.masked_fill(th.from_numpy(available) == 0, -th.inf).argmax(-1).numpy()
    return found
