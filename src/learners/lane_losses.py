"""One loss of all lanes: value, gradients, clipping and statistics, as one function of stacked tensors.

The function is mapped over lanes by `torch.func.vmap`. It is recorded once, as a list of torch operations
(`lane_graph`), which does the same without Python's work and torch's bookkeeping in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch as th
from torch import Tensor, nn
from torch.func import functional_call, vmap

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Context, Noise, Stats
from learners.lane_graph import Recording
from learners.losses import transition_mask
from learners.optimisation import LossSpec, chunks, scale_to

Tensors = dict[str, Tensor]


class Step(NamedTuple):
    """What a loss asks of its parameters.

    loss: (L,). gradients: (L, ...) each, clipped. norm: before clipping, (L,) or (L, members). stats: (L,) or (L, m).
    """

    loss: Tensor
    gradients: list[Tensor]
    norm: Tensor
    stats: Stats


class LaneLosses:
    """The losses of learners whose tensors are views into stacked ones."""

    def __init__(self, learners: Sequence[BaseLearner]) -> None:
        self.learners, self.one = learners, learners[0]
        self._names = {spec.name: names_of(self.one, spec) for spec in self.one.LOSSES}
        self._recordings: dict[Any, Recording] = {}

    def step(self, spec: LossSpec, state: Tensors, batch: EpisodeBatch, noise: Noise, wants_stats: bool) -> Step:
        """Loss, gradients and statistics of every lane. batch: rows of all lanes, (L*B, ...); noise: (L, B, ...)."""
        names = self._names[spec.name]
        trained = {name: state[name] for name in names}
        rest = {name: tensor for name, tensor in state.items() if name not in trained}
        data = {key: value.unflatten(0, (len(self.learners), -1)) for key, value in entries(batch).items()}
        size = batch.batch_size // len(self.learners)
        limit = self.one.args.loss_chunk
        if limit is not None and limit < size:
            return self._in_chunks(spec, trained, rest, batch, data, noise, wants_stats)
        call = self._whole(spec, batch, wants_stats)
        if wants_stats:
            return call(trained, rest, data, noise)
        inputs = own_memory([*data.values(), *noise.values()])
        key = (spec.name, *((value.shape, value.stride(), value.storage_offset()) for value in inputs))
        if key not in self._recordings:
            self._recordings[key] = Recording(lambda: call(trained, rest, data, noise), inputs, [*state.values()])
        step: Step = self._recordings[key](inputs)
        return step

    def _whole(self, spec: LossSpec, batch: EpisodeBatch, wants_stats: bool) -> Callable[..., Step]:
        """The step on all rows at once, as a function of tensors alone."""
        loss = self._loss(spec, batch, wants_stats)

        def step(trained: Tensors, rest: Tensors, data: Tensors, noise: Noise) -> Step:
            with th.enable_grad():
                leaves = {name: tensor.detach().requires_grad_() for name, tensor in trained.items()}
                value, stats = vmap(loss)(leaves, rest, data, noise)  # (L,)
                gradients = th.autograd.grad(value.sum(), list(leaves.values()))
            clipped, norm = self.clip(spec, gradients)
            return Step(value.detach(), clipped, norm, stats)

        return step

    def _in_chunks(
        self, spec: LossSpec, trained: Tensors, rest: Tensors, batch: EpisodeBatch, data: Tensors, noise: Noise,
        wants_stats: bool,
    ) -> Step:  # fmt: skip
        """The step, summed over chunks of at most `loss_chunk` rows of B."""
        lanes = len(self.learners)
        size = batch.batch_size // lanes
        parts = [batch[lane * size : (lane + 1) * size] for lane in range(lanes)]
        each = [learner.batch_context(spec.name, part) for learner, part in zip(self.learners, parts, strict=True)]
        context = {key: th.stack([own[key] for own in each]) for key in each[0]}
        total = th.stack([_rows_in(part) for part in parts])  # (L,)
        loss = self._loss(spec, batch, wants_stats)
        found: tuple[Tensor, list[Tensor], Stats] | None = None
        for rows in chunks(size, self.one.args.loss_chunk):
            part, own = ({key: value[:, rows] for key, value in all_.items()} for all_ in (data, noise))
            with th.enable_grad():
                leaves = {name: tensor.detach().requires_grad_() for name, tensor in trained.items()}
                value, stats = vmap(loss)(leaves, rest, part, own, context, total)  # (L,)
                gradients = list(th.autograd.grad(value.sum(), list(leaves.values())))
            if found is None:
                found = value.detach(), gradients, stats
            else:
                sums = [a.add_(b) for a, b in zip(found[1], gradients, strict=True)]
                found = found[0] + value.detach(), sums, {key: found[2][key] + mean for key, mean in stats.items()}
        assert found is not None
        clipped, norm = self.clip(spec, found[1])
        return Step(found[0], clipped, norm, found[2])

    def _loss(self, spec: LossSpec, batch: EpisodeBatch, wants_stats: bool) -> Callable[..., tuple[Tensor, Stats]]:
        """One lane's loss on some of its rows, weighed by their share, and its mean statistics."""

        def loss(
            leaves: Tensors, rest: Tensors, data: Tensors, noise: Noise, context: Context | None = None,
            total: Tensor | None = None,
        ) -> tuple[Tensor, Stats]:  # fmt: skip
            part = _batch_of(data, batch)
            value, rows = functional_call(self.one, {**rest, **leaves}, (spec.name, part, noise, context))
            if total is None and not wants_stats:
                return value, {}
            mask = transition_mask(part)
            valid = mask.sum(dtype=th.float64)
            total = valid.clamp_min(1) if total is None else total
            means = {key: (x.detach().movedim(0, -1) * mask.flatten()).sum(-1) / total for key, x in rows.items()}
            return value * (valid / total).to(value.dtype), means if wants_stats else {}

        return loss

    def clip(self, spec: LossSpec, gradients: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Each lane's gradients scaled as `clip_gradients` does, and their norms before, (L,) or (L, members)."""
        kept = 2 if self.one.clips_by_member(spec) else 1
        squares = [gradient.flatten(kept).square().sum(kept) if gradient.dim() > kept else gradient.square()
                   for gradient in gradients]  # fmt: skip
        norm = th.stack(squares).sum(0).sqrt()  # (L,) or (L, members)
        limit = self.one.args.grad_norm_clip
        if limit is None:
            return list(gradients), norm
        scale = scale_to(limit, norm)  # (L,) or (L, members)
        return [x * scale.view(*scale.shape, *[1] * (x.dim() - kept)) for x in gradients], norm


def names_of(learner: BaseLearner, spec: LossSpec) -> list[str]:
    """Names of the parameters that a loss moves, in the order of the learner's optimiser."""
    return paths(learner, learner.parameters_of(spec))


def paths(learner: BaseLearner, parameters: Iterable[nn.Parameter]) -> list[str]:
    """Names of parameters within a learner, which has some modules under two names."""
    names = {id(parameter): name for name, parameter in learner.named_parameters()}
    return [names[id(parameter)] for parameter in parameters]


def entries(batch: EpisodeBatch) -> Tensors:
    """Every entry of a batch."""
    return {**batch.data.transition_data, **batch.data.episode_data}


def own_memory(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors without those that share their memory with one before them."""
    found: dict[int, Tensor] = {}
    for tensor in tensors:
        found.setdefault(tensor.untyped_storage().data_ptr(), tensor)
    return list(found.values())


def _batch_of(data: Tensors, like: EpisodeBatch) -> EpisodeBatch:
    """A batch of these entries, (B, ...), with the scheme of `like`."""
    wrapped = SimpleNamespace(
        transition_data={key: data[key] for key in like.data.transition_data},
        episode_data={key: data[key] for key in like.data.episode_data},
    )
    size, steps = data["filled"].shape[:2]
    return EpisodeBatch(like.scheme, like.groups, size, steps, data=wrapped, device=like.device)


def _rows_in(batch: EpisodeBatch) -> Tensor:
    """Number of transitions in a batch, at least 1: ()."""
    return transition_mask(batch).sum(dtype=th.float64).clamp_min(1)
