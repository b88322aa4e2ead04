"""Stacked decentralised critics against plain `nn.Linear` networks with copied weights, one row at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch as th
from torch import Tensor, nn

from modules.agents import REGISTRY as agent_REGISTRY
from modules.critics import REGISTRY, LocalCritic, LocalEnsemble
from modules.layers.normaliser import Normaliser, fill_normalisers
from tests.learners.learner_tester import make_learner
from tests.modules.test_ensemble_critic import sequential

R, K, N, OBS, A, S, H = 5, 4, 3, 6, 2, 7, 8
F64 = th.float64
TIGHT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}
ARGS = SimpleNamespace(n_agents=N, n_actions=A, hidden_dim=H, use_rnn=True, agent_output_type="mean")
KINDS = ("values", "discrete", "continuous")


def random(*shape: int, seed: int = 0) -> Tensor:
    return th.randn(*shape, generator=th.Generator().manual_seed(seed), dtype=F64)


def statistics(seed: int = 7) -> dict[str, tuple[Tensor, Tensor]]:
    """Of observations (N, O) and states (S,), different for each agent."""
    return {key: (random(*shape, seed=seed), random(*shape, seed=seed + 1).abs() + 0.5)
            for key, shape in (("obs", (N, OBS)), ("state", (S,)))}  # fmt: skip


def make(kind: str, members: int, shared: bool) -> LocalEnsemble:
    th.manual_seed(0)
    scheme = {"obs": {"vshape": OBS}, "actions": {"dtype": th.float32 if kind == "continuous" else th.long}}
    critic = LocalEnsemble(scheme, ARGS, members, with_actions=kind != "values", shared=shared).to(F64)
    fill_normalisers(critic, statistics())
    return critic


def networks(critic: Any) -> list[list[nn.Sequential]]:
    """A plain network for each member and agent; the same one for all agents where they share."""
    groups = 1 if critic.shared else N
    plain = []
    for member in range(critic.members):
        own = [sequential(critic, member * groups + group) for group in range(groups)]
        plain.append(own * N if critic.shared else own)
    return plain


def loops(critic: LocalEnsemble, plain: list[list[nn.Sequential]], obs: Tensor, actions: Tensor | None) -> Tensor:
    """Values of one member, row and agent at a time: (E, R, N), (E, R, A, N) or (E, R, K, N)."""
    mean, std = statistics()["obs"]
    index = th.eye(N, dtype=F64)
    members = []
    for own in plain:
        rows = []
        for row in range(R):
            agents = []
            for agent in range(N):
                seen = (obs[row, agent] - mean[agent]) / std[agent]  # (O,)
                inputs = th.cat([seen, index[agent]]) if critic.shared else seen
                if actions is None:
                    agents.append(own[agent](inputs))  # (1 or A,)
                else:
                    agents.append(th.cat([own[agent](th.cat([inputs, a])) for a in actions[row, :, agent]]))  # (K,)
            rows.append(th.stack(agents, dim=-1))
        members.append(th.stack(rows))
    values = th.stack(members)  # (E, R, 1, A or K, N)
    return values if actions is not None or critic.gives_actions else values.squeeze(2)


# -- values and gradients ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_equal_loops(kind: str, members: int, shared: bool) -> None:
    critic = make(kind, members, shared)
    obs, actions = random(R, N, OBS).requires_grad_(), None
    if kind == "continuous":
        actions = random(R, K, N, A, seed=1).requires_grad_()
    plain = networks(critic)
    ours, theirs = critic(obs, actions), loops(critic, plain, obs, actions)
    assert ours.shape == {"values": (members, R, N), "discrete": (members, R, A, N)}.get(kind, (members, R, K, N))
    th.testing.assert_close(ours, theirs, **TIGHT)
    direction = random(*ours.shape, seed=2)
    inputs = [obs] if actions is None else [obs, actions]
    for a, b in zip(
        th.autograd.grad(ours, inputs, direction, retain_graph=True),
        th.autograd.grad(theirs, inputs, direction, retain_graph=True),
        strict=True,
    ):
        th.testing.assert_close(a, b, **TIGHT)
    stacked = th.autograd.grad(ours, list(critic.parameters()), direction)
    different = [network for own in plain for network in (own[:1] if shared else own)]
    single = th.autograd.grad(theirs, [p for network in different for p in network.parameters()], direction)
    assert len(critic.fc1.weight) == len(different)
    for place in range(len(different)):
        for layer in range(3):
            weight, bias = single[6 * place + 2 * layer : 6 * place + 2 * layer + 2]
            th.testing.assert_close(stacked[2 * layer][place], weight.T, **TIGHT)
            th.testing.assert_close(stacked[2 * layer + 1][place, 0], bias, **TIGHT)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", KINDS[1:])
def test_taken_is_the_value_of_one_action(kind: str, shared: bool) -> None:
    critic, obs = make(kind, 2, shared), random(R, N, OBS)
    if kind == "continuous":
        actions = random(R, N, A, seed=1)
        expected = critic(obs, th.stack([actions, 2 * actions], dim=1))[:, :, 0]
    else:
        index = (random(R, N, seed=1) > 0).long()  # (R, N)
        actions = nn.functional.one_hot(index, A).to(F64)
        expected = critic(obs).gather(2, index.expand(2, R, N).unsqueeze(2)).squeeze(2)
    assert expected.shape == (2, R, N)
    th.testing.assert_close(critic.taken(obs, actions), expected, **TIGHT)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_value_depends_on_its_own_agent_and_candidate_alone(kind: str, shared: bool) -> None:
    critic, obs = make(kind, 2, shared), random(R, N, OBS).requires_grad_()
    actions = random(R, K, N, A, seed=1).requires_grad_() if kind == "continuous" else None
    values = critic(obs, actions)
    inputs = [obs] if actions is None else [obs, actions]
    reached = th.autograd.grad(values[0, 2].view(-1, N)[0, 1], inputs)
    agents = reached[0].abs().sum(-1) > 0  # (R, N)
    assert agents.nonzero().tolist() == [[2, 1]]
    if actions is not None:
        assert (reached[1].abs().sum(-1) > 0).nonzero().tolist() == [[2, 0, 1]]


def test_one_member_of_a_shared_ensemble_is_the_local_critic() -> None:
    """The same function as `LocalCritic`'s feed-forward kind, for the same weights."""
    scheme = {"obs": {"vshape": OBS}, "actions": {"dtype": th.long}}
    local, ensemble = LocalCritic(scheme, ARGS, with_actions=False, recurrent=False).to(F64), make("values", 1, True)
    fill_normalisers(local, statistics())
    for name in ("fc1", "fc2", "fc3"):
        stacked, plain = getattr(ensemble, name), getattr(local, name)
        stacked.weight.data.copy_(plain.weight.T.unsqueeze(0))
        stacked.bias.data.copy_(plain.bias.view(1, 1, -1))
    obs = random(R, N, OBS)
    th.testing.assert_close(ensemble(obs)[0], local(obs.unsqueeze(0))[0], **TIGHT)


def test_the_registry_holds_every_critic() -> None:
    assert set(REGISTRY) == {"state_value", "local_value", "local_ensemble", "ensemble_q"}


# -- where statistics of the dataset go --------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", sorted(set(agent_REGISTRY) - {"bcq_ns", "bcq_rnn_ns"}))  # these hold critics too
def test_agents_of_their_own_take_their_own_statistics_and_shared_ones_pool_them(agent: str) -> None:
    """Further inputs, as the last action and the agent's index, stay as they are."""
    extra = 2
    network = agent_REGISTRY[agent](OBS + extra, ARGS).to(F64)
    fill_normalisers(network, statistics())
    mean, std = statistics()["obs"]
    layer: Any = network.normaliser
    if agent.endswith("_ns"):
        assert th.equal(layer.mean[:, :OBS], mean) and th.equal(layer.std[:, :OBS], std)
    else:  # what 100 000 observations of all agents together would have
        samples = mean + std * random(100_000, N, OBS, seed=3)
        pooled = samples.flatten(0, 1)
        th.testing.assert_close(layer.mean[:OBS], pooled.mean(0), rtol=0, atol=0.01)
        th.testing.assert_close(layer.std[:OBS], pooled.std(0), rtol=0.01, atol=0)
    assert (layer.mean[..., OBS:] == 0).all() and (layer.std[..., OBS:] == 1).all()
    for inner in (m for m in network.modules() if isinstance(m, Normaliser) and m is not layer):
        assert agent == "rnn_ns" and not inner.filled
        assert (inner.mean == 0).all() and (inner.std == 1).all()


def test_agents_inside_rnn_ns_stay_the_identity_after_a_checkpoint() -> None:
    network, again = (agent_REGISTRY["rnn_ns"](OBS, ARGS).to(F64) for _ in range(2))
    fill_normalisers(network, statistics())
    saved = network.state_dict()
    assert {name for name in saved if "normaliser" in name} == {"normaliser.mean", "normaliser.std"}
    again.load_state_dict(saved)
    inputs, hidden = random(R * N, OBS), random(R * N, H, seed=1)
    assert th.equal(network(inputs, hidden)[0], again(inputs, hidden)[0])


def test_a_learners_networks_and_targets_are_all_filled() -> None:
    """Observations for agents and local values, states for centralised ones."""
    for alg in ("matd3_bc", "comadice", "spacql"):
        learner = make_learner(alg, discrete=False)
        scale = {"obs": (th.rand(3, 4), 1 + th.rand(3, 4)), "state": (th.rand(12), 1 + th.rand(12))}
        fill_normalisers(learner, scale)
        layers = {name: m for name, m in learner.named_modules() if isinstance(m, Normaliser)}
        assert {layer.field for layer in layers.values()} == {"obs", "state"}
        for name, layer in layers.items():
            assert layer.filled and th.equal(layer.mean, scale[str(layer.field)][0]), name


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_members_can_be_asked_alone(kind: str, shared: bool) -> None:
    critic = make(kind, 3, shared)
    obs, actions = random(R, N, OBS), random(R, K, N, A, seed=1) if kind == "continuous" else None
    for members in (1, 2):
        th.testing.assert_close(critic(obs, actions, members), critic(obs, actions)[:members], **TIGHT)
