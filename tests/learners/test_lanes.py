"""Learners that differ by their seed, updated as one, end with the weights of their own single runs."""

from typing import Any

import pytest
import torch as th
from torch import Tensor
from torch.func import vmap

from components.episode_buffer import EpisodeBatch
from learners.lane_graph import Recording
from learners.lanes import Lanes
from tests.learners.learner_tester import ALGORITHMS, make_batch, make_learner

SEEDS = (1, 2)
SMALL = {"learner_log_interval": 7}


def batches(args: Any, step: int) -> list[EpisodeBatch]:
    """One batch per lane, of its own values."""
    return [make_batch(args, seed=1000 * lane + step) for lane in range(len(SEEDS))]


def joined(parts: list[EpisodeBatch]) -> EpisodeBatch:
    """The rows of all lanes, lane by lane."""
    whole = make_batch_like(parts[0], sum(part.batch_size for part in parts))
    for key in whole.data.transition_data:
        whole.data.transition_data[key] = th.cat([part[key] for part in parts])
    return whole


def make_batch_like(batch: EpisodeBatch, size: int) -> EpisodeBatch:
    return EpisodeBatch(batch.scheme, batch.groups, size, batch.max_seq_length, data=batch[0:1].data, device="cpu")


def close(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        th.testing.assert_close(left[name], right[name], rtol=1e-5, atol=1e-5, msg=name)


CASES = [
    pytest.param(alg, {"discrete": kind} | more, id=f"{alg}-{'discrete' if kind else 'continuous'}", marks=marks)
    for alg, kind, more, marks in (
        ("bc", False, {}, ()), ("bc", True, {}, ()), ("comadice", False, {}, ()),
        ("comadice", True, {"grad_norm_clip": None}, ()),
        ("matd3_bc", False, {}, ()), ("implicit_q", True, {}, ()), ("omiga", False, {}, ()),
        ("implicit_q", False, {}, pytest.mark.slow), ("omiga", True, {}, pytest.mark.slow),
        ("spacql", False, {}, pytest.mark.slow), ("spacql", True, {"loss_chunk": 4}, pytest.mark.slow),
    )
]  # fmt: skip


@pytest.mark.parametrize(("alg", "updates"), CASES)
def test_lanes_end_with_the_weights_of_single_runs(alg: str, updates: dict[str, Any]) -> None:
    alone = [make_learner(alg, seed=seed, **SMALL, **updates) for seed in SEEDS]
    together = [make_learner(alg, seed=seed, **SMALL, **updates) for seed in SEEDS]
    lanes = Lanes(together)
    for step in range(100):
        parts = batches(alone[0].args, step)
        for learner, part in zip(alone, parts, strict=True):
            learner.train(part, step + 1, 0)
        lanes.train(joined(parts), step + 1)
        for lane in range(len(SEEDS)):
            lanes.log(lane, step + 1)
    for single, lane in zip(alone, together, strict=True):
        close(single.state_dict(), lane.state_dict())
        assert [(key, t) for key, _, t in single.logger.stats] == [(key, t) for key, _, t in lane.logger.stats]
        for (key, value, _), (_, other, _) in zip(single.logger.stats, lane.logger.stats, strict=True):
            assert other == pytest.approx(value, rel=1e-3, abs=1e-4), key


OFFLINE = [alg for alg, keys in ALGORITHMS.items() if keys.get("offline") and alg != "alberdice"]


CHUNKED = [("comadice", 4, 1), ("spacql", 4, 1)]


@pytest.mark.parametrize(("alg", "chunk", "logged"), [*((alg, None, 1) for alg in OFFLINE), *CHUNKED,
                                                      *((alg, None, 1000) for alg in OFFLINE)])  # fmt: skip
def test_every_offline_learner_can_be_a_lane(alg: str, chunk: int | None, logged: int) -> None:
    """With the norms of gradients limited, targets moved and statistics logged, in three updates.

    logged: the interval of statistics. Updates without them are recorded, and repeated.
    """
    keys = {"learner_log_interval": logged, "grad_norm_clip": 0.1, "loss_chunk": chunk, "use_rnn": False}
    alone, together = ([make_learner(alg, seed=seed, **keys) for seed in SEEDS] for _ in range(2))
    for learner in (*alone, *together):
        learner.target_interval = 2
    lanes = Lanes(together)
    for step in range(3):
        parts = batches(alone[0].args, step)
        for learner, part in zip(alone, parts, strict=True):
            learner.train(part, 2 * step, 0)
        lanes.train(joined(parts), 2 * step)
        for lane in range(len(SEEDS)):
            lanes.log(lane, 2 * step)
    for single, lane in zip(alone, together, strict=True):
        close(single.state_dict(), lane.state_dict())
        assert [(key, t) for key, _, t in single.logger.stats] == [(key, t) for key, _, t in lane.logger.stats]


def test_an_index_behind_a_dimension_that_is_taken_whole_is_recorded() -> None:
    weights, data, other = th.randn(2, 3), th.randn(2, 5, 3), th.randn(2, 5, 3)

    def loss(weight: Tensor, rows: Tensor) -> Tensor:
        return (rows[:, th.tensor([0, 2])] * weight[:2]).sum() + (rows.clamp_min(0) @ weight).sum()

    def of(rows: Tensor) -> tuple[Tensor, Tensor]:
        with th.enable_grad():
            leaf = weights.detach().requires_grad_()
            value = vmap(loss)(leaf, rows)
            (gradient,) = th.autograd.grad(value.sum(), [leaf])
        return value.detach(), gradient

    found, wanted = Recording(lambda: of(data), [data], [weights])([other]), of(other)
    assert all(th.equal(one, same) for one, same in zip(found, wanted, strict=True))
