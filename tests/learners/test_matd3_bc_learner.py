"""MA-TD3+BC: its two terms, the normalised value over chunks, the bound on targets, and where its policies end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch as th
from torch import Tensor

from benchmarks.protocol import RANGES, best_draw
from components.episode_buffer import EpisodeBatch
from components.statistics import DataStatistics
from learners import REGISTRY
from learners.losses import NOW, clip_target, transition_mask
from learners.matd3_bc_learner import MATD3BCLearner
from learners.matd3_learner import MATD3Learner
from tests.learners.learner_tester import F64, N_AGENTS, OBS, make_batch, make_learner, setting
from utils.config import CONFIG, algorithm, layered_config, read_yaml

SOURCE = CONFIG.parent / "learners" / "matd3_bc_learner.py"


def statistics(max_return: float = 3.0, max_return_to_go: float = 2.0) -> DataStatistics:
    inputs = {key: (th.zeros(shape), th.full(shape, 2.0)) for key, shape in
              (("obs", (N_AGENTS, OBS)), ("state", (N_AGENTS * OBS,)))}  # fmt: skip
    return DataStatistics(inputs, max_return, max_return_to_go)


def actor_gradients(learner: Any, batch: EpisodeBatch, chunk: int | None = None) -> tuple[Tensor, list[Tensor]]:
    """The policies' loss and its gradient."""
    learner.args.loss_chunk = chunk
    index = [spec.name for spec in learner.LOSSES].index("actor" if len(learner.LOSSES) > 1 else "bc")
    loss, gradients, _ = learner.gradients(learner.LOSSES[index], batch, False)
    return loss, gradients


def weights(learner: Any) -> Tensor:
    """The policies' weights, in one row."""
    return th.cat([parameter.detach().flatten() for parameter in learner.agent.parameters()])


def uneven(learner: Any, rows: int = 6) -> EpisodeBatch:
    """Rows whose |Q| differ widely, and a few that are no transitions."""
    batch = make_batch(learner.args, rows=rows, steps=3, dtype=F64)
    batch["state"][:] = batch["state"] * th.arange(rows).square().view(-1, 1, 1)
    batch["filled"][2, 1:] = 0
    batch["terminated"][4, 0] = 1
    return batch


# -- both terms --------------------------------------------------------------------------------------------------------


def test_without_value_it_is_behaviour_cloning_exactly() -> None:
    ours = make_learner("matd3_bc", dtype=F64, final_init=0.5, q_weight=0.0)
    cloning = make_learner("bc", dtype=F64, final_init=0.5, discrete=False)
    cloning.agent.load_state_dict(ours.agent.state_dict())
    batch = uneven(ours)
    (loss, gradients), (expected, theirs) = actor_gradients(ours, batch), actor_gradients(cloning, batch)
    assert th.equal(loss, expected) and any(gradient.abs().sum() > 0 for gradient in gradients)
    for a, b in zip(gradients, theirs, strict=True):
        assert th.equal(a, b)


def test_an_infinite_cloning_weight_is_behaviour_cloning() -> None:
    """However large the value's weight: gradients per unit of cloning, and what training ends with."""
    keys: dict[str, Any] = {"dtype": F64, "final_init": 0.5, "actor_lr": 0.003, "grad_norm_clip": 1e30}
    ours = make_learner("matd3_bc", bc_weight=1e12, actor_update_interval=1, **keys)
    cloning = make_learner("bc", discrete=False, **keys)
    value = make_learner("matd3_bc", bc_weight=1.0, actor_update_interval=1, **keys)
    for learner in (cloning, value):
        learner.agent.load_state_dict(ours.agent.state_dict())
    value.critic.load_state_dict(ours.critic.state_dict())
    batch = uneven(ours)
    for a, b in zip(actor_gradients(ours, batch)[1], actor_gradients(cloning, batch)[1], strict=True):
        th.testing.assert_close(a / 1e12, b, rtol=1e-8, atol=1e-11)
    for step in range(20):
        for learner in (ours, cloning, value):
            learner.train(make_batch(learner.args, dtype=F64, seed=step), step + 1, 0)
    distance = {
        name: float((weights(learner) - weights(cloning)).abs().max())
        for name, learner in (("infinite", ours), ("one", value))
    }
    assert distance["infinite"] < 1e-4 < 1e-2 < distance["one"], distance


def test_without_cloning_it_climbs_the_normalised_value() -> None:
    """Up to the weight and the mean |Q|, MATD3's gradient without its penalty on outputs."""
    ours = make_learner("matd3_bc", dtype=F64, final_init=0.5, bc_weight=0.0, q_weight=2.5)
    online = make_learner("matd3", dtype=F64, final_init=0.5, pre_tanh_l2=0.0, ensemble_size=4)
    for name in ("agent", "critic"):
        getattr(online, name).load_state_dict(getattr(ours, name).state_dict())
    batch = uneven(ours)
    valid = transition_mask(batch).flatten() > 0
    for learner in (ours, online):  # values of both signs, where mean |Q| is not |mean Q|
        with th.no_grad():
            learner.critic.fc3.bias -= 0.7
    scale = ours.batch_context("actor", batch)["scale"]
    values = ours.own_value(ours.unroll(ours.mac, batch, NOW).flatten(0, 1), batch)  # (R,)
    assert values[valid].min() < 0 < values[valid].max()
    th.testing.assert_close(scale, values[valid].abs().mean())
    for a, b in zip(actor_gradients(ours, batch)[1], actor_gradients(online, batch)[1], strict=True):
        th.testing.assert_close(a, 2.5 * b / scale, rtol=1e-10, atol=1e-12)


def test_the_two_weights_are_separate() -> None:
    """The gradient is linear in both; doubling the value's weight is not halving cloning's."""
    both, value, cloning = (
        make_learner("matd3_bc", dtype=F64, final_init=0.5, q_weight=q, bc_weight=bc)
        for q, bc in ((3.0, 0.5), (1.0, 0.0), (0.0, 1.0))
    )
    batch = uneven(both)
    parts = zip(*(actor_gradients(learner, batch)[1] for learner in (both, value, cloning)), strict=True)
    for a, b, c in parts:
        th.testing.assert_close(a, 3.0 * b + 0.5 * c, rtol=1e-10, atol=1e-12)


TUNED_SETS = ("random", "medium-replay", "medium", "expert", "random-100k", "medium-100k")


@pytest.mark.parametrize("dataset", [None, *(f"mpe/simple_spread/{name}" for name in TUNED_SETS)])
def test_published_and_tuned_weights_are_both_there(dataset: str | None) -> None:
    """TD3+BC's in the algorithm file, ours in the tuned files, which `tuned=none` leaves out; None: the default set."""
    chosen = {} if dataset is None else {"dataset": dataset}
    tuned, published = (layered_config("matd3_bc", "mpe", chosen | more) for more in ({}, {"tuned": "none"}))
    assert (tuned["q_weight"], published["q_weight"], algorithm("matd3_bc")["q_weight"]) == (100.0, 2.5, 2.5)
    assert tuned["bc_weight"] == published["bc_weight"] == 1.0


def test_the_tuned_values_are_those_of_the_protocols_best_draw() -> None:
    """With the length and the batches that it was measured with, whatever the set."""
    drawn, _ = best_draw("matd3_bc", str(CONFIG.parents[1] / "docs" / "results" / "cn-draws" / "matd3_bc.json"))
    shared = {key: RANGES["matd3_bc"][0][key] for key in ("t_max", "batch_size")}
    for name in TUNED_SETS:
        assert read_yaml(CONFIG / "tuned" / "matd3_bc" / "mpe" / "simple_spread" / f"{name}.yaml") == drawn | shared


# -- the batch's mean --------------------------------------------------------------------------------------------------


def test_chunks_of_two_rows_share_the_batchs_mean() -> None:
    """With each chunk's own mean |Q| the gradient is more than 1 % off."""
    learner = make_learner("matd3_bc", dtype=F64, final_init=0.5)
    batch = uneven(learner)
    (loss, whole), (chunked, parts) = (actor_gradients(learner, batch, chunk) for chunk in (None, 2))
    th.testing.assert_close(loss, chunked, rtol=1e-9, atol=0)
    for a, b in zip(whole, parts, strict=True):
        th.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    mask, wrong = transition_mask(batch), [th.zeros_like(gradient) for gradient in whole]
    for start in range(0, 6, 2):
        rows = slice(start, start + 2)
        for total, gradient in zip(wrong, actor_gradients(learner, batch[rows])[1], strict=True):
            total += gradient * mask[rows].sum() / mask.sum()
    error = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(wrong, whole, strict=True))
    assert error > 0.01


# -- the bound on bootstrapped values ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"), [("none", math.inf), ("max_return", 0.1 * 1.5 * 3.0), ("max_return_to_go", 0.1 * 1.5 * 2.0)]
)
@pytest.mark.parametrize("input_norm", ["dataset", "none"])
def test_the_bound_is_a_multiple_of_the_datas_return_in_units_of_the_learners_reward(
    input_norm: str, kind: str, expected: float
) -> None:
    """Whether inputs are standardised does not matter to it."""
    learner = make_learner(
        "matd3_bc", target_clip=kind, target_clip_multiple=1.5, reward_scale=0.1, input_norm=input_norm
    )
    learner.use_statistics(statistics())
    assert math.isclose(float(learner.bound), expected, rel_tol=1e-6)
    assert float(learner.agent.normaliser.std.mean()) == (2.0 if input_norm == "dataset" else 1.0)
    assert "bound" not in learner.state_dict()  # it is the dataset's, not the checkpoint's


def test_a_bound_that_nobody_set_stops_training() -> None:
    """Instead of passing for none."""
    learner = make_learner("matd3_bc", target_clip="max_return", input_norm="none")
    learner.train(make_batch(learner.args), 1, 0)
    with pytest.raises(Exception, match="critic loss of MATD3BCLearner stopped being finite"):
        learner.check_finite(1)


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_targets_are_bounded_where_the_bound_binds(scale: float) -> None:
    """y = c r + gamma min(min_j Q'_j, bound), 0 after a terminal; values below the bound stay as they are."""
    learner, batch, noise = setting(alg="matd3_bc", target_clip="max_return", reward_scale=scale, input_norm="none")
    free = MATD3Learner.next_value(learner, batch, noise)  # (R,)
    middle = float(free.median())
    learner.use_statistics(statistics(max_return=middle / scale))
    bounded = learner.next_value(batch, noise)
    th.testing.assert_close(bounded, free.clamp_max(middle), rtol=1e-6, atol=1e-9)
    assert 0 < (bounded < free - 1e-6).sum() < len(free)
    batch["terminated"][1, 0] = 1
    _, stats = learner.critic_loss(batch, noise, {})
    reward = scale * batch["reward"][:, 0, 0]
    expected = reward + learner.args.gamma * bounded * (1 - batch["terminated"][:, 0, 0].to(F64))
    th.testing.assert_close(stats["target"], expected)


def test_no_bound_is_matd3s_target() -> None:
    learner, batch, noise = setting(alg="matd3_bc", final_init=0.5)
    learner.use_statistics(statistics(max_return=-1e9, max_return_to_go=-1e9))
    assert th.equal(learner.next_value(batch, noise), MATD3Learner.next_value(learner, batch, noise))
    assert th.equal(clip_target(th.ones(3), learner.bound), th.ones(3))


# -- where policies end ------------------------------------------------------------------------------------------------


BEST = th.tensor([[0.6, 2.0], [-0.5, -1.0], [0.2, 1.5]])  # a*, (N, A), inside [-1, 1] x [-2, 3]
MEAN = th.tensor([[-0.2, 0.5], [0.2, 0.5], [-0.3, 0.2]])  # of the data
HALF = th.tensor([1.0, 2.5])


def tiny_problem(learner: Any, seed: int) -> EpisodeBatch:
    """One state, actions around MEAN, reward -|a - a*|^2."""
    batch = make_batch(learner.args, rows=64)
    batch["obs"].zero_()
    batch["state"].zero_()
    noise = th.randn(32, 1, N_AGENTS, 2, generator=th.Generator().manual_seed(seed))
    batch["actions"][:] = MEAN + 0.35 * HALF * th.cat([noise, -noise])
    batch["actions_onehot"][:] = batch["actions"]
    batch["reward"][:, 0, 0] = -(batch["actions"][:, 0] - BEST).square().sum((1, 2))
    return batch


@pytest.mark.slow
def test_policies_end_between_the_data_and_the_optimum() -> None:
    """Without a future there is a closed form, nearer to a* as q_weight grows.

    With w = q_weight / mean |Q| the policies minimise w |a - a*|^2 + |(a - m) / half|^2 / A. The critics do not depend
    on the policies; the first learner's serve all three.
    """
    keys: dict[str, Any] = {"gamma": 0.0, "hidden_dim": 32, "actor_lr": 0.01, "critic_lr": 0.005, "ensemble_size": 1}
    keys |= {"actor_update_interval": 1, "learner_log_interval": 10**6, "input_norm": "none"}
    learners = {q_weight: make_learner("matd3_bc", q_weight=q_weight, **keys) for q_weight in (1.0, 0.0, 10.0)}
    for step in range(700):
        learners[1.0].train(tiny_problem(learners[1.0], step), step + 1, 0)
    distances = {}
    for q_weight, learner in learners.items():
        learner.critic.load_state_dict(learners[1.0].critic.state_dict())
        for step in range(0 if q_weight == 1.0 else 250):
            learner.update(1, tiny_problem(learner, step))
        batch = tiny_problem(learner, 1000)
        found = learner.policy.mode(learner.unroll(learner.mac, batch, NOW), th.ones(2))[0, 0].detach()  # (N, A)
        weight = q_weight / learner.batch_context("actor", batch)["scale"].detach()
        pull = 1 / (2 * HALF.square())
        th.testing.assert_close(found, (weight * BEST + pull * MEAN) / (weight + pull), rtol=0, atol=0.2)
        distances[q_weight] = float((found - BEST).norm())
    assert abs(distances[0.0] - float((MEAN - BEST).norm())) < 0.2
    assert distances[0.0] > distances[1.0] + 0.3 and distances[1.0] > distances[10.0] + 0.3


# -- one file, nothing else touched ------------------------------------------------------------------------------------


def test_it_is_found_though_nobody_listed_it() -> None:
    assert REGISTRY["matd3_bc_learner"] is MATD3BCLearner
    naming = [path for path in CONFIG.parent.rglob("*.py") if "matd3_bc" in path.read_text().lower()]
    assert [path for path in naming if path != SOURCE] == []


def test_the_learner_is_at_most_sixty_lines() -> None:
    assert len(Path(SOURCE).read_text().splitlines()) <= 60
