"""The loss of IQL, VDN and QMIX against plain loops, and under the traps that stock sets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch as th
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, vmap

from components.episode_buffer import EpisodeBatch
from tests.learners.learner_tester import ACTION, F64, N_AGENTS, make_batch, make_learner

ALGS = ("iql", "vdn", "qmix", "iql_ns", "vdn_ns", "qmix_ns")
ROWS, STEPS = 5, 6


def make(alg: str, **updates: Any) -> Any:
    """A float64 learner whose targets differ from its networks."""
    learner = make_learner(alg, dtype=F64, **updates)
    th.manual_seed(3)
    with th.no_grad():
        for parameter in learner.parameters():
            parameter.add_(0.3 * th.randn_like(parameter))
    return learner


def awkward_batch(learner: Any) -> EpisodeBatch:
    """Episodes that go on, end in a terminal, are cut and padded; actions that are not available; random rewards."""
    batch = make_batch(learner.args, rows=ROWS, steps=STEPS, dtype=F64)
    generator = th.Generator().manual_seed(4)
    n_rewards = 1 if learner.args.common_reward else N_AGENTS
    batch.data.transition_data["reward"] = th.randn(ROWS, STEPS, n_rewards, generator=generator, dtype=F64)
    free = th.randint(ACTION, (ROWS, STEPS, N_AGENTS), generator=generator)  # one action of each agent stays available
    some = th.rand(ROWS, STEPS, N_AGENTS, ACTION, generator=generator) < 0.5
    batch["avail_actions"][:] = (some | F.one_hot(free, ACTION).bool()).int()
    batch["terminated"][1, 2] = 1
    batch["filled"][1, 4:] = 0  # row 3 holds the terminal state
    batch["terminated"][2, 4] = 1
    batch["filled"][3, 3:] = 0  # cut after three steps: the buffer leaves row 3 out
    for row, start in ((1, 4), (3, 4)):
        for key in ("obs", "state", "reward", "avail_actions"):
            batch[key][row, start:] = 0
    return batch


def outputs(mac: Any, batch: EpisodeBatch, row: int) -> list[Tensor]:
    """One episode's values step by step, (N, A) each."""
    mac.init_hidden(1)
    return [mac.forward(batch[row : row + 1], t)[0] for t in range(STEPS)]


def mix(learner: Any, prefix: str, qs: list[Tensor], state: Tensor) -> list[Tensor]:
    """The values that errors are taken of: the agents' own, their sum, or QMIX's formula written out."""
    if learner.mixer is None:
        return qs
    if learner.args.mixer == "vdn":
        return [qs[0] + qs[1] + qs[2]]
    p = {k.removeprefix(prefix): v for k, v in learner.named_parameters() if k.startswith(prefix)}

    def layers(name: str) -> Tensor:
        hidden = F.relu(p[f"{name}.0.weight"] @ state + p[f"{name}.0.bias"])
        return p[f"{name}.2.weight"] @ hidden + p[f"{name}.2.bias"]

    width = learner.args.mixing_embed_dim
    w_1 = layers("hyper_w_1").abs()
    hidden = p["hyper_b_1.weight"] @ state + p["hyper_b_1.bias"]
    for i, q in enumerate(qs):
        hidden = hidden + q * w_1[i * width : (i + 1) * width]
    hidden = th.where(hidden > 0, hidden, hidden.exp() - 1)
    return [layers("hyper_w_final").abs() @ hidden + layers("V")[0]]


def plain_loss(learner: Any, batch: EpisodeBatch) -> Tensor:
    """The loss by loops over episodes, steps and agents, stopping each episode where it ends."""
    args, losses = learner.args, []
    for row in range(ROWS):
        online, target = outputs(learner.mac, batch, row), outputs(learner.target_mac, batch, row)
        for t in range(STEPS - 1):
            if not batch["filled"][row, t]:
                break
            taken = [online[t][i, batch["actions"][row, t, i, 0]] for i in range(N_AGENTS)]
            following = []
            for i in range(N_AGENTS):
                allowed = [a for a in range(ACTION) if batch["avail_actions"][row, t + 1, i, a]]
                judge = online if args.double_q else target
                best = max(allowed, key=judge[t + 1][i].tolist().__getitem__, default=0)
                following.append(target[t + 1][i, best])
            now = mix(learner, "mixer.", taken, batch["state"][row, t])
            then = mix(learner, "target_mixer.", following, batch["state"][row, t + 1])
            rewards = batch["reward"][row, t].tolist() * (1 if not args.common_reward else len(now))
            over = bool(batch["terminated"][row, t])
            errors = []
            for m, (value, reward, bootstrap) in enumerate(zip(now, rewards, then, strict=True)):
                if learner.ret_ms is not None:
                    bootstrap = bootstrap * learner.ret_ms.var[m].sqrt() + learner.ret_ms.mean[m]
                if learner.rew_ms is not None:
                    at = m if not args.common_reward else 0
                    reward = (reward - learner.rew_ms.mean[at]) / learner.rew_ms.var[at].sqrt()
                y = reward + (0.0 if over else args.gamma * bootstrap.detach())
                if learner.ret_ms is not None:
                    y = (y - learner.ret_ms.mean[m]) / learner.ret_ms.var[m].sqrt()
                errors.append((value - y) ** 2)
            losses.append(sum(errors) / len(errors))
            if over:
                break
    assert 1 < len(losses) < ROWS * (STEPS - 1)  # something is masked, something is left
    return th.stack(losses).mean()


SETTINGS = [
    {},
    {"double_q": False},
    {"use_rnn": False, "obs_last_action": True},
    {"standardise_rewards": True, "standardise_returns": True},
]


@pytest.mark.parametrize("updates", SETTINGS, ids=str)
@pytest.mark.parametrize("alg", [*ALGS, "iql_individual"])
def test_loss_equals_plain_loops(alg: str, updates: dict[str, Any]) -> None:
    if alg == "iql_individual":
        alg, updates = "iql", {**updates, "common_reward": False}
    learner = make(alg, **{"standardise_rewards": False, **updates})
    batch = awkward_batch(learner)
    for k, stats in enumerate(s for s in (learner.rew_ms, learner.ret_ms) if s is not None):
        stats.mean.add_(0.7 + k + th.arange(len(stats.mean)))
        stats.var.mul_(2.0 + k + th.arange(len(stats.mean)))
    loss, _ = learner("q", batch, {})
    expected = plain_loss(learner, batch)
    th.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-10)
    trained = learner.parameters_of(learner.LOSSES[0])
    for a, b in zip(th.autograd.grad(loss, trained), th.autograd.grad(expected, trained), strict=True):
        th.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_double_q_takes_the_online_choice() -> None:
    """Where online and target values disagree on the best action, plain Q-learning takes the larger target value."""
    double, plain = make("iql", standardise_rewards=False), make("iql", double_q=False, standardise_rewards=False)
    batch = awkward_batch(double)
    online = double.unroll(double.mac, batch, slice(1, None))
    high, low = plain.target_value(batch, online), double.target_value(batch, online)
    assert (high >= low).all() and (high > low).any()


@pytest.mark.parametrize("alg", ALGS)
def test_masked_rows_and_unavailable_actions_change_nothing(alg: str) -> None:
    learner = make(alg)
    batch = awkward_batch(learner)
    before = learner.gradients(learner.LOSSES[0], batch, True)
    for row, start in ((1, 4), (2, 5), (3, 4)):  # padding, and what the terminal transition must not bootstrap from
        for key in ("obs", "state", "reward"):
            batch[key][row, start:] = 50.0
        batch["avail_actions"][row, start:] = 1
    batch["reward"][1, 3:] = batch["reward"][2, 5:] = 50.0  # behind a terminal
    batch["reward"][:, -1] = 50.0  # no transition starts in the last row
    after = learner.gradients(learner.LOSSES[0], batch, True)
    th.testing.assert_close(before, after, rtol=0, atol=0)
    batch["reward"][0, 0] += 1.0
    assert learner.gradients(learner.LOSSES[0], batch, True)[0] != before[0]


@pytest.mark.parametrize("alg", ("iql", "qmix"))
def test_rows_that_warm_up_do_not_count(alg: str) -> None:
    learner = make(alg)
    batch = awkward_batch(learner)
    batch.scheme["learned"] = {"vshape": (1,), "dtype": th.float32}
    batch.data.transition_data["learned"] = learned = th.ones(ROWS, STEPS, 1)
    learned[:, :2] = 0
    before, _ = learner("q", batch, {})
    batch["reward"][:, :2] += 9.0
    assert learner("q", batch, {})[0] == before
    batch["reward"][:, 2] += 9.0
    assert learner("q", batch, {})[0] != before


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("alg", ALGS)
def test_loss_is_pure(alg: str) -> None:
    """Two stacked parameter sets under functional_call and vmap equal two calls, gradients included."""
    one, other = make(alg), make(alg, seed=8)
    batch = awkward_batch(one)
    sets = [{k: v.detach().clone() for k, v in x.named_parameters()} for x in (one, other)]
    stacked = {k: th.stack([x[k] for x in sets]).requires_grad_() for k in sets[0]}
    lanes, stats = vmap(lambda p: functional_call(one, p, ("q", batch, {})))(stacked)
    trained = [k for k in stacked if not k.startswith("target_")]
    together = th.autograd.grad(lanes.sum(), [stacked[k] for k in trained])
    assert lanes[0] != lanes[1]
    for lane, parameters in enumerate(sets):
        loss, alone = functional_call(one, {k: v.requires_grad_() for k, v in parameters.items()}, ("q", batch, {}))
        th.testing.assert_close(lanes[lane], loss)
        for key, value in alone.items():
            th.testing.assert_close(stats[key][lane], value)
        for a, b in zip(together, th.autograd.grad(loss, [parameters[k] for k in trained]), strict=True):
            th.testing.assert_close(a[lane], b)


@pytest.mark.parametrize("chunk", [1, 2])
def test_chunks_add_up(chunk: int) -> None:
    learner = make("qmix", standardise_returns=True)
    batch = awkward_batch(learner)
    whole = learner.gradients(learner.LOSSES[0], batch, True)
    learner.args.loss_chunk = chunk
    th.testing.assert_close(whole, learner.gradients(learner.LOSSES[0], batch, True), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("last_action", [False, True])
def test_windows_are_as_good_as_episodes(last_action: bool) -> None:
    """A feed-forward agent's loss on every one-step window of an episode equals that on the episode."""
    learner = make("vdn", use_rnn=False, obs_last_action=last_action, standardise_rewards=False)
    batch = make_batch(learner.args, rows=2, steps=5, dtype=F64)
    batch.scheme["prev_actions_onehot"] = batch.scheme["actions_onehot"]
    before = F.pad(batch["actions_onehot"][:, :-1], (0, 0, 0, 0, 1, 0))
    batch.data.transition_data["prev_actions_onehot"] = before
    cut = [batch[:, t : t + 2].data.transition_data for t in range(4)]
    data = SimpleNamespace(transition_data={k: th.cat([c[k] for c in cut]) for k in cut[0]}, episode_data={})
    windows = EpisodeBatch(batch.scheme, batch.groups, 8, 2, data=data)
    th.testing.assert_close(learner("q", windows, {})[0], learner("q", batch, {})[0])


# -- the traps -------------------------------------------------------------------------------------------------------


def test_trap_6_reward_statistics_leave_out_padding() -> None:
    """All rewards -10, 8 of 10 steps padded: the mean is -10."""
    learner = make_learner("qmix", standardise_rewards=True, standardise_returns=True)
    batch = make_batch(learner.args, steps=11)
    batch["reward"][:], batch["reward"][:, 2:] = -10, 0
    batch["filled"][:, 2:] = 0
    learner.train(batch, 1, 0)
    assert learner.rew_ms.mean.item() == pytest.approx(-10, abs=1e-3)
    for stats in (learner.rew_ms, learner.ret_ms):
        assert stats.count.item() == pytest.approx(12, abs=1e-3)


def test_trap_8_the_team_reward_is_each_agents() -> None:
    """N errors on one reward are those of N equal rewards; their mean, not their sum, is the loss."""
    team = make("iql", standardise_rewards=False)
    own = make("iql", standardise_rewards=False, common_reward=False)
    batch = awkward_batch(team)
    loss, stats = team("q", batch, {})
    batch.data.transition_data["reward"] = batch["reward"].expand(-1, -1, N_AGENTS)
    th.testing.assert_close(own("q", batch, {}), (loss, stats))
