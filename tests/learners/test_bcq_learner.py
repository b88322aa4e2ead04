"""BCQ's losses against plain loops; how it changes decoded actions; what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.losses import NEXT, NOW
from modules.agents.bcq_ns_agent import ROWS_AT_ONCE
from tests.learners.learner_tester import F64, N_AGENTS, OBS, make_batch, make_learner
from tests.learners.test_own_bounds import OWN, padded
from utils.errors import ConfigError


def case(discrete: bool, **updates: Any) -> tuple[Any, EpisodeBatch, dict[str, Tensor]]:
    """A float64 learner whose targets differ from its networks; one episode ends, one is cut."""
    learner = make_learner("bcq", dtype=F64, discrete=discrete, **updates)
    th.manual_seed(3)
    for parameter in (*learner.target_agent.parameters(), *learner.target_mixer.parameters()):
        parameter.data.add_(0.1 * th.randn_like(parameter))
    batch = make_batch(learner.args, steps=3, dtype=F64)
    batch["terminated"][1, 0] = 1
    batch["filled"][2, 1:] = 0
    return learner, batch, {key: value.double() for key, value in learner.noise("q", batch).items()}


def mixed(mixer: Any, values: list[Tensor], state: Tensor) -> Tensor:
    """sum_i k_i(s) q_i + b(s) of one row."""
    weights, bias = mixer.hyper_w_final(state).abs(), mixer.hyper_b_final(state)
    return (weights * th.stack(values)).sum() + bias.squeeze()


@pytest.mark.parametrize("discrete", [False, True])
def test_the_critics_loss_row_by_row(discrete: bool) -> None:
    learner, batch, noise = case(discrete, behaviour_threshold=0.99, target_candidates=4)
    agent, target, args = learner.agent, learner.target_agent, learner.args
    losses = []
    for b in range(6):
        for t in range(2):
            if (b, t) in ((1, 1), (2, 1)):
                continue
            here, there = (agent.see(batch["obs"][b, step].unsqueeze(0)) for step in (t, t + 1))  # (N, 1, O)
            if discrete:
                probability = agent.behaviour[0](there).softmax(-1).squeeze(1)  # (N, A)
                can = probability >= 0.99 * probability.amax(-1, keepdim=True)
                best = agent.q[0](there).squeeze(1).masked_fill(~can, -1e9).argmax(-1)
                after = [target.q[0](there)[i, 0, best[i]] for i in range(N_AGENTS)]
                logged = batch["actions"][b, t, :, 0]
                taken = [[agent.q[0](here)[i, 0, logged[i]] for i in range(N_AGENTS)]]
            else:
                low, high = th.tensor([-1.0, -2.0], dtype=F64), th.tensor([1.0, 3.0], dtype=F64)
                own = agent.owned(None)
                unit = (2 * (batch["actions"][b, t] - low) / (high - low) - 1)[:, None, None]  # (N, 1, 1, A)
                taken = [list(agent.values(j, here, unit).flatten()) for j in range(2)]
                after = []
                for i in range(N_AGENTS):
                    values = []
                    for latent in noise["latents"][b, t, :, i]:  # (L,)
                        alike = latent.expand(N_AGENTS, 1, 1, -1)
                        action = target.perturb(there, agent.decode(there, alike, own), own)
                        both = [target.values(j, there, action)[i].item() for j in range(2)]
                        values.append(0.75 * min(both) + 0.25 * max(both))
                    after.append(th.tensor(max(values), dtype=F64))
            states = [learner.normaliser(batch["state"][b, step]) for step in (t, t + 1)]
            future = 0.0 if (b, t) == (1, 0) else float(mixed(learner.target_mixer, after, states[1]))
            y = float(batch["reward"][b, t]) + args.gamma * future
            losses.append(sum((mixed(learner.mixer, values, states[0]).item() - y) ** 2 for values in taken))
    assert learner("q", batch, noise)[0].item() == pytest.approx(sum(losses) / len(losses), rel=1e-9)


def test_behaviour_losses() -> None:
    learner, batch, _ = case(True)
    log_mu = learner.behaviour[0](learner.agent.see(batch["obs"][:, NOW].flatten(0, 1))).log_softmax(-1)  # (N, R, A)
    taken = -log_mu.transpose(0, 1).gather(-1, batch["actions"][:, NOW].flatten(0, 1)).squeeze(-1)  # (R, N)
    valid = [row for row in range(12) if row not in (3, 5)]
    th.testing.assert_close(learner("behaviour", batch, {})[0], taken[valid].mean())
    learner, batch, _ = case(False)
    noise = {key: value.double() for key, value in learner.noise("behaviour", batch).items()}
    agent, seen = learner.agent, learner.agent.see(batch["obs"][:, NOW].flatten(0, 1))  # (N, R, O)
    mean, log_std = agent.encode(seen, learner.logged(batch))
    density = th.distributions.Normal(mean, log_std.exp())
    kl = th.distributions.kl_divergence(density, th.distributions.Normal(0.0, 1.0)).mean(-1)  # (N, R)
    latents = mean + log_std.exp() * noise["latents"].flatten(0, 1)[:, 0].transpose(0, 1)
    decoded = agent.decode(seen, latents.unsqueeze(2), agent.owned(None)).squeeze(2)  # (N, R, A)
    error = (decoded - learner.logged(batch)).square().mean(-1)
    expected = (error + 0.5 * kl).mean(0)[valid].mean()
    th.testing.assert_close(learner("behaviour", batch, noise)[0], expected, rtol=1e-9, atol=0)


def test_changes_are_small_and_inside_the_bounds_and_of_own_dimensions() -> None:
    learner = make_learner("bcq", dtype=F64, discrete=False, **OWN)
    for parameter in learner.agent.parameters():
        parameter.data.mul_(20)
    batch = padded(make_batch(learner.args, rows=50, dtype=F64))
    seen = learner.agent.see(batch["obs"][:, 0])  # (N, R, O)
    own = learner.agent.owned(None)
    decoded = learner.agent.decode(seen, th.randn(2, 50, 7, 4, dtype=F64), own)
    changed = learner.agent.perturb(seen, decoded, own)
    assert (changed - decoded).abs().max() <= 0.05 + 1e-12 and changed.abs().max() <= 1
    assert (changed - decoded).abs().max() > 0.049 and changed.abs().max() == 1
    assert (changed[0, ..., 1] == 0).all() and (learner.logged(batch)[0, ..., 1] == 0).all()
    assert learner.logged(batch).abs().max() <= 1


def test_the_perturbation_climbs_its_own_agents_first_critic() -> None:
    learner, batch, _ = case(False)
    noise = {key: value.double() for key, value in learner.noise("actor", batch).items()}
    seen = learner.agent.see(batch["obs"][:, NOW].flatten(0, 1))
    latents = noise["latents"].flatten(0, 1).permute(2, 0, 1, 3)
    assert latents.abs().max() == 0.5
    own = learner.agent.owned(None)
    value = learner.agent.values(0, seen, learner.agent.perturb(seen, learner.agent.decode(seen, latents, own), own))
    valid = [row for row in range(12) if row not in (3, 5)]
    th.testing.assert_close(learner("actor", batch, noise)[0], -value[:, valid].mean())


@pytest.mark.parametrize("discrete", [False, True])
def test_one_agents_networks_alone_play_its_part(discrete: bool) -> None:
    learner, batch, _ = case(discrete)
    obs = batch["obs"][:, NEXT].flatten(0, 1)  # (R, N, O)
    together = learner.agent(obs.flatten(0, 1), None)[0].view(-1, N_AGENTS, 2)
    for index in range(N_AGENTS):
        alone = learner.agent.alone(index)(obs[:, index], None)[0]
        th.testing.assert_close(alone, together[:, index])


@pytest.mark.parametrize("rows", [1, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 5])
def test_many_observations_are_taken_in_parts(rows: int) -> None:
    agent = make_learner("bcq", dtype=F64).agent
    seen = th.randn(N_AGENTS, rows, OBS, dtype=F64)
    candidates, values = agent.candidates(seen, agent.owned(None))
    chosen = candidates.gather(2, values.argmax(-1)[..., None, None].expand(-1, -1, 1, candidates.shape[-1]))
    th.testing.assert_close(agent.best_candidate(seen, agent.owned(None)).tanh(), chosen.squeeze(2))


@pytest.mark.parametrize(
    ("updates", "sentence"),
    [
        ({"agent": "mlp_ns"}, "^bcq_learner needs agents that hold its networks: set agent=bcq_ns, .*, not mlp_ns$"),
        ({"agent": "rnn_ns"}, "^bcq_learner needs agents .*, or for discrete actions bcq_rnn_ns, .*, not rnn_ns$"),
        (
            {"agent": "bcq_rnn_ns"},
            "^agent=bcq_rnn_ns is for discrete actions, .* no memory: set agent=bcq_ns window=1$",
        ),
        ({"obs_last_action": True}, "set obs_last_action=False obs_agent_id=False$"),
        ({"learner": "bc_learner"}, "^agent=bcq_ns is BCQ's: use --config=bcq$"),
        ({"common_reward": False}, "^mixer=monotone needs one team reward: set common_reward=True$"),
    ],
)
def test_what_it_cannot_handle_is_refused(updates: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_learner("bcq", discrete=False, **updates)
