"""SPaCQL's whole update against Algorithm 1 written plainly: loops, concatenated inputs, torch's own optimisers."""

from __future__ import annotations

import copy
from typing import Any

import torch as th
from torch import Tensor, nn

from tests.learners.learner_tester import N_AGENTS, make_batch, make_learner

F64 = th.float64
UPDATES = 25


def mlp(layers: list[tuple[Tensor, Tensor]]) -> nn.Sequential:
    """A plain network with copies of these (in, out) weights and (1, out) biases, ReLU between them."""
    modules: list[nn.Module] = []
    for weight, bias in layers:
        linear = nn.Linear(*weight.shape, dtype=weight.dtype)
        linear.weight.data, linear.bias.data = weight.t().clone(), bias[0].clone()
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def members(module: Any, count: int) -> list[nn.Sequential]:
    """The members of a stacked network as plain ones."""
    layers = (module.fc1, module.fc2, module.fc3)
    return [mlp([(layer.weight[k].data, layer.bias[k].data) for layer in layers]) for k in range(count)]


class Plain:
    """Algorithm 1, one network and one agent at a time."""

    def __init__(self, learner: Any) -> None:
        self.args, self.low, self.high = learner.args, learner.policy.low, learner.policy.high
        self.obs_norm, self.state_norm = learner.agent.normaliser, learner.critic.normaliser
        self.critics = members(learner.critic, self.args.ensemble_size)
        self.actors = members(learner.agent, N_AGENTS)
        self.target_critics, self.target_actors = copy.deepcopy(self.critics), copy.deepcopy(self.actors)
        parameters = [p for critic in self.critics for p in critic.parameters()]
        self.critic_optimiser = th.optim.Adam(parameters, lr=self.args.critic_lr)
        self.actor_optimisers = [th.optim.Adam(actor.parameters(), lr=self.args.actor_lr) for actor in self.actors]
        self.t = 0

    def raw(self, actors: list[nn.Sequential], obs: Tensor) -> Tensor:
        seen = (obs - self.obs_norm.mean) / self.obs_norm.std
        return th.stack([actor(seen[:, i]) for i, actor in enumerate(actors)], dim=1)  # (B, N, A)

    def act(self, actors: list[nn.Sequential], obs: Tensor) -> Tensor:
        return self.low + (th.tanh(self.raw(actors, obs)) + 1) / 2 * (self.high - self.low)

    def value(self, critic: nn.Sequential, state: Tensor, actions: Tensor) -> Tensor:
        inputs = th.cat([(state - self.state_norm.mean) / self.state_norm.std, actions.flatten(1)], dim=1)
        return critic(inputs).squeeze(1)  # (B,)

    def target(self, batch: Any, noise: dict[str, Tensor]) -> Tensor:
        obs, state, logged = batch["obs"][:, 1], batch["state"][:, 1], batch["actions"][:, 1]
        shift = noise["next"][:, 0] * self.args.target_noise * (self.high - self.low) / 2
        policy = th.clamp(self.act(self.target_actors, obs) + shift, self.low, self.high)
        numerator = denominator = th.zeros(len(obs), dtype=F64)
        for k in range(1, N_AGENTS + 1):
            chosen = noise["order"][:, 0, k - 1] < k  # (B, N), exactly k true a row
            assert chosen.sum(1).eq(k).all()
            actions = th.where(chosen.unsqueeze(-1), policy, logged)
            u = th.stack([self.value(critic, state, actions) for critic in self.critics]).std(0)
            least = th.stack([self.value(critic, state, actions) for critic in self.target_critics]).min(0).values
            numerator, denominator = numerator + least / u, denominator + 1 / u
        return batch["reward"][:, 0, 0] + self.args.gamma * numerator / denominator

    def update(self, batch: Any, noise: dict[str, Tensor]) -> None:
        self.t += 1
        args, obs, state, actions = self.args, batch["obs"][:, 0], batch["state"][:, 0], batch["actions"][:, 0]
        with th.no_grad():
            y, policy = self.target(batch, noise), self.act(self.actors, obs)
        loss = th.zeros((), dtype=F64)
        for critic in self.critics:
            data = self.value(critic, state, actions)
            loss = loss + (data - y).square().mean()
            for i in range(N_AGENTS):
                replaced = actions.clone()
                replaced[:, i] = policy[:, i]
                loss = loss + args.alpha_cql / N_AGENTS * (self.value(critic, state, replaced) - data).mean()
        self.critic_optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for critic in self.critics for p in critic.parameters()], args.grad_norm_clip)
        self.critic_optimiser.step()
        if self.t % args.actor_update_interval == 0:
            self.update_actors(obs, state, actions)
        if self.t % args.target_update_interval == 0:
            self.move_targets()

    def update_actors(self, obs: Tensor, state: Tensor, actions: Tensor) -> None:
        raw = self.raw(self.actors, obs)
        unit = th.tanh(raw)
        policy = self.low + (unit + 1) / 2 * (self.high - self.low)
        loss = self.args.action_l2 * unit.square().mean((0, 2)).sum() + self.args.pre_tanh_l2 * raw.square().mean()
        for i in range(N_AGENTS):
            replaced = [policy[:, j] if j == i else actions[:, j] for j in range(N_AGENTS)]
            loss = loss - self.value(self.critics[0], state, th.stack(replaced, dim=1)).mean() / N_AGENTS
        for optimiser in self.actor_optimisers:
            optimiser.zero_grad()
        loss.backward()
        for actor, optimiser in zip(self.actors, self.actor_optimisers, strict=True):
            nn.utils.clip_grad_norm_(actor.parameters(), self.args.grad_norm_clip)
            optimiser.step()

    def move_targets(self) -> None:
        pairs = [
            *zip(self.critics, self.target_critics, strict=True),
            *zip(self.actors, self.target_actors, strict=True),
        ]
        for online, target in pairs:
            for source, moved in zip(online.parameters(), target.parameters(), strict=True):
                moved.data = (1 - self.args.tau) * moved.data + self.args.tau * source.data


def test_updates_equal_algorithm_1_written_plainly(monkeypatch: Any) -> None:
    learner = make_learner(
        dtype=F64, critic_lr=0.01, actor_lr=0.01, tau=0.1, final_init=0.5, cql_penalty="policy", actor_update_interval=5
    )
    plain = Plain(learner)
    used: list[dict[str, Tensor]] = []
    make_noise = learner.noise

    def recorded(name: str, batch: Any) -> dict[str, Tensor]:
        noise = {k: v.to(F64) if v.is_floating_point() else v for k, v in make_noise(name, batch).items()}
        if name == "critic":
            used.append(noise)
        return noise

    monkeypatch.setattr(learner, "noise", recorded)
    for step in range(UPDATES):
        batch = make_batch(learner.args, rows=16, seed=step, dtype=F64)
        learner.train(batch, step + 1, 0)
        plain.update(batch, used[step])
    networks = [
        (learner.critic, plain.critics), (learner.target_critic, plain.target_critics),
        (learner.agent, plain.actors), (learner.target_agent, plain.target_actors),
    ]  # fmt: skip
    for stacked, single in networks:
        for ours, theirs in zip(members(stacked, len(single)), single, strict=True):
            for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
                th.testing.assert_close(p, q, rtol=0, atol=1e-8)
