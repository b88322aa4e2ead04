"""Recurrent agents offline: whole episodes, and windows whose state is warmed up first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th

from components.offline_buffer import OfflineBuffer
from components.scheme import build_scheme
from learners.losses import transition_mask
from tests.learners.learner_tester import ACTION, F64, N_AGENTS, OBS, env_info, make_batch, make_learner

MEMORY = [{"mac": "basic_mac", "agent": "rnn", "obs_agent_id": True}, {"mac": "non_shared_mac", "agent": "rnn_ns"}]
LENGTHS = (3, 6, 4, 1)
LOSSES = [("spacql", name, memory) for name in ("critic", "actor") for memory in MEMORY]
LOSSES += [(alg, name, MEMORY[1]) for alg in ("implicit_q", "omiga") for name in ("value", "q", "actor")]
LOSSES += [("optdice", "actor", MEMORY[1])]
LOSSES += [("comadice", name, {}) for name in ("value", "actor")]  # as configured: without memory


def make_buffer(args: Any, window: int | None, burn_in: int, discrete: bool) -> OfflineBuffer:
    """Episodes of random observations, whose first value names the row, and random actions."""
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(np.asarray(LENGTHS) + 1)])
    n_rows = int(offsets[-1])
    obs = rng.normal(size=(n_rows, N_AGENTS, OBS)).astype(np.float32)
    obs[:, 0, 0] = np.arange(n_rows) / 10
    arrays = {
        "obs": obs, "reward": rng.normal(size=(n_rows, N_AGENTS)).astype(np.float32),
        "terminated": np.zeros(n_rows, np.uint8),
        "actions": rng.integers(0, 2, (n_rows, N_AGENTS, 1)) if discrete
        else rng.uniform(-1, 1, (n_rows, N_AGENTS, 2)).astype(np.float32),
    }  # fmt: skip
    known = np.ones(len(LENGTHS), bool)
    parts = build_scheme(env_info(args), args)
    extras = ("prev_actions_onehot", "init_obs", "init_state") if window else ()
    keys: dict[str, Any] = {"window": window, "burn_in": burn_in, "reward_scalarisation": "mean", "extras": extras}
    return OfflineBuffer(arrays, offsets, known, *parts, **keys, seed=0)


def rows_of(batch: Any) -> th.Tensor:
    return (batch["obs"][..., 0, 0] * 10).round().long()  # (B, T)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("memory", MEMORY, ids=lambda keys: keys["agent"])
@pytest.mark.parametrize("window", [1, 3])
def test_a_burn_in_as_long_as_the_episode_is_the_whole_episode(window: int, memory: Any, discrete: bool) -> None:
    """Outputs on the rows that are learned from, and on those that their targets look at."""
    learner = make_learner("bc", discrete=discrete, obs_last_action=True, **memory)
    whole = make_buffer(learner.args, None, 0, discrete).sample(40)
    with th.no_grad():
        expected = {}
        for row, real, out in zip(rows_of(whole), whole["filled"], learner.mac.forward_all(whole), strict=True):
            last = int(real.sum()) + int(real.sum() < whole.max_seq_length)  # the final row of a cut episode
            expected |= {int(r): o for r, o in zip(row[:last], out, strict=False)}
        batch = make_buffer(learner.args, window, max(LENGTHS), discrete).sample(200)
        outputs = learner.mac.forward_all(batch)
    learned = batch["learned"].squeeze(-1) > 0
    seen = learned | th.cat([th.zeros_like(learned[:, :1]), learned[:, :-1]], dim=1)  # and the rows after them
    rows = rows_of(batch)[seen]
    assert set(rows.tolist()) == set(expected) == set(range(sum(LENGTHS) + len(LENGTHS)))
    reference = th.stack([expected[int(row)] for row in rows])
    th.testing.assert_close(outputs[seen], reference, rtol=0, atol=1e-6)
    # and a state that starts at the window is another one
    cold = make_buffer(learner.args, window, 1, discrete).sample(200)
    late = (cold["learned"].squeeze(-1) > 0) & (rows_of(cold) == 9)  # the sixth row of the second episode
    assert late.any() and (learner.mac.forward_all(cold)[late] - expected[9]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("alg", "name", "memory", "discrete"),
    [(*loss, kind) for loss in LOSSES for kind in (False, True)]
    + [("bcq", name, {"agent": "bcq_rnn_ns"}, True) for name in ("behaviour", "q")],
)
def test_padded_steps_have_no_influence(alg: str, name: str, memory: Any, discrete: bool) -> None:
    """Episodes of unequal length in one batch give the mean over their steps, whatever fills the padding."""
    learner = make_learner(alg, dtype=F64, discrete=discrete, **memory)
    batch = make_batch(learner.args, steps=5, dtype=F64)
    batch["filled"][0, 2:] = 0  # cut after two steps: row 2 holds the final state
    batch["terminated"][1, 0] = 1
    batch["filled"][1, 2:] = 0
    noise = {k: v.to(F64) if v.is_floating_point() else v for k, v in learner.noise(name, batch).items()}
    loss, _ = learner(name, batch, noise)
    steps = transition_mask(batch).sum((1, 2))
    assert steps.tolist() == [2, 1, 4, 4, 4, 4]
    alone = [learner(name, batch[b : b + 1], {k: v[b : b + 1] for k, v in noise.items()})[0] for b in range(6)]
    th.testing.assert_close(loss, (th.stack(alone) * steps).sum() / steps.sum(), rtol=1e-10, atol=1e-12)
    for key in ("obs", "state", "reward"):
        batch[key][0, 3:], batch[key][1, 2:] = 7.0, -7.0
    batch["actions_onehot"][0, 3:] = 0
    th.testing.assert_close(learner(name, batch, noise)[0], loss, rtol=0, atol=0)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("window", [None, 2])
def test_learns_from_a_dataset(window: int | None, discrete: bool) -> None:
    learner = make_learner("spacql", discrete=discrete, obs_last_action=True, **MEMORY[0])
    buffer = make_buffer(learner.args, window, 2 if window else 0, discrete)
    for step in range(30):
        learner.train(buffer.sample(8), step + 1, 0)
    learner.check_finite(30)
    first, *_, last = [value for key, value, _ in learner.logger.stats if key == "critic_loss"]
    assert last < first


@pytest.mark.parametrize("agent", ["rnn", "mlp"])
def test_warm_up_rows_are_not_learned_from(agent: str) -> None:
    """The loss is that of the learned rows, and its gradient through what came before is none."""
    learner = make_learner("bc", dtype=F64, discrete=False, mac="basic_mac", agent=agent)
    batch = make_batch(learner.args, steps=6, dtype=F64)
    outputs = learner.mac.forward_all(batch)[:, 3:5]
    actions, has = batch["actions_onehot"][:, 3:5], batch["avail_actions"][:, 3:5]
    cost = -learner.imitation.policy.log_prob(outputs, actions, has) / ACTION
    batch.scheme["learned"] = {"vshape": (1,)}
    batch.data.transition_data["learned"] = th.tensor([0, 0, 0, 1, 1, 0], dtype=F64).view(1, 6, 1).repeat(6, 1, 1)
    batch["obs"].requires_grad_()
    loss, _ = learner("bc", batch, {})
    th.testing.assert_close(loss, cost.mean())
    (gradient,) = th.autograd.grad(loss, batch["obs"])
    assert not gradient[:, :3].any() and gradient[:, 3:5].abs().sum((-2, -1)).min() > 0


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize(("alg", "names"), [("bc", ("bc",)), ("comadice", ("value", "actor"))])
def test_a_burn_in_changes_no_loss_of_networks_without_memory(alg: str, names: tuple[str, ...], discrete: bool) -> None:
    """Nor a gradient: the same transitions, with warm-up rows before and padding behind some of them."""
    learner = make_learner(alg, discrete=discrete)
    plain, warmed = (make_buffer(learner.args, 1, burn_in, discrete).sample(40) for burn_in in (0, 3))
    assert warmed.max_seq_length == plain.max_seq_length + 3
    specs = {spec.name: spec for spec in learner.LOSSES}
    for name in names:
        results = []
        for batch in (plain, warmed):
            loss, _ = learner(name, batch, {})
            results.append([loss, *th.autograd.grad(loss, learner.parameters_of(specs[name]))])
        for left, right in zip(*results, strict=True):
            th.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)
