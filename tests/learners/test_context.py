"""Numbers of the whole batch: every learner's gradients are the same however its losses are cut into chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch as th
from torch import Tensor
from torch.func import functional_call, vmap

from components.episode_buffer import EpisodeBatch
from learners import REGISTRY
from learners.base_learner import BaseLearner, Context, Noise, Stats
from learners.bc_learner import BCLearner
from learners.losses import NOW, masked_mean, transition_mask
from tests.learners.learner_tester import F64, is_recurrent, make_batch, make_learner
from tests.learners.test_every_learner import cases

CHUNKS = (1, 2, 5)


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """So that networks, batches and noise are, and sums in another order differ by rounding alone."""
    th.set_default_dtype(F64)
    yield
    th.set_default_dtype(th.float32)


def batch_of(learner: BaseLearner, rows: int = 6) -> EpisodeBatch:
    """Random rows, some of them no transitions; the first row has none at all, and values differ from row to row."""
    steps = 4 if is_recurrent(learner.args) else 3
    batch = make_batch(learner.args, rows=rows, steps=steps, dtype=F64)
    batch["filled"][0] = 0
    batch["filled"][3, 2:] = 0
    batch["terminated"][1, 0] = batch["terminated"][4, 1] = 1
    size = th.arange(1.0, rows + 1).square().view(-1, 1, 1)  # (B, 1, 1), so that no chunk has the mean of another
    batch["reward"][:] = batch["reward"] * size
    batch["obs"][:] = batch["obs"] * size.sqrt().unsqueeze(-1)
    mask = transition_mask(batch)
    assert 0 < mask.sum() < mask.numel() and mask[0].sum() == 0
    return learner.judged(batch) if hasattr(learner, "judged") else batch


def gradients(learner: BaseLearner, index: int, batch: EpisodeBatch, chunk: int | None) -> Any:
    """Loss, gradients and statistics, from the same noise at each call."""
    learner.args.loss_chunk = chunk
    learner.generator.manual_seed(1)
    return learner.gradients(learner.LOSSES[index], batch, True)


def largest_error(ours: Any, whole: Any) -> float:
    """The largest difference of a gradient, relative to the largest entry of its tensor."""
    pairs = zip(ours[1], whole[1], strict=True)
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-12)) for a, b in pairs)


# -- every learner -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alg", "updates"), cases())
def test_any_chunk_gives_the_same_gradients(alg: str, updates: dict[str, Any]) -> None:
    learner = make_learner(alg, dtype=F64, **({"final_init": 0.5} | updates))
    batch = batch_of(learner)
    for index in range(len(learner.LOSSES)):
        whole = gradients(learner, index, batch, None)
        assert sum(float(gradient.abs().sum()) for gradient in whole[1]) > 0
        for chunk in CHUNKS:
            parts = gradients(learner, index, batch, chunk)
            assert largest_error(parts, whole) < 1e-6, (learner.LOSSES[index].name, chunk)
            th.testing.assert_close((parts[0], parts[2]), (whole[0], whole[2]), rtol=1e-6, atol=1e-9)


# -- a loss that needs a number of the whole batch ---------------------------------------------------------------------


class Normalised(BCLearner):
    """Cloning whose cost is divided by the batch's mean cost, and weighted by a softmax over all rows."""

    own = False  # whether to take, wrongly, the chunk's own numbers
    calls = 0
    seen: list[Context]

    def cost(self, batch: EpisodeBatch) -> Tensor:
        return self.imitation(self.unroll(self.mac, batch, NOW), batch).mean(-1)  # (R,)

    def batch_context(self, name: str, batch: EpisodeBatch) -> Context:
        self.calls += 1
        assert name == "bc" and not th.is_grad_enabled()
        cost, mask = self.cost(batch), transition_mask(batch).flatten()  # (R,), (R,)
        return {
            "scale": masked_mean(cost.abs(), mask).clamp_min(1e-6),
            "softmax": (-cost).masked_fill(mask == 0, -th.inf).softmax(0),
        }

    def bc_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        self.seen = [*getattr(self, "seen", []), context]
        if self.own:
            with th.no_grad():
                context = Normalised.batch_context(self, "bc", batch)
        cost = self.cost(batch)
        return masked_mean(cost / context["scale"], transition_mask(batch).flatten()), {"cost": cost.detach()}


def normalised(monkeypatch: pytest.MonkeyPatch, own: bool = False, **keys: Any) -> Normalised:
    monkeypatch.setitem(REGISTRY, "bc_learner", Normalised)
    learner: Normalised = make_learner("bc", dtype=F64, discrete=False, final_init=0.5, **keys)
    learner.own = own
    return learner


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_mean_of_the_batch_is_right_in_every_chunk(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """And a mean of the chunk's own rows is not: the gradient is 1 % off or more."""
    for own in (False, True):
        learner = normalised(monkeypatch, own)
        batch = batch_of(learner)
        whole, parts = (gradients(learner, 0, batch, size) for size in (None, chunk))
        error = largest_error(parts, whole)
        assert error > 0.01 if own else error < 1e-9, error


def test_the_context_is_computed_once_an_update_and_reaches_chunks_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = normalised(monkeypatch, loss_chunk=2)
    batch = batch_of(learner)
    learner.train(batch, 1, 0)
    assert learner.calls == 1 and len(learner.seen) == 3  # 6 rows, 2 at a time
    first = learner.seen[0]
    assert all(context is first for context in learner.seen)
    assert first["softmax"].shape == transition_mask(batch).flatten().shape
    assert not any(value.requires_grad for value in first.values())
    learner.train(batch, 2, 0)
    assert learner.calls == 2 and learner.seen[3] is not first


def test_losses_without_a_turn_compute_no_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each loss asks for its own, when it has its turn."""
    learner = make_learner("matd3_bc", dtype=F64, actor_update_interval=3, loss_chunk=2)
    original, asked = learner.batch_context, []

    def asking(name: str, batch: EpisodeBatch) -> Context:
        asked.append(name)
        context: Context = original(name, batch)
        return context

    monkeypatch.setattr(learner, "batch_context", asking)
    for step in range(6):
        learner.train(batch_of(learner), step + 1, 0)
    assert asked == ["critic", "critic", "critic", "actor"] * 2


def test_noise_is_cut_with_the_rows_and_context_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner("matd3_bc", dtype=F64)
    batch, sizes = batch_of(learner), []

    def watched(part: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        sizes.append((part.batch_size, len(noise["target"]), len(context["rows"])))
        return learner.critic_loss(part, noise, context)

    monkeypatch.setattr(learner, "batch_context", lambda name, batch: {"rows": th.arange(batch.batch_size)})
    monkeypatch.setitem(learner._functions, "critic", watched)
    gradients(learner, 0, batch, 5)
    assert sizes == [(5, 5, 6), (1, 1, 6)]


# -- pure functions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["test", "matd3_bc"])
def test_lanes_have_contexts_of_their_own(monkeypatch: pytest.MonkeyPatch, alg: str) -> None:
    """Stacked parameters under `functional_call` and `vmap` equal two calls, gradients included."""
    if alg == "test":
        learner, other = (normalised(monkeypatch, seed=seed) for seed in (1, 2))
        name = "bc"
    else:
        learner, other = (make_learner(alg, dtype=F64, seed=seed, final_init=0.5) for seed in (1, 2))
        name = "actor"
    batch = batch_of(learner)
    sets = [{k: v.detach().clone() for k, v in one.named_parameters()} for one in (learner, other)]
    stacked = {k: th.stack([one[k] for one in sets]).requires_grad_() for k in sets[0]}
    lanes, stats = vmap(lambda p: functional_call(learner, p, (name, batch, {})))(stacked)
    trained = [k for k in stacked if k.startswith("agent.")]
    together = th.autograd.grad(lanes.sum(), [stacked[k] for k in trained])
    before = {k: v.detach().clone() for k, v in learner.state_dict().items()}
    for lane, (one, parameters) in enumerate(zip((learner, other), sets, strict=True)):
        for value in parameters.values():
            value.requires_grad_()
        loss, alone = functional_call(learner, parameters, (name, batch, {}))
        th.testing.assert_close(lanes[lane], loss, rtol=1e-12, atol=1e-12)
        for key, value in alone.items():
            th.testing.assert_close(stats[key][lane], value, rtol=1e-10, atol=1e-10)
        for a, b in zip(together, th.autograd.grad(loss, [parameters[k] for k in trained]), strict=True):
            th.testing.assert_close(a[lane], b, rtol=1e-10, atol=1e-10)
        index = [spec.name for spec in one.LOSSES].index(name)
        th.testing.assert_close(loss, gradients(one, index, batch, 2)[0], rtol=1e-10, atol=1e-10)  # as training has it
    assert all(th.equal(before[k], v) for k, v in learner.state_dict().items())
