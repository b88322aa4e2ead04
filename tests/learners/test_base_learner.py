"""What the base learner does with SPaCQL's losses: purity, chunks, masks, training, logging, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch as th
from torch import Tensor, nn
from torch.func import functional_call, vmap

from learners.losses import NOW, available, masked_mean, transition_mask
from learners.optimisation import clip_gradients, is_stacked, mean_norm
from tests.learners.learner_tester import F64, make_batch, make_learner, setting, train
from tests.no_device_reads import NoDeviceReads
from utils.errors import CheckpointError, ConfigError, TrainingError

# -- purity, chunks, masks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["policy", "logsumexp"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(th.float32, 1e-5), (F64, 1e-12)])
@pytest.mark.parametrize("name", ["critic", "actor"])
def test_losses_are_pure(name: str, dtype: th.dtype, tolerance: float, kind: str) -> None:
    """Two stacked parameter sets under functional_call and vmap equal two calls, gradients included."""
    learner, other = (make_learner(dtype=dtype, seed=s, cql_penalty=kind) for s in (1, 2))
    batch = make_batch(learner.args, dtype=dtype)
    noise = {k: v.to(dtype) if v.is_floating_point() else v for k, v in learner.noise(name, batch).items()}
    module = {"critic": "critic", "actor": "agent"}[name]
    sets = [{k: v.detach().clone() for k, v in one.named_parameters()} for one in (learner, other)]
    stacked = {k: th.stack([one[k] for one in sets]).requires_grad_() for k in sets[0]}
    lanes, stats = vmap(lambda p: functional_call(learner, p, (name, batch, noise)))(stacked)
    trained = [k for k in stacked if k.startswith(f"{module}.")]
    together = th.autograd.grad(lanes.sum(), [stacked[k] for k in trained])
    for lane, parameters in enumerate(sets):
        for value in parameters.values():
            value.requires_grad_()
        loss, alone = functional_call(learner, parameters, (name, batch, noise))
        th.testing.assert_close(lanes[lane], loss, rtol=tolerance, atol=tolerance)
        for key, value in alone.items():
            th.testing.assert_close(stats[key][lane], value, rtol=100 * tolerance, atol=100 * tolerance)
        for a, b in zip(together, th.autograd.grad(loss, [parameters[k] for k in trained]), strict=True):
            th.testing.assert_close(a[lane], b, rtol=100 * tolerance, atol=100 * tolerance)


@pytest.mark.parametrize("kind", ["policy", "logsumexp"])
@pytest.mark.parametrize("discrete", [False, True])
def test_bfloat16_critics_give_nearly_the_same_gradients(discrete: bool, kind: str) -> None:
    """Also where values are far from 0 and far from where bfloat16 is fine."""
    keys = {"cql_penalty": kind, "hidden_dim": 32, "final_init": 0.3, "discrete": discrete}
    exact, rounded = (make_learner(critic_dtype=dtype, **keys) for dtype in ("float32", "bfloat16"))
    batch = make_batch(exact.args, rows=64)
    for learner in (exact, rounded):
        learner.critic.fc3.bias.data.add_(36.0)
    for spec in exact.LOSSES:
        noise = exact.noise(spec.name, batch)
        both = []
        for learner in (exact, rounded):
            learner.noise = lambda name, _, noise=noise: noise
            both.append(learner.gradients(spec, batch, False)[1])
            del learner.noise
        apart = clip_gradients([a - b for a, b in zip(*both, strict=True)], 1e9, False)
        assert 0 < apart / clip_gradients(both[0], 1e9, False) < 0.05
    train(rounded, 0, 10)
    rounded.check_finite(10)


@pytest.mark.parametrize("name", ["critic", "actor"])
@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_chunks_add_up(name: str, chunk: int) -> None:
    """Gradients, loss and statistics over chunks equal those of the whole batch, padded rows included."""
    learner, batch, noise = setting(steps=4)
    batch["filled"][0, 2:] = 0
    batch["filled"][3, 1:] = 0
    learner.noise = lambda *_: noise if name == "critic" else {}
    index = [spec.name for spec in learner.LOSSES].index(name)
    whole = learner.gradients(learner.LOSSES[index], batch, True)
    learner.args.loss_chunk = chunk
    parts = learner.gradients(learner.LOSSES[index], batch, True)
    th.testing.assert_close(whole, parts, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["critic", "actor"])
def test_padded_rows_have_no_influence(name: str) -> None:
    learner, batch, noise = setting(steps=4)
    batch["terminated"][0, 0] = 1  # row 1 on lie behind a terminal
    batch["filled"][0, 2:] = 0
    batch["filled"][1, 1:] = 0  # cut by a time limit after one step: the buffer leaves its final row 1 unfilled
    learner.noise = lambda *_: noise if name == "critic" else {}
    index = [spec.name for spec in learner.LOSSES].index(name)
    before = learner.gradients(learner.LOSSES[index], batch, True)
    assert transition_mask(batch)[:2, :, 0].tolist() == [[1, 0, 0], [1, 0, 0]]
    for key in ("obs", "state", "actions", "actions_onehot", "reward"):
        batch[key][:2, 2:] = 7.0  # row 1 holds the final state, which the first transition bootstraps from
    after = learner.gradients(learner.LOSSES[index], batch, True)
    th.testing.assert_close(before, after, rtol=0, atol=0)


def test_mean_over_no_valid_row_is_zero() -> None:
    assert masked_mean(th.ones(3, 4), th.zeros(4)).tolist() == [0, 0, 0]


# -- training --------------------------------------------------------------------------------------------------------


def test_intervals_and_polyak() -> None:
    learner = make_learner(actor_update_interval=3, target_update_interval=2, tau=0.25)
    start = {k: v.clone() for k, v in learner.state_dict().items()}
    train(learner, 0, 1)
    one = {k: v.clone() for k, v in learner.state_dict().items()}
    assert not th.equal(one["critic.fc2.weight"], start["critic.fc2.weight"])
    assert th.equal(one["agent.fc2.weight"], start["agent.fc2.weight"])
    assert th.equal(one["target_critic.fc2.weight"], start["target_critic.fc2.weight"])
    train(learner, 1, 2)
    moved = th.lerp(start["target_critic.fc2.weight"], learner.critic.fc2.weight.detach(), 0.25)
    th.testing.assert_close(learner.target_critic.fc2.weight, moved)
    train(learner, 2, 3)
    assert not th.equal(learner.agent.fc2.weight, start["agent.fc2.weight"])
    assert all(not p.requires_grad for n, p in learner.named_parameters() if n.startswith("target_"))


def test_how_gradients_lie_in_memory_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, other = make_learner(), make_learner()
    gradients = other.gradients

    def reordered(*rest: Any) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
        loss, found, stats = gradients(*rest)
        return loss, [g.transpose(0, -1).contiguous().transpose(0, -1) for g in found], stats

    monkeypatch.setattr(other, "gradients", reordered)
    for learner in (plain, other):
        train(learner, 0, 3)
    for key, value in plain.state_dict().items():
        th.testing.assert_close(other.state_dict()[key], value)


def test_each_policy_is_clipped_alone() -> None:
    learner = make_learner()
    assert is_stacked(learner.agent) and not is_stacked(nn.Sequential(learner.agent, nn.Linear(2, 2)))
    gradients = [10.0 * th.randn_like(p) for p in learner.agent.parameters()]
    gradients = [g * th.tensor([1.0, 1e-4, 3.0]).view(-1, *[1] * (g.dim() - 1)) for g in gradients]
    small = [g[1].clone() for g in gradients]
    norms = clip_gradients(gradients, 1.0, by_member=True)
    after = th.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
    th.testing.assert_close(after[[0, 2]], th.ones(2), rtol=1e-4, atol=1e-4)
    assert norms.shape == (3,) and all(th.equal(g[1], s) for g, s in zip(gradients, small, strict=True))


@pytest.mark.parametrize("by_member", [False, True])
def test_without_a_limit_gradients_stay_as_they_are(by_member: bool) -> None:
    gradients = [10.0 * th.randn_like(p) for p in make_learner().agent.parameters()]
    before = [g.clone() for g in gradients]
    norms = clip_gradients(gradients, None, by_member)
    assert all(th.equal(g, b) for g, b in zip(gradients, before, strict=True))
    th.testing.assert_close(norms, clip_gradients(before, 1.0, by_member))


@pytest.mark.parametrize("kind", ["policy", "logsumexp"])
def test_nothing_is_read_off_the_device_in_an_update(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Every way from a tensor to the host raises between two logs."""
    learner = make_learner(learner_log_interval=10**6, loss_chunk=4, cql_penalty=kind)
    train(learner, 0, 5)
    batches = [make_batch(learner.args, seed=s) for s in range(10)]

    def refuse(name: str) -> Callable[..., None]:
        def read(*_: Any, **__: Any) -> None:
            raise AssertionError(f"Tensor.{name} reads the device")

        return read

    for name in ("item", "cpu", "numpy", "tolist", "__bool__", "__int__", "__float__", "__index__"):
        monkeypatch.setattr(Tensor, name, refuse(name))
    with NoDeviceReads():
        for step, batch in enumerate(batches):
            learner.train(batch, step + 6, 0)


def test_a_non_finite_loss_stops_training_by_name() -> None:
    learner = make_learner(learner_log_interval=4)
    train(learner, 0, 2)
    learner.check_finite(2)
    batch = make_batch(learner.args)
    batch["reward"][0] = th.inf
    learner.train(batch, 3, 0)
    with pytest.raises(TrainingError, match="the critic loss .* at update 3 "):
        learner.check_finite(3)
    with pytest.raises(TrainingError, match="update 3"):
        train(learner, 3, 12)


def test_log_names_every_quantity_once_an_interval() -> None:
    learner = make_learner(learner_log_interval=10, actor_update_interval=5)
    train(learner, 0, 12)
    names = [key for key, _, _ in learner.logger.stats]
    expected = {"critic_loss", "critic_grad_norm", "actor_loss", "actor_grad_norm", "q_data", "q_policy", "penalty",
                "td_error_abs", "target", "u_target", "k_eff", "actor_saturation", "w_1", "w_2", "w_3", "w_max",
                "u_1", "u_2", "u_3"}  # fmt: skip
    assert len(names) == len(set(names)) and set(names) == expected
    assert all(isinstance(value, float) for _, value, _ in learner.logger.stats)
    values = {key: value for key, value, _ in learner.logger.stats}
    assert sum(values[f"w_{k}"] for k in (1, 2, 3)) == pytest.approx(1.0, abs=1e-5)


def test_policies_learn_the_best_action() -> None:
    """The reward is -|a|^2, no future: values and policies learned from random actions find a = 0."""
    learner = make_learner(
        gamma=0.0, alpha_cql=0.1, hidden_dim=32, actor_update_interval=1, target_update_interval=1, final_init=0.5
    )

    batch = make_batch(learner.args, rows=200, seed=10**6)

    def distance() -> float:
        with th.no_grad():
            outputs = learner.outputs(learner.mac, batch, NOW)
            actions = learner.policy.support(outputs, available(batch, NOW))
        return float(actions.square().mean())

    before = distance()
    for step in range(250):
        learner.train(make_batch(learner.args, rows=64, seed=step), step + 1, 0)
    assert distance() < 0.3 * before
    assert learner.logger.stats[-1][0] and {k: v for k, v, _ in learner.logger.stats}["td_error_abs"] < 1.0


@pytest.mark.parametrize("mac", [("basic_mac", "mlp"), ("non_shared_mac", "mlp_ns"), ("basic_mac", "rnn")])
def test_whole_episodes_and_other_controllers(mac: tuple[str, str]) -> None:
    learner = make_learner(
        mac=mac[0],
        agent=mac[1],
        obs_agent_id=mac[0] == "basic_mac",
        obs_last_action=True,
        use_rnn=True,
        input_norm="none",
    )
    for step in range(5):
        learner.train(make_batch(learner.args, steps=6, seed=step), step + 1, 0)
    learner.check_finite(5)


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("updates", "words"),
    [
        ({"partial_replacement": "half"}, "partial_replacement=half: choose one of adaptive, full, average_single"),
        ({"cql_penalty": "none"}, "cql_penalty=none: choose one of logsumexp, logsumexp_policies, policy"),
        ({"critic_dtype": "float16"}, "critic_dtype=float16: choose one of float32, bfloat16"),
        ({"ensemble_size": 1}, "set ensemble_size to 2 or more"),
        ({"common_reward": False}, "set common_reward=True"),
        ({"critic_lr": 0}, "critic_lr=0: this must be a number above 0"),
    ],
)
def test_bad_keys_are_one_clear_sentence(updates: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_learner(**updates)


def test_checkpoints_that_do_not_fit(tmp_path: Any) -> None:
    learner = make_learner()
    with pytest.raises(CheckpointError, match="does not fit this run"):
        learner.load_models(str(tmp_path))
    make_learner(hidden_dim=16).save_models(str(tmp_path))
    with pytest.raises(CheckpointError, match="does not fit this run"):
        learner.load_models(str(tmp_path))
    with pytest.raises(CheckpointError, match="training state does not fit"):
        learner.load_training_state({"targets": {}})


@pytest.mark.parametrize(
    ("norms", "mean"), [([0.0, 3.0, 0.0], 3.0), ([2.0, 4.0], 3.0), (5.0, 5.0), ([0.0, 0.0], 0.0), (0.0, 0.0)]
)
def test_the_logged_norm_is_that_of_the_members_that_move(norms: float | list[float], mean: float) -> None:
    """AlberDICE's losses are of one agent each, whose norm it is."""
    assert float(mean_norm(th.tensor(norms))) == mean
