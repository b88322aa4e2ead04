from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch as th

from components.episode_buffer import EpisodeBatch
from components.scheme import build_scheme
from controllers import REGISTRY
from utils.errors import ConfigError

INFO = {"state_shape": 6, "obs_shape": 4, "n_actions": 3, "n_agents": 2, "episode_limit": 4}
PAIRS = [("basic_mac", "rnn"), ("basic_mac", "mlp"), ("non_shared_mac", "rnn_ns"), ("non_shared_mac", "mlp_ns")]


def build(mac: str, agent: str, **keys: Any) -> tuple[Any, EpisodeBatch]:
    args = SimpleNamespace(
        n_agents=2, n_actions=3, state_shape=6, hidden_dim=8, use_rnn=True, agent=agent, obs_agent_id=True,
        obs_last_action=True, agent_output_type="q", action_selector="epsilon_greedy", epsilon_start=0.0,
        epsilon_finish=0.0, epsilon_anneal_time=0, evaluation_epsilon=0.0, common_reward=True, device="cpu",
    )  # fmt: skip
    vars(args).update(keys)
    scheme, groups, preprocess = build_scheme(INFO, args)
    batch = EpisodeBatch(scheme, groups, 5, 5, preprocess=preprocess)
    batch.update({"obs": th.randn(5, 5, 2, 4), "actions": th.randint(3, (5, 5, 2, 1)),
                  "avail_actions": th.ones(5, 5, 2, 3, dtype=th.int)})  # fmt: skip
    full = {key: dict(value) for key, value in batch.scheme.items()}
    full["obs"] |= {"mean": th.arange(8.0).view(2, 4), "std": th.full((2, 4), 2.0)}
    return REGISTRY[mac](full, groups, args), batch


@pytest.mark.parametrize(("mac", "agent"), PAIRS)
def test_forward_all_equals_the_unroll(mac: str, agent: str) -> None:
    controller, batch = build(mac, agent)
    at_once = controller.forward_all(batch)
    controller.init_hidden(5)
    unrolled = th.stack([controller.forward(batch, t) for t in range(5)], dim=1)
    assert at_once.shape == (5, 5, 2, 3) and th.allclose(at_once, unrolled, atol=1e-6)


@pytest.mark.parametrize(("mac", "agent"), PAIRS)
def test_selects_for_some_rows_only_and_detached(mac: str, agent: str) -> None:
    controller, batch = build(mac, agent)
    controller.init_hidden(5)
    chosen = controller.select_actions(batch, t_ep=0, t_env=0, bs=[0, 3], test_mode=True)
    controller.init_hidden(5)
    assert th.equal(chosen, controller.forward(batch, 0)[[0, 3]].argmax(-1))
    assert chosen.shape == (2, 2)


@pytest.mark.parametrize(("mac", "agent"), PAIRS)
def test_a_controller_can_be_copied_after_a_rollout(mac: str, agent: str) -> None:
    """Stock's raises here: its hidden state hangs in the rollout's graph (contract of `copy.deepcopy`)."""
    controller, batch = build(mac, agent)
    controller.init_hidden(5)
    controller.forward(batch, 0)
    copied = copy.deepcopy(controller)
    assert copied.agent is not controller.agent and copied.args is controller.args
    assert th.equal(copied.forward_all(batch), controller.forward_all(batch))


@pytest.mark.parametrize(("mac", "agent"), PAIRS)
def test_saves_and_loads(mac: str, agent: str, tmp_path: Path) -> None:
    first, batch = build(mac, agent)
    second, _ = build(mac, agent)
    first.save_models(str(tmp_path))
    second.load_models(str(tmp_path))
    assert th.equal(first.forward_all(batch), second.forward_all(batch))


@pytest.mark.parametrize("agent", ["rnn_ns", "mlp_ns"])
def test_unshared_agents_do_not_share(agent: str) -> None:
    controller, batch = build("non_shared_mac", agent)
    outputs = controller.forward_all(batch)
    gradients = th.autograd.grad(outputs[:, :, 0].sum(), list(controller.parameters()), allow_unused=True)
    if agent == "mlp_ns":
        assert all(g is None or not g[1].any() for g in gradients)
    else:
        half = len(gradients) // 2
        assert all(g is None or not g.any() for g in gradients[half:])


def test_input_statistics_reach_the_agents() -> None:
    unshared, _ = build("non_shared_mac", "mlp_ns", input_norm="dataset")
    assert unshared.agent.normaliser.mean[:, :4].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert not unshared.agent.normaliser.mean[:, 4:].any()  # last action and id stay as they are
    shared, _ = build("basic_mac", "mlp", input_norm="dataset")
    assert shared.agent.normaliser.mean[:4].tolist() == [2, 3, 4, 5]
    # the mixture of two groups with deviation 2 and means 4 apart
    assert shared.agent.normaliser.std[:4].tolist() == pytest.approx([8**0.5] * 4)
    with pytest.raises(ConfigError, match="input_norm=none"):
        build("basic_mac", "rnn", input_norm="dataset")


def test_policy_probabilities_mask_unavailable_actions() -> None:
    controller, batch = build("basic_mac", "mlp", agent_output_type="pi_logits")
    batch["avail_actions"][..., 0] = 0
    probabilities = controller.forward_all(batch)
    assert probabilities[..., 0].max() < 1e-6 and th.allclose(probabilities.sum(-1), th.ones(5, 5, 2))
