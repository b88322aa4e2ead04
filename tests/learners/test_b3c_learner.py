"""B3C: its losses written out, the three rules of the clip and its two ends, and what each of its two terms does."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from components.statistics import DataStatistics
from learners.losses import NOW
from modules.mixers import NOT_MONOTONE
from tests.learners.learner_tester import F64, N_AGENTS, OBS, make_batch, make_learner
from utils.errors import ConfigError, TrainingError

Case = tuple[Any, EpisodeBatch, dict[str, Tensor]]


def returns(max_return: float, max_return_to_go: float = 0.0) -> DataStatistics:
    inputs = {key: (th.zeros(shape), th.ones(shape)) for key, shape in
              (("obs", (N_AGENTS, OBS)), ("state", (N_AGENTS * OBS,)))}  # fmt: skip
    return DataStatistics(inputs, max_return, max_return_to_go)


def case(**updates: Any) -> Case:
    """A float64 learner whose targets differ from its networks, a batch in which one row ends, and noise."""
    keys = {"final_init": 0.5, "ensemble_size": 2, "input_norm": "none", **updates}
    learner = make_learner("b3c", dtype=F64, **keys)
    th.manual_seed(11)
    with th.no_grad():
        for name, parameter in learner.named_parameters():
            if name.startswith("target_"):
                parameter.add_(0.3 * th.randn_like(parameter))
    batch = make_batch(learner.args, dtype=F64)
    batch["terminated"][1, 0] = 1
    return learner, batch, {"target": learner.noise("q", batch)["target"].double()}


def gradients(learner: Any, name: str, batch: EpisodeBatch, chunk: int | None = None) -> list[Tensor]:
    learner.args.loss_chunk = chunk
    spec = next(spec for spec in learner.LOSSES if spec.name == name)
    return list(learner.gradients(spec, batch, False)[1])


# -- the losses, written out -------------------------------------------------------------------------------------------


def mixed(learner: Any, values: Tensor, batch: EpisodeBatch, step: int, prefix: str) -> Tensor:
    """M[q] of one critic's values (B, N), row by row: (B,)."""
    if learner.args.mixer == "vdn":
        return values.sum(-1)
    mixer = getattr(learner, f"{prefix}mixer")
    rows = [mixer(values[row].view(1, 1, -1), batch["state"][row, step].view(1, 1, -1)) for row in range(len(values))]
    return th.stack(rows).flatten()


@pytest.mark.parametrize("mixer", ["vdn", "monotone", "qmix", "free"])
def test_the_losses_are_the_papers(mixer: str) -> None:
    learner, batch, noise = case(mixer=mixer, q_weight=3.0, bc_weight=0.5, target_clip="max_return")
    low, high = (th.tensor(each, dtype=F64) for each in (learner.args.action_low, learner.args.action_high))
    half, middle = 0.5 * (high - low), 0.5 * (high + low)
    outputs = learner.unroll(learner.mac, batch, slice(None))  # (B, T, N, A)
    actions = middle + half * outputs.tanh()  # (B, T, N, A)

    shift = (0.2 * noise["target"][:, 0]).clamp(-0.5, 0.5) * half
    after = th.min(th.max(actions[:, 1] + shift, low), high)  # (B, N, A)
    local = learner.target_q(batch["obs"][:, 1], after.unsqueeze(1))[:, :, 0]  # (E, B, N)
    free = th.stack([mixed(learner, each, batch, 1, "target_") for each in local]).min(0).values  # (B,)
    bound = float(free.detach().median())
    learner.use_statistics(returns(bound))
    alive = th.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    target = (batch["reward"][:, 0, 0] + learner.args.gamma * alive * free.clamp(max=bound)).detach()  # (B,)
    values = learner.q(batch["obs"][:, 0], batch["actions"][:, :1])[:, :, 0]  # (E, B, N)
    errors = [(mixed(learner, each, batch, 0, "") - target).square().mean() for each in values]
    loss, stats = learner.q_loss(batch, noise, learner.batch_context("q", batch))
    th.testing.assert_close(loss, errors[0] + errors[1], rtol=1e-6, atol=1e-9)  # the bound is a float32
    assert 0 < stats["clipped"].sum() < len(free)

    own = learner.q(batch["obs"][:, 0], actions[:, :1])[0, :, 0]  # (B, N), of the first critic
    value = mixed(learner, own, batch, 0, "")  # (B,)
    cost = ((actions[:, 0] - batch["actions"][:, 0]) / half).square().mean((1, 2))  # (B,)
    expected = (0.5 * cost - 3.0 * value / value.detach().abs().mean()).mean()
    th.testing.assert_close(learner("actor", batch, {})[0], expected)


# -- the clip ----------------------------------------------------------------------------------------------------------


def target_of(learner: Any, batch: EpisodeBatch, noise: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, its targets and where the clip bound, (), (B,), (B,)."""
    loss, stats = learner.q_loss(batch, noise, learner.batch_context("q", batch))
    return loss.detach(), stats["target"], stats["clipped"]


def both_signs(learner: Any, batch: EpisodeBatch, noise: dict[str, Tensor]) -> Tensor:
    """Bootstrapped values, of which some are above 0 and some below, (B,)."""
    with th.no_grad():
        middle = float(learner.next_value(batch, noise).median())
        learner.target_mixer.V[-1].bias -= middle
        free: Tensor = learner.next_value(batch, noise)
    assert (free > 1e-3).any() and (free < -1e-3).any()
    return free


@pytest.mark.parametrize("updates", [{"target_clip": "none"}, {"target_clip_multiple": 1e30}])
def test_an_infinite_multiple_never_binds(updates: dict[str, Any]) -> None:
    """`none` is M = infinity; however large values are."""
    learner, batch, noise = case(**updates)
    learner.use_statistics(returns(max_return=2.0))
    with th.no_grad():
        learner.target_mixer.V[-1].bias += 1e12
        free = learner.next_value(batch, noise)
    assert free.min() > 1e11
    _, target, clipped = target_of(learner, batch, noise)
    alive = 1 - batch["terminated"][:, 0, 0].to(F64)
    assert th.equal(target, batch["reward"][:, 0, 0] + learner.args.gamma * alive * free)
    assert not clipped.any()


def test_a_multiple_of_zero_binds_exactly() -> None:
    """Values above 0 become 0, so that the target is the reward; others stay as they are."""
    learner, batch, noise = case(target_clip_multiple=0.0)
    learner.use_statistics(returns(max_return=2.0))
    free = both_signs(learner, batch, noise)
    _, target, clipped = target_of(learner, batch, noise)
    reward, alive = batch["reward"][:, 0, 0], 1 - batch["terminated"][:, 0, 0].to(F64)
    assert th.equal(target[free > 0], reward[free > 0])
    assert th.equal(target[free < 0], (reward + learner.args.gamma * alive * free)[free < 0])
    assert th.equal(clipped > 0, (free > 0) & (alive > 0))  # nothing is clipped where an episode ends
    batch["terminated"][:] = 1
    assert (free > 0).any() and not target_of(learner, batch, noise)[2].any()


@pytest.mark.parametrize(("rule", "expected"), [("none", math.inf), ("max_return", 4.5), ("max_return_to_go", 3.0)])
def test_three_rules_for_the_bound(rule: str, expected: float) -> None:
    learner, _, _ = case(target_clip=rule, target_clip_multiple=1.5)
    learner.use_statistics(returns(max_return=3.0, max_return_to_go=2.0))
    assert math.isclose(float(learner.bound), expected, rel_tol=1e-6)


def test_a_bound_that_nobody_set_stops_training() -> None:
    learner = make_learner("b3c", input_norm="none")
    with pytest.raises(TrainingError, match="the q loss of B3CLearner stopped being finite at update 1"):
        learner.train(make_batch(learner.args), 1, 0)


@pytest.mark.parametrize(("rule", "expected"), [("none", 5.0), ("max_return", 1 + 0.8 * 2.0)])
def test_values_end_at_the_bound(rule: str, expected: float) -> None:
    """A reward of 1 for ever is worth 1 / (1 - gamma); clipped, the fixed point is 1 + gamma M R*."""
    keys: dict[str, Any] = {"gamma": 0.8, "q_lr": 0.01, "tau": 0.3, "hidden_dim": 8, "ensemble_size": 1}
    keys |= {"input_norm": "none", "mixer": "vdn", "grad_norm_clip": 100.0, "target_noise": 0.0}
    learner = make_learner("b3c", target_clip=rule, **keys)
    learner.use_statistics(returns(max_return=2.0))
    batch = make_batch(learner.args, rows=4)
    for key in ("obs", "state"):
        batch[key].zero_()
    actions = learner.policy.mode(learner.unroll(learner.mac, batch, slice(None)), batch["avail_actions"]).detach()
    for key in ("actions", "actions_onehot"):
        batch[key][:] = actions
    batch["reward"][:] = 1.0
    for _ in range(200):
        learner.update(0, batch)
        learner._update_targets()
    value = float(learner.mixed(learner.local_q(batch, NOW), batch, NOW).mean())
    assert abs(value - expected) < 0.2, value


# -- the policies' two terms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weights", "tolerance"), [({"q_weight": 0.0}, 0.0), ({"bc_weight": 1e12}, 1e-8)])
def test_an_infinite_cloning_weight_is_behaviour_cloning(weights: dict[str, float], tolerance: float) -> None:
    learner, batch, _ = case(**weights)
    cloning = make_learner("bc", dtype=F64, final_init=0.5, discrete=False, input_norm="none")
    cloning.agent.load_state_dict(learner.agent.state_dict())
    scale = weights.get("bc_weight", 1.0)
    for a, b in zip(gradients(learner, "actor", batch), gradients(cloning, "bc", batch), strict=True):
        th.testing.assert_close(a / scale, b, rtol=tolerance, atol=tolerance / 100)
        assert b.abs().sum() > 0


@pytest.mark.parametrize("mixer", ["vdn", "free"])
def test_gradients_do_not_depend_on_chunks(mixer: str) -> None:
    """The mean |Q| that scales the policies' loss is the batch's."""
    learner, batch, _ = case(mixer=mixer)
    batch["obs"][:] = batch["obs"] * th.arange(6).square().view(-1, 1, 1, 1)
    whole, parts = (gradients(learner, "actor", batch, chunk) for chunk in (None, 2))
    for a, b in zip(whole, parts, strict=True):
        th.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


# -- what it refuses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alg", "updates", "sentence"),
    [
        ("b3c", {"mixer": None}, "^mixer=None: choose one of qmix, vdn, monotone, free$"),
        ("b3c", {"common_reward": False}, "^mixer=free needs one team reward: set common_reward=True$"),
        (
            "b3c",
            {"agent_output_type": "gaussian", "action_selector": "auto"},
            "^agent_output_type=gaussian: for continuous actions b3c_learner",
        ),
        ("implicit_q", {"mixer": "free"}, "^mixer=free: choose one of qmix, vdn, monotone, None$"),
        ("comadice", {"mixer": "free"}, "^mixer=free: choose one of qmix, vdn, monotone$"),
        ("qmix", {"mixer": "free"}, "^mixer=free: choose one of qmix, vdn, monotone, None$"),
    ],
)
def test_what_it_cannot_handle_is_refused(alg: str, updates: dict[str, Any], sentence: str) -> None:
    """And no learner whose agents are greedy by themselves takes the mixer that is not monotone."""
    assert set(NOT_MONOTONE) == {"free"}
    with pytest.raises(ConfigError, match=sentence):
        make_learner(alg, discrete=alg == "qmix", **updates)


def test_the_clip_is_of_next_values_alone() -> None:
    """A row that ended has its reward as its target, whatever the bound."""
    learner, batch, noise = case()
    learner.use_statistics(returns(max_return=-1e6))
    _, target, clipped = target_of(learner, batch, noise)
    assert target[1] == batch["reward"][1, 0, 0] and clipped.tolist() == [1, 0, 1, 1, 1, 1]
    assert (target[th.arange(6) != 1] < -9e5).all()
