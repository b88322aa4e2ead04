"""Agents with bounds of their own: every continuous learner acts, learns and judges inside each agent's own box."""

from __future__ import annotations

from typing import Any

import pytest
import torch as th
from torch import Tensor

from components.action_selectors import REGISTRY as selector_REGISTRY
from components.episode_buffer import EpisodeBatch
from learners import REGISTRY
from modules.critics.ensemble_critic import EnsembleCritic
from modules.critics.local_ensemble import LocalEnsemble
from tests.learners.learner_tester import (
    ALGORITHMS,
    F64,
    assert_same,
    is_recurrent,
    make_batch,
    make_learner,
    train,
)

# Agent 0 has one dimension, so its second is padded; 0 lies outside agent 1's second.
LOW, HIGH = [[-1.0, 0.0], [-3.0, 1.0]], [[2.0, 0.0], [6.0, 3.0]]
OWN: dict[str, Any] = {"n_agents": 2, "state_shape": 8, "action_low": LOW, "action_high": HIGH}
HAS = th.tensor([[1, 0], [1, 1]], dtype=th.int)
BEST = th.tensor([[1.4, 0.0], [-1.5, 2.4]])  # (N, A), of agent 0 near its upper bound, of agent 1 outside agent 0's
SHARED_MEMORY = {"mac": "basic_mac", "agent": "rnn", "obs_agent_id": True, "obs_last_action": True}
OWN_MEMORY = {"mac": "non_shared_mac", "agent": "rnn_ns"}
WITHOUT_MEMORY = {"alberdice", "bcq"}  # refuse recurrent agents
KINDS = {"mean": "deterministic", "gaussian": "gaussian_policy", "tanh_gaussian": "tanh_gaussian_policy"}


def cases() -> list[Any]:
    """Each algorithm file for continuous actions, with every policy, memory and variant that reads bounds."""
    listed: list[tuple[str, dict[str, Any]]] = []
    for alg, keys in ALGORITHMS.items():
        if "continuous" in REGISTRY[keys["learner"]].action_types and not alg.endswith("_discrete"):
            listed += [(alg, {}), (alg, {"loss_chunk": 2})]
            listed += [(alg, kind) for kind in (SHARED_MEMORY, OWN_MEMORY) if alg not in WITHOUT_MEMORY]
    listed += [("bc", {"agent_output_type": kind, "action_selector": KINDS[kind]}) for kind in KINDS]
    listed += [("comadice", {"agent_output_type": kind, "action_selector": KINDS[kind]}) for kind in KINDS]
    listed += [("comadice", {"advantage": kind}) for kind in ("joint", "mixed")]
    penalties = ("policy", "logsumexp", "logsumexp_policies")
    listed += [("spacql", {"cql_penalty": kind, "penalty_weights": "density"}) for kind in penalties]
    listed += [("spacql", {"penalty_weights": "density", "loss_chunk": 1} | OWN_MEMORY)]
    listed += [(alg, {"penalty_samples": "policies"}) for alg in ("macql", "omar")]
    return [pytest.param(alg, updates, id="-".join([alg, *map(str, updates.values())])) for alg, updates in listed]


def padded(batch: EpisodeBatch) -> EpisodeBatch:
    """The batch with agent 0's second dimension taken away."""
    batch["avail_actions"][:] = HAS
    for key in ("actions", "actions_onehot"):
        batch[key][:] *= HAS
    return batch


def assert_inside(actions: Tensor, agent: int | None = None) -> None:
    """Actions (..., N, A) lie in each agent's own box, or (..., 1, A) in that of one agent."""
    agents = slice(None) if agent is None else [agent]
    low, high = (th.tensor(bounds, dtype=actions.dtype)[agents] for bounds in (LOW, HIGH))
    slack = 1e-6 * (1 + high.abs())
    assert ((actions >= low - slack) & (actions <= high + slack)).all(), actions
    assert (actions * (1 - HAS[agents]) == 0).all()


@pytest.mark.parametrize(("alg", "updates"), cases())
def test_every_action_that_a_learner_uses_lies_in_its_agents_own_bounds(
    alg: str, updates: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is acted, and what critics are asked about: targets with noise, uniform samples, the policies' own."""
    asked: list[Tensor] = []
    alone: list[tuple[Any, Tensor]] = []  # what critics of one agent's action are asked about
    ask = EnsembleCritic._single

    def single(self: Any, state: Tensor, actions: Tensor, alternatives: Tensor, *rest: Any, **more: Any) -> Tensor:
        asked.extend((actions.detach(), alternatives.detach()))
        return ask(self, state, actions, alternatives, *rest, **more)

    joint = EnsembleCritic._joint

    def together(self: Any, state: Tensor, actions: Tensor) -> Tensor:
        if self.n_agents == 1:
            alone.append((self, actions.detach()))
        else:
            asked.append(actions.detach())
        return joint(self, state, actions)

    local = LocalEnsemble.forward

    def apart(self: Any, obs: Tensor, actions: Tensor | None = None, members: int | None = None) -> Tensor:
        asked.extend(() if actions is None else (actions.detach(),))
        return local(self, obs, actions, members)

    monkeypatch.setattr(LocalEnsemble, "forward", apart)
    monkeypatch.setattr(EnsembleCritic, "_single", single)
    monkeypatch.setattr(EnsembleCritic, "_joint", together)
    noise = {key: 2.0 for key in ("target_noise", "target_noise_clip") if key in ALGORITHMS[alg]}
    learner = make_learner(alg, discrete=False, **OWN, **noise, **updates)
    with th.no_grad():
        for parameter in learner.agent.parameters():
            parameter.mul_(5.0)  # far out
    for step in range(3):
        batch = padded(make_batch(learner.args, steps=4 if is_recurrent(learner.args) else 2, seed=step))
        learner.train(batch, step + 1, 0)
    learner.check_finite(3)
    assert all(th.isfinite(value).all() for value in learner.state_dict().values())
    for critic, actions in alone:  # (R, K, 1, A) each
        i = next(i for i in range(2) if getattr(learner, f"advantage_{i}") is critic)
        assert_inside(actions, i)
    for actions in asked:
        assert_inside(actions)
    learner.mac.init_hidden(batch.batch_size)
    for test_mode in (False, True):
        assert_inside(learner.mac.select_actions(batch, 0, 0, test_mode=test_mode))
        if not is_recurrent(learner.args):
            assert_inside(learner.mac.select_actions(batch, 0, 0, bs=[4, 1], test_mode=test_mode))
    assert asked or alone or alg in ("bc", "bcq", "comadice", "optdice", "ippo", "mappo")


@pytest.mark.parametrize(("alg", "updates"), cases())
def test_a_row_of_bounds_per_agent_computes_what_one_row_for_all_does(alg: str, updates: dict[str, Any]) -> None:
    """Bit for bit, where the rows are equal: no row is laid over another axis."""
    low, high = [-1.0, -2.0], [1.0, 3.0]
    flat = make_learner(alg, discrete=False, action_low=low, action_high=high, **updates)
    nested = make_learner(alg, discrete=False, action_low=[low] * 3, action_high=[high] * 3, **updates)
    for learner in (flat, nested):
        train(learner, 0, 6)
        th.manual_seed(0)
    assert_same(flat.state_dict(), nested.state_dict())
    assert flat.logger.stats == nested.logger.stats


@pytest.mark.parametrize(("alg", "updates"), cases())
def test_an_agents_bounds_concern_it_alone(alg: str, updates: dict[str, Any]) -> None:
    """Agent 1 acts and is judged as if both agents had its bounds, whatever agent 0's are."""
    low, high = [-3.0, 1.0], [6.0, 3.0]
    own = make_learner(alg, dtype=F64, discrete=False, **OWN, **updates)
    alike = make_learner(alg, dtype=F64, discrete=False, **{**OWN, "action_low": low, "action_high": high}, **updates)
    batch = padded(make_batch(own.args, dtype=F64))
    outputs = own.unroll(own.mac, batch, slice(None)).detach()  # (B, T, N, P)
    for ours, theirs in zip(policies(own), policies(alike), strict=True):
        calls: dict[str, Any] = {
            "mode": (outputs, batch["avail_actions"]),
            "sample": (outputs, batch["avail_actions"], ours.make_noise((6, 2, 2), None, "cpu").double()),
            "log_prob": (outputs, batch["actions"], batch["avail_actions"]),
            "entropy": (outputs, batch["avail_actions"]),
        }
        for name, arguments in calls.items():
            here, there = getattr(ours, name)(*arguments), getattr(theirs, name)(*arguments)
            axis = 2  # of agents, in (B, T, N, ...)
            assert th.equal(here.select(axis, 1), there.select(axis, 1)), name
    if hasattr(own, "density"):
        arguments = (batch["obs"][:, 0], batch["actions"][:, :1], batch["avail_actions"][:, 0])
        assert th.equal(own.density.log_prob(*arguments)[..., 1], alike.density.log_prob(*arguments)[..., 1])


def policies(learner: Any) -> list[Any]:
    """The policies that a learner reads outputs with."""
    found = [learner.policy] if hasattr(learner, "policy") else []
    return found + ([learner.imitation.policy] if hasattr(learner, "imitation") else [])


@pytest.mark.parametrize(
    "name", [name for name, kind in selector_REGISTRY.items() if "continuous" in kind.action_types]
)
def test_selectors_fill_each_agents_own_box(name: str) -> None:
    kind = next((kind for kind, selector in KINDS.items() if selector == name), "mean")
    args = make_learner("matd3", **OWN, exploration_noise=1.0).args
    selector: Any = selector_REGISTRY[name](args)
    th.manual_seed(0)
    width = 2 if kind == "mean" else 4
    actions = selector.select_action(2 * th.randn(4000, 2, width), HAS.expand(4000, 2, 2), t_env=0)
    assert_inside(actions)
    low, high = th.tensor(LOW), th.tensor(HIGH)
    reach = (actions.amax(0) - actions.amin(0)) / (high - low).clamp_min(1e-6)  # (N, A)
    assert (reach[HAS > 0] > 0.95).all()


def off_best(actions: Tensor) -> Tensor:
    """How far actions (..., N, A) are from the best ones, in half ranges; 0 where an agent lacks the dimension."""
    half = 0.5 * (th.tensor(HIGH) - th.tensor(LOW)).clamp_min(1e-6)  # (N, A)
    return (actions - BEST) / half * HAS


def assert_best(learner: Any) -> None:
    """The greedy actions are each agent's best."""
    batch = padded(make_batch(learner.args, rows=64, seed=9999))
    learner.mac.init_hidden(64)
    error = off_best(learner.mac.select_actions(batch, 0, 0, test_mode=True)).abs().mean(0)  # (N, A)
    assert (error < 0.15).all(), error


@pytest.mark.parametrize("alg", ["bc", "comadice"])
@pytest.mark.parametrize("kind", KINDS)
def test_imitation_reaches_each_agents_own_optimum(alg: str, kind: str) -> None:
    """Logged actions are about the best ones, of which agent 1's lie outside agent 0's box."""
    rates = {"actor_lr": 0.01, **({"gamma": 0.0, "alpha": 0.3} if alg == "comadice" else {})}
    policy = {"agent_output_type": kind, "action_selector": KINDS[kind]}
    learner = make_learner(alg, discrete=False, **OWN, **policy, **rates)
    for step in range(100):
        batch = padded(make_batch(learner.args, rows=64, seed=step))
        noise = 0.1 * th.randn(64, 2, 2, generator=th.Generator().manual_seed(step))
        logged = (BEST + noise * 0.5 * (th.tensor(HIGH) - th.tensor(LOW))) * HAS  # (B, N, A)
        for key in ("actions", "actions_onehot"):
            batch[key][:, 0] = logged
        batch["reward"][:, 0, 0] = -off_best(logged).square().sum((1, 2))
        learner.train(batch, step, 0)
    assert_best(learner)


def with_critics() -> list[str]:
    return [alg for alg in ALGORITHMS if alg in ("spacql", "cfcql", "icql_qs", "matd3", "matd3_bc")]


@pytest.mark.parametrize("alg", with_critics())
def test_policies_climb_to_each_agents_own_optimum(alg: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the exact critic -|a_i - a_i*|^2 of every agent."""
    flat = {key: 0.0 for key in ("pre_tanh_l2", "action_l2", "bc_weight") if key in ALGORITHMS[alg]}
    learner = make_learner(alg, discrete=False, **OWN, actor_lr=0.02, **flat)

    def exact(state: Tensor, actions: Tensor, own: Tensor, members: int | None = None) -> Tensor:
        return -off_best(own).square().sum(-1).unsqueeze(0)  # (1, R, K, N)

    monkeypatch.setattr(learner.critic, "single_replacements", exact)
    actor = [spec.name for spec in learner.LOSSES].index("actor")
    for step in range(150):
        learner.update(actor, padded(make_batch(learner.args, rows=64, seed=step)))
    assert_best(learner)


@pytest.mark.slow
@pytest.mark.parametrize("alg", ["matd3", "matd3_bc", "spacql"])
def test_critics_and_policies_find_each_agents_own_optimum(alg: str) -> None:
    """A reward of -|a - a*|^2 without a future, from actions that are uniform in each agent's own box."""
    zero = {key: 0.0 for key in ("pre_tanh_l2", "action_l2", "bc_weight", "alpha_cql") if key in ALGORITHMS[alg]}
    keys = {"gamma": 0.0, "critic_lr": 0.01, "actor_lr": 0.003, "hidden_dim": 32, "actor_update_interval": 1}
    learner = make_learner(alg, discrete=False, **OWN, **zero, **keys)
    for step in range(1000):
        batch = padded(make_batch(learner.args, rows=128, seed=step))
        batch["reward"][:, 0, 0] = -off_best(batch["actions"][:, 0]).square().sum((1, 2))
        learner.train(batch, step, 0)
    assert_best(learner)
