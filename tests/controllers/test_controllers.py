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
from modules.layers.normaliser import fill_normalisers
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
    return REGISTRY[mac](batch.scheme, groups, args), batch


def fill(controller: Any) -> None:
    """Give the agents the statistics of observations that differ between agents."""
    fill_normalisers(controller.agent, {"obs": (th.arange(8.0).view(2, 4), th.full((2, 4), 2.0))})


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


@pytest.mark.parametrize(("mac", "agent"), PAIRS)
def test_statistics_travel_with_the_weights_and_files_without_any_are_stocks(
    mac: str, agent: str, tmp_path: Path
) -> None:
    plain, batch = build(mac, agent)
    plain.save_models(str(tmp_path))
    assert not [key for key in th.load(tmp_path / "agent.th", weights_only=True) if "normaliser" in key]
    filled, _ = build(mac, agent)
    fill(filled)
    before = filled.forward_all(batch)
    filled.save_models(str(tmp_path))
    other, _ = build(mac, agent)
    other.load_models(str(tmp_path))
    assert th.equal(other.forward_all(batch), before)
    plain.save_models(str(tmp_path))
    other.load_models(str(tmp_path))  # a file without statistics is of a network that saw its inputs as they are
    assert th.equal(other.forward_all(batch), plain.forward_all(batch))


@pytest.mark.parametrize(("mac", "agent"), PAIRS)
def test_gaussian_policies_have_two_outputs_an_action(mac: str, agent: str) -> None:
    keys = {"agent_output_type": "gaussian", "action_selector": "gaussian_policy", "action_low": [-1.0] * 3}
    keys |= {"action_high": [1.0] * 3}
    controller, batch = build(mac, agent, **keys)
    assert controller.forward_all(batch).shape == (5, 5, 2, 6)
    controller.init_hidden(5)
    assert controller.select_actions(batch, t_ep=0, t_env=0).shape == (5, 2, 3)


@pytest.mark.parametrize(
    ("selector", "output"),
    [("multinomial", "q"), ("epsilon_greedy", "mean"), ("deterministic", "gaussian"), ("gaussian_policy", "mean")],
)
def test_selectors_that_cannot_read_the_outputs_are_refused(selector: str, output: str) -> None:
    with pytest.raises(ConfigError, match=f"action_selector={selector} reads .*, not {output}: set action_selector"):
        build("basic_mac", "mlp", action_selector=selector, agent_output_type=output)


@pytest.mark.parametrize(("mac", "agent"), [("basic_mac", "rnn"), ("non_shared_mac", "rnn_ns")])
def test_a_warmed_up_state_carries_values_and_no_gradient(mac: str, agent: str) -> None:
    """Rows with `learned` 0 give the rows after them their memory; nothing flows back into their inputs."""
    controller, batch = build(mac, agent)
    whole = controller.forward_all(batch)
    batch.scheme["learned"] = {"vshape": (1,)}
    learned = th.ones(5, 5, 1)
    learned[:3, :2] = 0
    learned[3:, 4:] = 0
    batch.data.transition_data["learned"] = learned
    batch["obs"].requires_grad_()
    outputs = controller.forward_all(batch)
    assert th.equal(outputs, whole)
    (gradient,) = th.autograd.grad(outputs[:, 2:].sum(), batch["obs"])
    assert not gradient[:3, :2].any() and gradient[3:, :2].abs().sum((-2, -1)).min() > 0
    assert gradient[:, 2:].abs().sum((-2, -1)).min() > 0


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


@pytest.mark.parametrize("kind", ["mlp", "rnn"])
def test_input_statistics_reach_the_agents(kind: str) -> None:
    unshared, batch = build("non_shared_mac", f"{kind}_ns")
    fill(unshared)
    assert unshared.agent.normaliser.mean[:, :4].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert not unshared.agent.normaliser.mean[:, 4:].any()  # last action and id stay as they are
    plain, _ = build("non_shared_mac", f"{kind}_ns")
    plain.agent.load_state_dict({k: v for k, v in unshared.agent.state_dict().items() if "normaliser" not in k})
    outputs = unshared.forward_all(batch)
    batch["obs"][:] = (batch["obs"] - th.arange(8.0).view(2, 4)) / 2
    assert th.allclose(plain.forward_all(batch), outputs, atol=1e-6)
    shared, _ = build("basic_mac", kind)
    fill(shared)
    assert shared.agent.normaliser.mean[:4].tolist() == [2, 3, 4, 5]
    # the mixture of two groups with standard deviation 2 and means 4 apart
    assert shared.agent.normaliser.std[:4].tolist() == pytest.approx([8**0.5] * 4)


def test_policy_probabilities_mask_unavailable_actions() -> None:
    controller, batch = build("basic_mac", "mlp", agent_output_type="pi_logits")
    batch["avail_actions"][..., 0] = 0
    probabilities = controller.forward_all(batch)
    assert probabilities[..., 0].max() < 1e-6 and th.allclose(probabilities.sum(-1), th.ones(5, 5, 2))
