"""SPaCQL against known answers: by hand, by brute force, and against its own relatives."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch as th
from torch import Tensor, nn
from torch.func import functional_call, vmap

from learners.gradients import clip_gradients, is_stacked, masked_mean, transition_mask
from learners.spacql_learner import SPaCQLLearner, check_config
from tests.learners.learner_tester import N_AGENTS, make_args, make_batch, make_learner, train
from tests.no_device_reads import NoDeviceReads
from utils.errors import CheckpointError, ConfigError, TrainingError

F64 = th.float64


def setting(**updates: Any) -> tuple[Any, Any, dict[str, Tensor]]:
    """A float64 learner whose targets differ from its networks, a batch and draws."""
    steps = updates.pop("steps", 2)
    learner = make_learner(dtype=F64, **updates)
    th.manual_seed(11)
    with th.no_grad():
        for name, parameter in learner.named_parameters():
            if name.startswith("target_"):
                parameter.add_(0.1 * th.randn_like(parameter))
    batch = make_batch(learner.args, steps=steps, dtype=F64)
    draws = {k: v.to(F64) if v.is_floating_point() else v for k, v in learner.draws("critic", batch).items()}
    return learner, batch, draws


def joint_values(critic: nn.Module, state: Tensor, actions: Tensor) -> Tensor:
    return critic(state, actions)  # (E, R)


def policy_actions(learner: Any, batch: Any, draws: dict[str, Tensor]) -> Tensor:
    """The target policies' noisy next actions, network by network, (R, N, A)."""
    low, high = learner.low, learner.high
    agent = learner.target_agent
    columns = []
    for i in range(N_AGENTS):
        x = (batch["obs"][:, 1, i] - agent.normaliser.mean[i]) / agent.normaliser.std[i]
        for layer in (agent.fc1, agent.fc2):
            x = th.relu(x @ layer.weight[i] + layer.bias[i])
        x = th.tanh(x @ agent.fc3.weight[i] + agent.fc3.bias[i])
        columns.append((low + high) / 2 + x * (high - low) / 2)
    noise = draws["noise"][:, 0] * learner.args.target_noise * (high - low) / 2
    return th.maximum(th.minimum(th.stack(columns, dim=1) + noise, high), low)


# -- weights and target ----------------------------------------------------------------------------------------------


def test_weights_sum_to_one_and_shrink_with_uncertainty() -> None:
    learner = make_learner()
    uncertainty = th.rand(50, N_AGENTS) + 0.01
    weights = learner.weights(uncertainty, th.ones(50, dtype=th.bool))
    th.testing.assert_close(weights.sum(-1), th.ones(50))
    more = uncertainty.clone()
    more[:, 1] *= 2
    changed = learner.weights(more, th.ones(50, dtype=th.bool))
    assert (changed[:, 1] < weights[:, 1]).all() and (changed[:, 0] > weights[:, 0]).all()
    by_hand = th.tensor([[1.0, 2.0, 4.0]])  # 1/u = 1, 1/2, 1/4
    expected = th.tensor([[4 / 7, 2 / 7, 1 / 7]])
    th.testing.assert_close(learner.weights(by_hand, th.ones(1, dtype=th.bool)), expected)


def test_weights_survive_perfect_agreement() -> None:
    learner = make_learner()
    weights = learner.weights(th.zeros(2, N_AGENTS), th.ones(2, dtype=th.bool))
    th.testing.assert_close(weights, th.full((2, N_AGENTS), 1 / 3))


class HandMadeCritic(nn.Module):
    """Given values, whatever it is asked: (E, R, M)."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = values

    def subset_replacements(self, *_: Tensor) -> Tensor:
        return self.values


def test_target_of_a_hand_made_ensemble() -> None:
    """Two critics, three agents: u = (sqrt 2, sqrt 8, sqrt 2)/..., worked out on paper."""
    learner, batch, draws = setting(gamma=0.5, ensemble_size=2)
    one = make_batch(learner.args, rows=1, dtype=F64)
    one["reward"][:] = 1.0
    # Online opinions differ by 2, 4, 2: deviations in the proportion 1 : 2 : 1, so w = (2, 1, 2)/5.
    learner.critic = HandMadeCritic(th.tensor([[[1.0, 0.0, 5.0]], [[3.0, 4.0, 7.0]]], dtype=F64))
    # Minima over the targets: 10, 20, -5.
    learner.target_critic = HandMadeCritic(th.tensor([[[10.0, 30.0, 0.0]], [[12.0, 20.0, -5.0]]], dtype=F64))
    target, stats = learner.target_value(one, {k: v[:1] for k, v in draws.items()})
    expected_w = th.tensor([[0.4, 0.2, 0.4]], dtype=F64)
    th.testing.assert_close(stats["w"], expected_w)
    th.testing.assert_close(stats["u"], th.tensor([[2.0, 4.0, 2.0]], dtype=F64) / 2**0.5)
    th.testing.assert_close(stats["k_eff"], th.tensor([2.0], dtype=F64))
    th.testing.assert_close(target, th.tensor([1 + 0.5 * (0.4 * 10 + 0.2 * 20 - 0.4 * 5)], dtype=F64))
    one["terminated"][:] = 1
    target, _ = learner.target_value(one, {k: v[:1] for k, v in draws.items()})
    th.testing.assert_close(target, th.ones(1, dtype=F64))


def test_target_equals_algorithm_1_written_as_a_loop() -> None:
    learner, batch, draws = setting()
    target, _ = learner.target_value(batch, draws)
    policy = policy_actions(learner, batch, draws)
    for row in range(batch.batch_size):
        numerator, denominator = 0.0, 0.0
        for k in range(1, N_AGENTS + 1):
            joint = batch["actions"][row, 1].clone()
            chosen = [i for i in range(N_AGENTS) if draws["order"][row, 0, k - 1, i] < k]
            assert len(chosen) == k
            for i in chosen:
                joint[i] = policy[row, i]
            state = batch["state"][row : row + 1, 1]
            u = joint_values(learner.critic, state, joint[None]).std()
            numerator += joint_values(learner.target_critic, state, joint[None]).min() / u
            denominator += 1 / u
        expected = batch["reward"][row, 0, 0] + learner.args.gamma * numerator / denominator
        th.testing.assert_close(target[row], expected, rtol=0, atol=1e-10)


def test_weights_forced_to_all_agents_give_the_full_joint_target(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, batch, draws = setting()
    full, _, _ = setting(partial_replacement="full")
    last = th.tensor([0.0, 0.0, 1.0], dtype=F64)
    monkeypatch.setattr(learner, "weights", lambda u, valid: last.expand_as(u))
    forced, _ = learner.target_value(batch, draws)
    target, _ = full.target_value(batch, draws)
    th.testing.assert_close(forced, target, rtol=0, atol=1e-12)
    values = joint_values(learner.target_critic, batch["state"][:, 1], policy_actions(learner, batch, draws))
    brute = batch["reward"][:, 0, 0] + learner.args.gamma * values.amin(0)
    th.testing.assert_close(target, brute, rtol=0, atol=1e-12)


def test_average_single_is_the_mean_over_agents_inside_the_minimum() -> None:
    learner, batch, draws = setting(partial_replacement="average_single")
    target, _ = learner.target_value(batch, draws)
    policy, state = policy_actions(learner, batch, draws), batch["state"][:, 1]
    values = []
    for i in range(N_AGENTS):
        joint = batch["actions"][:, 1].clone()
        joint[:, i] = policy[:, i]
        values.append(joint_values(learner.target_critic, state, joint))
    expected = batch["reward"][:, 0, 0] + learner.args.gamma * th.stack(values).mean(0).amin(0)
    th.testing.assert_close(target, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["adaptive", "average_single"])
def test_without_a_next_action_everybody_follows_the_policy(kind: str) -> None:
    learner, batch, draws = setting(partial_replacement=kind)
    full, _, _ = setting(partial_replacement="full")
    batch["next_action_valid"][::2] = 0
    batch["actions"][::2, 1] = th.nan  # what does not exist must not be used
    target, stats = learner.target_value(batch, draws)
    joint, _ = full.target_value(batch, draws)
    th.testing.assert_close(target[::2], joint[::2], rtol=0, atol=1e-12)
    assert (target[1::2] - joint[1::2]).abs().min() > 1e-6
    if kind == "adaptive":
        th.testing.assert_close(stats["k_eff"][::2], th.full((3,), 3.0, dtype=F64))


def test_subsets_are_uniform_and_fresh() -> None:
    learner = make_learner()
    batch = make_batch(learner.args, rows=6000)
    valid = th.ones(6000, dtype=th.bool)
    first, second = (learner.subsets(learner.draws("critic", batch), valid) for _ in range(2))
    assert not th.equal(first, second)
    sizes = th.arange(1, N_AGENTS + 1)
    assert (first.sum(-1) == sizes).all()
    share = first.double().mean(0)  # (k, i): an agent is in a k-subset with probability k/n
    assert (share - sizes.unsqueeze(-1) / N_AGENTS).abs().max() < 0.03


# -- the critics' loss -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["policy", "logsumexp"])
def test_critic_loss_equals_brute_force(kind: str) -> None:
    learner, batch, draws = setting(cql_penalty=kind, alpha_cql=0.7, n_penalty_samples=4)
    loss, _ = learner.critic_loss(batch, draws)
    target, _ = learner.target_value(batch, draws)
    state, actions = batch["state"][:, 0], batch["actions"][:, 0]
    data = joint_values(learner.critic, state, actions)  # (E, R)
    if kind == "policy":
        raw = learner.mac.forward_all(batch)[:, :1]
        half = (learner.high - learner.low) / 2
        samples = learner.low + half + half * th.tanh(raw)  # (R, 1, N, A)
    else:
        samples = learner.low + (learner.high - learner.low) * draws["uniform"][:, 0]  # (R, K, N, A)
    expected = ((data - target) ** 2).mean(1).sum()
    for i in range(N_AGENTS):
        pushed = []
        for k in range(samples.shape[1]):
            joint = actions.clone()
            joint[:, i] = samples[:, k, i]
            pushed.append(joint_values(learner.critic, state, joint))
        values = th.stack(pushed)  # (K, E, R)
        up = values[0] if kind == "policy" else values.exp().sum(0).log()
        expected = expected + 0.7 / N_AGENTS * (up - data).mean(1).sum()
    th.testing.assert_close(loss, expected, rtol=0, atol=1e-10)


def test_actor_loss_equals_brute_force() -> None:
    learner, batch, _ = setting(action_l2=0.3, final_init=1.0)
    loss, _ = learner.actor_loss(batch, {})
    raw = learner.mac.forward_all(batch)[:, 0]  # (R, N, A)
    unit = th.tanh(raw)
    half = (learner.high - learner.low) / 2
    expected = 0.3 * unit.square().mean((0, 2)).sum()
    for i in range(N_AGENTS):
        joint = batch["actions"][:, 0].clone()
        joint[:, i] = learner.low + half + half * unit[:, i]
        expected = expected - joint_values(learner.critic, batch["state"][:, 0], joint)[0].mean() / N_AGENTS
    th.testing.assert_close(loss, expected, rtol=0, atol=1e-12)


# -- purity, chunks, masks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["policy", "logsumexp"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(th.float32, 1e-5), (F64, 1e-12)])
@pytest.mark.parametrize("name", ["critic", "actor"])
def test_losses_are_pure(name: str, dtype: th.dtype, tolerance: float, kind: str) -> None:
    """Two stacked parameter sets under functional_call and vmap equal two calls, gradients included."""
    learner, other = (make_learner(dtype=dtype, seed=s, cql_penalty=kind) for s in (1, 2))
    batch = make_batch(learner.args, dtype=dtype)
    draws = {k: v.to(dtype) if v.is_floating_point() else v for k, v in learner.draws(name, batch).items()}
    module = {"critic": "critic", "actor": "agent"}[name]
    sets = [{k: v.detach().clone() for k, v in one.named_parameters()} for one in (learner, other)]
    stacked = {k: th.stack([one[k] for one in sets]).requires_grad_() for k in sets[0]}
    lanes, stats = vmap(lambda p: functional_call(learner, p, (name, batch, draws)))(stacked)
    trained = [k for k in stacked if k.startswith(f"{module}.")]
    together = th.autograd.grad(lanes.sum(), [stacked[k] for k in trained])
    for lane, parameters in enumerate(sets):
        for value in parameters.values():
            value.requires_grad_()
        loss, alone = functional_call(learner, parameters, (name, batch, draws))
        th.testing.assert_close(lanes[lane], loss, rtol=tolerance, atol=tolerance)
        for key, value in alone.items():
            th.testing.assert_close(stats[key][lane], value, rtol=100 * tolerance, atol=100 * tolerance)
        for a, b in zip(together, th.autograd.grad(loss, [parameters[k] for k in trained]), strict=True):
            th.testing.assert_close(a[lane], b, rtol=100 * tolerance, atol=100 * tolerance)


@pytest.mark.parametrize("name", ["critic", "actor"])
@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_chunks_add_up(name: str, chunk: int) -> None:
    """Gradients, loss and statistics over chunks equal those of the whole batch, padded rows included."""
    learner, batch, draws = setting(steps=4)
    batch["filled"][0, 2:] = 0
    batch["filled"][3, 1:] = 0
    learner.draws = lambda *_: draws if name == "critic" else {}
    index = [spec.name for spec in learner.LOSSES].index(name)
    whole = learner.gradients(learner.LOSSES[index], batch, True)
    learner.args.loss_chunk = chunk
    parts = learner.gradients(learner.LOSSES[index], batch, True)
    th.testing.assert_close(whole, parts, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["critic", "actor"])
def test_padded_rows_have_no_influence(name: str) -> None:
    learner, batch, draws = setting(steps=4)
    batch["terminated"][0, 0] = 1  # row 1 on lie behind a terminal
    batch["filled"][0, 2:] = 0
    batch["filled"][1, 1:] = 0  # cut by a time limit after one step: the buffer leaves its final row 1 unfilled
    learner.draws = lambda *_: draws if name == "critic" else {}
    index = [spec.name for spec in learner.LOSSES].index(name)
    before = learner.gradients(learner.LOSSES[index], batch, True)
    assert transition_mask(batch)[:2, :, 0].tolist() == [[1, 0, 0], [1, 0, 0]]
    for key in ("obs", "state", "actions", "reward"):
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
    learner = make_learner(learner_log_interval=10, cql_penalty="logsumexp")
    train(learner, 0, 12)
    names = [key for key, _, _ in learner.logger.stats]
    expected = {"critic_loss", "critic_grad_norm", "actor_loss", "actor_grad_norm", "q_data", "q_policy", "penalty",
                "td_error_abs", "target", "k_eff", "actor_saturation", "w_1", "w_2", "w_3", "u_1", "u_2",
                "u_3"}  # fmt: skip
    assert len(names) == len(set(names)) and set(names) == expected
    assert all(isinstance(value, float) for _, value, _ in learner.logger.stats)
    values = {key: value for key, value, _ in learner.logger.stats}
    assert sum(values[f"w_{k}"] for k in (1, 2, 3)) == pytest.approx(1.0, abs=1e-5)


def test_policies_learn_the_best_action() -> None:
    """The reward is -|a|^2, no future: values and policies learned from random actions find a = 0."""
    learner = make_learner(
        gamma=0.0, alpha_cql=0.1, hidden_dim=32, actor_update_interval=1, target_update_interval=1, final_init=0.5
    )

    def distance() -> float:
        with th.no_grad():
            actions = learner.penalty_actions(make_batch(learner.args, rows=200, seed=10**6), {})
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
        ({"partial_replacement": "half"}, "partial_replacement must be one of adaptive, full, average_single"),
        ({"cql_penalty": "none"}, "cql_penalty must be one of"),
        ({"critic_type": "mlp"}, "critic_type must be one of ensemble_q"),
        ({"ensemble_size": 1}, "set ensemble_size to 2 or more"),
        ({"common_reward": False}, "set common_reward=True"),
        ({"lr": 0}, "lr must be a positive number, not 0"),
    ],
)
def test_bad_keys_are_one_clear_sentence(updates: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_learner(**updates)


def test_discrete_actions_are_refused() -> None:
    scheme = {"actions": {"dtype": th.long}, "reward": {"vshape": (1,)}}
    with pytest.raises(ConfigError, match="continuous actions only"):
        check_config(scheme, SimpleNamespace(**vars(make_args("spacql"))))
    assert SPaCQLLearner.action_types == {"continuous"}


def test_checkpoints_that_do_not_fit(tmp_path: Any) -> None:
    learner = make_learner()
    with pytest.raises(CheckpointError, match="does not fit this run"):
        learner.load_models(str(tmp_path))
    make_learner(hidden_dim=16).save_models(str(tmp_path))
    with pytest.raises(CheckpointError, match="does not fit this run"):
        learner.load_models(str(tmp_path))
    with pytest.raises(CheckpointError, match="training state does not fit"):
        learner.load_training_state({"targets": {}})
